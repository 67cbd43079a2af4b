"""The cost of invalidation: saves with the ring, without the trigger, and with a NOTIFY in each transaction."""

import math
import time
from statistics import median

from functions import SAVE
from listener import Listener
from pgbench import WARM_UP_SECONDS, Run, take_turns
from server import DURABLE, UNLOADED, Server
from table import make_living

WRITERS = 16
# The least share of the speed without a trigger that is wanted with the ring.
WANTED = 0.85
# A turn is longer than in other parts, as transactions wait for the disk.
TURN = 4
# An id as text, and a comma.
ID_BYTES = 37
# After the trigger was enabled or disabled, each backend plans its statement again.
SETTLE_SECONDS = 0.2

_TRIGGER = "ALTER TABLE qsessions.session {} TRIGGER session_announce_row"
RING, WITHOUT, NOTIFY = "ring", "no trigger", "NOTIFY"
_LINE = "{:<11} {:>8} {:>6} {:>7} {:>8} {:>7}  {}"


def measure(rows, rounds, seconds, say):
    """The lines of the report, and whether the ring is fast enough."""
    seconds *= TURN
    with Server(DURABLE) as preloaded, Server(DURABLE + UNLOADED) as plain:
        for server in (preloaded, plain):
            say(f"filling a durable server's table with {rows:,} sessions")
            make_living(server, rows)
        with Listener(preloaded, "bench") as ring_listener, Listener(plain, "bench") as notify_listener:
            say(f"{WRITERS} writers with the ring, without the trigger, and with NOTIFY")
            flushes = _flushes(preloaded)
            speeds = _speeds(preloaded, plain, rows, rounds, seconds)
            count, millis = (after - before for after, before in zip(_flushes(preloaded), flushes))
            _check_modes(preloaded, plain)
            received = [listener.bytes_received // ID_BYTES for listener in (ring_listener, notify_listener)]
    if not all(received):
        raise AssertionError("a listener has received nothing")
    lines = [f"{WRITERS} writers save; fsync and synchronous_commit on; a listener is connected; {seconds} s for each side",
             f"of a round; a flush of the WAL took {millis / count:.2f} ms; listeners received about {received[0]:,} ids",
             f"from the ring and {received[1]:,} from NOTIFY"]
    more, good = _report(speeds)
    return [*lines, "", *more], good


def _speeds(preloaded, plain, rows, rounds, seconds):
    """Saves per second in each round: with the ring, without the trigger, with NOTIFY. The second is compared with both
    others, so it is in the middle."""
    # Some seconds are added for switching the trigger between turns.
    total = math.ceil(WARM_UP_SECONDS + rounds * 3 * (seconds + 2 * SETTLE_SECONDS)) + 5
    runs = [Run(server, rows, SAVE, total, clients=WRITERS) for server in (preloaded, preloaded, plain)]
    states = {runs[0]: "ENABLE ALWAYS", runs[1]: "DISABLE"}

    def switch(run):
        if run in states:
            preloaded.sql(_TRIGGER.format(states[run]))
        time.sleep(SETTLE_SECONDS)

    return take_turns(runs, rounds, seconds, switch)


def _flushes(server):
    """The number of flushes of the WAL, and the milliseconds that they took."""
    answer = server.sql("SELECT wal_sync, wal_sync_time FROM pg_stat_wal")
    return [float(number) for number in answer.split("|")]


def _check_modes(preloaded, plain):
    modes = [server.sql("SELECT mode FROM qsessions.invalidation_status()") for server in (preloaded, plain)]
    if modes != ["ring", "notify"]:
        raise AssertionError(f"the modes of the servers are {modes}")


def _report(speeds):
    lines = [_LINE.format("", "saves/s", "ratio", "lowest", "highest", "wanted", "").rstrip()]
    columns = dict(zip((RING, WITHOUT, NOTIFY), zip(*speeds)))
    good = True
    for name in (WITHOUT, RING, NOTIFY):
        ratios = [ours / bare for ours, bare in zip(columns[name], columns[WITHOUT])]
        wanted, verdict = "", ""
        if name == RING:
            good = median(ratios) >= WANTED
            wanted, verdict = f">= {WANTED}", "ok" if good else "short"
        lines.append(_LINE.format(
            name, f"{median(columns[name]):,.0f}", f"{median(ratios):.2f}", f"{min(ratios):.2f}",
            f"{max(ratios):.2f}", wanted, verdict).rstrip())
    return lines, good
