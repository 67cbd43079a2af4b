"""CALL purge against one plain DELETE of the same rows."""

import time
from statistics import median

from table import make_expired

ROUNDS = 3

PURGE = "CALL qsessions.purge()"
DELETE = "DELETE FROM qsessions.session WHERE expires_at <= now()"


def measure(server, rows, say):
    """Each run gets a copy of the same table; the lines of the report, and whether all expired rows were deleted."""
    make_expired(server, rows)
    times = {PURGE: [], DELETE: []}
    for number in range(ROUNDS):
        for statement in (PURGE, DELETE) if number % 2 else (DELETE, PURGE):
            times[statement].append(_time(server, statement))
        say(f"purge {number + 1} of {ROUNDS}: {times[PURGE][-1]:.1f} s, DELETE: {times[DELETE][-1]:.1f} s")
    ratios = [delete / purge for delete, purge in zip(times[DELETE], times[PURGE])]
    line = (f"{rows:,} expired of {rows * 11 // 10:,} sessions: CALL purge {median(times[PURGE]):.1f} s, "
            f"one DELETE {median(times[DELETE]):.1f} s, ratio {median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f})")
    return [line], True


def _time(server, statement):
    # Other strategies of CREATE DATABASE would write the copy to the WAL as well.
    strategy = "STRATEGY file_copy" if server.major >= 15 else ""
    server.sql(f"CREATE DATABASE trial TEMPLATE expired {strategy}", "postgres")
    server.sql("SELECT count(*) FROM qsessions.session", "trial")
    begin = time.monotonic()
    server.sql(statement, "trial")
    taken = time.monotonic() - begin
    left = server.sql("SELECT count(*) FROM qsessions.session WHERE expires_at <= now()", "trial")
    if left != "0":
        raise AssertionError(f"{statement} left {left} expired sessions")
    server.sql("DROP DATABASE trial", "postgres")
    return taken
