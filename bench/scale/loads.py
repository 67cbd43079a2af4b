"""Loads from the large table against those from a small one, beside a bare SELECT from both."""

from statistics import median

import pgbench
from functions import SELECT
from pgbench import Run, Statement
from server import Failure

from .fill import SMALL_ROWS

ROUNDS, SECONDS = 15, 0.5
# Connections wait for the disk until most pages are cached.
WARM_UP_SECONDS = 30
WANTED, WANTED_OF_BARE = 1.3, 1.1

LOAD = "SELECT * FROM qsessions.load_session(:key_#)"
# The same batch of keys is looked up for both statements.
BARE = SELECT.text.replace("id = :id_#", "id = qsessions._find_session_id(:key_#)")


def measure(server, rows, say):
    """The median time of transactions of twenty loads, large against small."""
    lines, good = [], True
    say(f"reading the table for {WARM_UP_SECONDS} s")
    server.sql("SELECT count(data) FROM qsessions.session")
    Run(server, rows, _statement("load", LOAD, "bench"), WARM_UP_SECONDS).wait()
    for clients in (1, pgbench.CLIENTS):
        say(f"loads from {rows:,} and from {SMALL_ROWS:,} sessions, {clients} clients")
        times = _in_turns(server, rows, clients)
        (load, small_load), (bare, small_bare) = times[:2], times[2:]
        ratio, floor = _ratio(load, small_load), _ratio(bare, small_bare)
        # Whatever a larger table costs a SELECT, it costs a load: pages that are not cached, above all.
        fine = ratio <= WANTED or ratio <= WANTED_OF_BARE * floor
        good &= fine
        lines.append(
            f"loads, {clients} clients: p50 {1e6 * median(load):.0f} us from {rows:,}, {1e6 * median(small_load):.0f} us "
            f"from {SMALL_ROWS:,} sessions; {ratio:.2f} times, a bare SELECT {floor:.2f} times; wanted <= {WANTED}, "
            f"or {WANTED_OF_BARE} of a bare SELECT's  {'ok' if fine else 'short'}")
    return lines, good


def _statement(name, text, database):
    return Statement(name, "key", text, database=database)


def _in_turns(server, rows, clients):
    """The median seconds of a statement in each turn: load large, load small, bare large, bare small."""
    seconds = pgbench.WARM_UP_SECONDS + int(ROUNDS * 4 * SECONDS) + 2
    runs = [Run(server, count, _statement(f"{name} {database}", text, database), seconds, clients=clients)
            for name, text in (("load", LOAD), ("bare", BARE))
            for count, database in ((rows, "bench"), (SMALL_ROWS, "small"))]
    rounds = [[run.middle(turn) for run, turn in zip(runs, turns)] for turns in pgbench.note_turns(runs, ROUNDS, SECONDS)]
    # On a busy machine, a turn may pass in which nothing was completed.
    rounds = [times for times in rounds if None not in times]
    if not rounds:
        raise Failure("there was no round in which all statements were completed: the machine is too busy")
    return list(zip(*rounds))


def _ratio(large, small):
    return median(ours / theirs for ours, theirs in zip(large, small))
