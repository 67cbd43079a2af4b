"""Clients that load and save sessions, beside a statement."""

import pathlib
import re
import time

from pgbench import BATCH, threads
from server import SUPERUSER, Failure
from table import DATA

LOADERS, SAVERS = 8, 2
SAVES_PER_SECOND = 40
FLUSH_SECONDS = 6
# Longest time of a run of pgbench.
LONGEST = 1_500

_ONE_KEY = ("\\set n random(0, :batches - 1)\n"
            f"SELECT key_{BATCH} AS key FROM bench.key WHERE n = :n \\gset\n")
_LOAD = _ONE_KEY + "SELECT * FROM qsessions.load_session(:key);\n"
_SAVE = _ONE_KEY + ("SELECT qsessions.save_session(:key, :data)\n"
                    "WHERE EXISTS (SELECT FROM qsessions.load_session(:key));\n")


def beside(server, rows, loads_per_second, statement=None, seconds=0):
    """Runs a statement beside loads at a rate, or as fast as they can if it is none, and saves. Returns its seconds, the
    processor time of its backend, its WAL by begin and end, and the sorted milliseconds of the requests meanwhile.
    Without a statement, the requests run for so many seconds."""
    runs = {"loads": _Requests(server, rows, _LOAD, LOADERS, loads_per_second),
            "saves": _Requests(server, rows, _SAVE, SAVERS, SAVES_PER_SECOND)}
    time.sleep(3)
    before, begin = _lsn(server), time.time()
    processor = 0
    if statement:
        # psql runs each -c in a transaction of its own, all in one backend.
        answer = server.run("psql", "-X", "-q", "-A", "-t", "-h", server.folder, "-U", SUPERUSER, "-d", "bench",
                            "-v", "ON_ERROR_STOP=1", "-c", statement, "-c", "SELECT pg_read_file('/proc/self/schedstat')")
        processor = int(answer[0].split()[-3]) / 1e9
    else:
        time.sleep(seconds)
    end, after = time.time(), _lsn(server)
    # pgbench writes a page of its log at a time, and not the last one.
    time.sleep(FLUSH_SECONDS)
    return {"seconds": end - begin, "processor": processor, "wal": (before, after)} | {
        what: run.end(begin, end) for what, run in runs.items()}


def p99(ordered):
    """The 99th percentile of sorted numbers."""
    return ordered[len(ordered) * 99 // 100]


def _lsn(server):
    return server.sql("SELECT pg_current_wal_insert_lsn()")


class _Requests:
    """A pgbench that sends requests. A request at a fixed rate that is late counts from when it was due."""

    def __init__(self, server, rows, script, clients, per_second):
        self.folder = server.make_folder("requests")
        path = self.folder / "script.sql"
        path.write_text(script, encoding="utf-8")
        rate = ("-R", per_second) if per_second else ()
        self.process = server.start(
            "pgbench", "-n", "-M", "prepared", "-c", clients, "-j", threads(clients), "-T", LONGEST, *rate, "-f", path,
            "-l", "--log-prefix", self.folder / "transactions", "-D", f"batches={rows // BATCH}", "-D", f"data={DATA}",
            f"host={server.folder} user={SUPERUSER} dbname=bench", output=self.folder / "output")

    def end(self, begin, end):
        """Stops it; the milliseconds of the requests that ended in this time."""
        self.process.terminate()
        self.process.wait()
        taken = []
        for log in self.folder.glob("transactions.*"):
            for line in log.read_text(encoding="ascii").splitlines():
                # The last line may be incomplete.
                found = re.fullmatch(r"\d+ \d+ (\d+) \d+ (\d+) (\d+)( \d+)?", line)
                if found and begin <= int(found[2]) + int(found[3]) / 1e6 <= end:
                    taken.append(int(found[1]) / 1000)
            log.unlink()
        if not taken:
            raise Failure("pgbench sent no requests: " + pathlib.Path(self.folder / "output").read_text(errors="replace"))
        return sorted(taken)
