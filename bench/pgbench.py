"""Statements run by pgbench."""

import math
import os
import re
import signal
import time
from bisect import bisect_left
from dataclasses import dataclass
from statistics import median

from server import SUPERUSER, Failure
from table import BATCH, DATA, IP, USER_AGENT, USERS

CLIENTS = 8
# In its first seconds, a connection fills its caches and plans. With a pool, that happens seldom.
WARM_UP_SECONDS = 2

# The columns that a transaction fetches first, by the need of its statement. A new id begins with
# the present time, as that of a native key does.
_LOOKUPS = {
    "key": ("key_{0}", "bench.key"),
    "newest key": ("key_{0}", "bench.newest_key"),
    "id": ("id_{0}", "bench.id"),
    "new id": ("(half || tail_{0})::uuid AS id_{0}", """bench.tail, (
        SELECT lpad(to_hex(micros / 1000), 12, '0') || '7' || lpad(to_hex(micros % 1000 * 4096 / 1000), 3, '0')
        FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS clock (micros)) AS now (half)"""),
}
DIGEST = "\\x" + 32 * "2a"


@dataclass(frozen=True)
class Statement:
    """A statement; # stands for the number of a session in its batch."""

    name: str
    needs: str
    text: str
    # Run once for each batch before its statements, and not counted.
    prepare: str = ""
    database: str = "bench"

    def script(self):
        columns, source = _LOOKUPS[self.needs]
        numbers = range(1, BATCH + 1)
        columns = ", ".join(columns.format(number) for number in numbers)
        lines = ["\\set n random(0, :batches - 1)", f"SELECT {columns} FROM {source} WHERE n = :n \\gset"]
        if self.prepare:
            lines.append(self.prepare + ";")
        for number in numbers:
            lines.append(f"\\set user_{number} random(1, {USERS})")
            lines.append(self.text.replace("#", str(number)) + ";")
        return "\n".join(lines) + "\n"


def threads(clients=CLIENTS):
    """One for each processor."""
    return min(clients, os.cpu_count() or 1)


class Run:
    """A pgbench that runs a statement for some seconds, and can be stopped meanwhile."""

    def __init__(self, server, rows, statement, seconds, options="", clients=CLIENTS):
        self.server = server
        self.folder = server.make_folder(statement.name.replace(" ", "-"))
        script = self.folder / "script.sql"
        script.write_text(statement.script(), encoding="utf-8")
        self.process = server.start(
            "pgbench", "-n", "-M", "prepared", "-c", clients, "-j", threads(clients), "-T", seconds, "-f", script,
            "-l", "--log-prefix", self.folder / "transactions",
            "-D", f"batches={rows // BATCH}", "-D", f"data={DATA}", "-D", f"ip={IP}", "-D", f"user_agent={USER_AGENT}",
            "-D", f"digest={DIGEST}",
            f"host={server.folder} user={SUPERUSER} dbname={statement.database} options='{options}'",
            output=self.folder / "output")
        self.ends = self.taken = None

    def hold(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def wait(self):
        """Waits for its end and reads when each of its transactions ended, in seconds since 1970, and how long it took."""
        if self.process.wait():
            raise Failure("pgbench failed: " + (self.folder / "output").read_text(errors="replace"))
        done = []
        for log in self.folder.glob("transactions.*"):
            with open(log, encoding="ascii") as lines:
                for line in lines:
                    _, _, taken, _, second, microsecond, *_ = line.split()
                    done.append((int(second) + int(microsecond) / 1e6, int(taken) / 1e6))
        done.sort()
        self.ends = [end for end, _ in done]
        self.taken = [taken for _, taken in done]

    def speed(self, turns):
        """Statements per second in these turns, each with its begin, its end and its seconds; the lookups are not counted."""
        transactions = sum(bisect_left(self.ends, end) - bisect_left(self.ends, begin) for begin, end, _ in turns)
        return transactions * BATCH / sum(seconds for _, _, seconds in turns)

    def middle(self, turn):
        """The median of the seconds of a statement in a turn, as a part of its transaction; none if none was completed."""
        first, last = (bisect_left(self.ends, moment) for moment in turn[:2])
        # Those that it was in the midst of when it was stopped do not count.
        taken = [taken for end, taken in zip(self.ends[first:last], self.taken[first:last]) if end - taken >= turn[0]]
        return median(taken) / BATCH if taken else None


def in_turns(server, rows, statements, rounds, seconds):
    """Compares two statements: each has its own pgbench, and one of them is stopped while the other runs. Returns their
    speeds in each round."""
    total = WARM_UP_SECONDS + rounds * 2 * seconds
    runs = [Run(server, rows, statement, math.ceil(total)) for statement in statements]
    return take_turns(runs, rounds, seconds)


def take_turns(runs, rounds, seconds, before=lambda run: None, clock=lambda run: time.time(), turns=1):
    """Lets one of these runs go on at a time, for so many seconds after a call of `before`, and each of them in so many
    turns of a round. Returns their speeds in each round, by a clock of the run."""
    slices = note_turns(runs, rounds * turns, seconds, before, clock)
    return [[run.speed([slice[index] for slice in slices[begin:begin + turns]]) for index, run in enumerate(runs)]
            for begin in range(0, rounds * turns, turns)]


def note_turns(runs, rounds, seconds, before=lambda run: None, clock=lambda run: time.time()):
    """Does the same, and returns the turns of each round: the begin of each run's, its end, and its seconds by the clock."""
    try:
        time.sleep(WARM_UP_SECONDS)
        slices = [_turns(runs, number, seconds, before, clock) for number in range(rounds)]
    finally:
        for run in runs:
            run.go_on()
    for run in runs:
        run.wait()
    return slices


def _turns(runs, number, seconds, before, clock):
    """A turn of each of them: its begin, its end, and its seconds by the clock. The last one is the first one next time."""
    times = [None for _ in runs]
    for current in range(len(runs)) if number % 2 == 0 else reversed(range(len(runs))):
        for other in runs:
            other.hold()
        runs[current].go_on()
        before(runs[current])
        begin, begin_by_clock = time.time(), clock(runs[current])
        time.sleep(seconds)
        times[current] = (begin, time.time(), clock(runs[current]) - begin_by_clock)
    return times


# Connections in each turn of connect_times.
CONNECTED = 50


def connect_times(server, database, statements, rounds=15):
    """Milliseconds for a connection that runs one statement, for each statement in turn, in each round."""
    scripts = []
    for number, statement in enumerate(statements):
        folder = server.make_folder(f"connect-{number}")
        scripts.append(folder / "script.sql")
        scripts[-1].write_text(statement + "\n", encoding="utf-8")
    return [[_connect_time(server, database, script) for script in scripts] for _ in range(rounds)]


def _connect_time(server, database, script):
    printed, _ = server.run(
        "pgbench", "-n", "-C", "-c", 1, "-t", CONNECTED, "-f", script,
        f"host={server.folder} user={SUPERUSER} dbname={database}")
    speed = re.search(r"tps = ([0-9.]+) \(including reconnection times\)", printed)
    if not speed:
        raise Failure("the output of pgbench has no speed: " + printed)
    return 1000 / float(speed[1])
