"""A purge beside requests, and one DELETE of as many sessions."""

import re
from statistics import median

from . import fill
from .requests import beside, p99

# What loads run beside: at a fixed rate, and as fast as they can, which leaves a purge no processor of its own.
PACES = {"at 4,000 loads/s": 4_000, "at full speed": None}
QUIET_SECONDS = 15
# The p99 beside a purge as a multiple of the quiet one, the longest request in milliseconds, and the time as a
# multiple of that of the DELETE.
WANTED_LOADS, WANTED_SAVES, WANTED_LONGEST, WANTED_TIME = 2, 3, 50, 1.5

# The floor: a backend that only computes.
_BUSY = f"""
DO $$ DECLARE begin_at timestamptz := clock_timestamp();
BEGIN WHILE clock_timestamp() < begin_at + interval '{QUIET_SECONDS} s' LOOP PERFORM sha256('qsessions'); END LOOP; END $$
"""


def measure(server, rows, say):
    """For each pace: requests alone, beside a computation, beside a purge and beside a DELETE."""
    # Each pace has a purge and a DELETE.
    count = int(rows * fill.EXPIRED / len(PACES) / 2)
    batch_size = min(10_000, count)
    count = count // batch_size * batch_size
    lines, all_good = [], True
    for pace, per_second in PACES.items():
        more, good = _at_pace(server, rows, pace, per_second, count, batch_size, say)
        lines += more
        all_good &= good
    waits = len(re.findall(r"still waiting for", (server.folder / "log").read_text(errors="replace")))
    good = waits == 0
    lines.append(f"waits for a lock of more than 100 ms, in all of it: {waits}, wanted 0  {'ok' if good else 'short'}")
    return lines, all_good and good


def _at_pace(server, rows, pace, per_second, count, batch_size, say):
    def run(what, statement=None, seconds=QUIET_SECONDS):
        server.sql("CHECKPOINT")
        say(f"requests {pace}, {what}")
        return beside(server, rows, per_second, statement, seconds)

    def purge():
        _before(server, count)
        return run(f"beside a purge of {count:,} sessions",
                   f"CALL qsessions.purge(batch_size => {batch_size}, max_batches => {count // batch_size})")

    def delete():
        hour = _before(server, count)
        return run("beside one DELETE of as many", f"DELETE FROM qsessions.session WHERE expires_at < '{hour}'")

    quiet = run("alone")
    floor = run("beside a computation", _BUSY)
    # The lists that are measured afterwards come after a purge.
    if per_second:
        purged = purge()
        quiet_after = run("alone")
        deleted = delete()
    else:
        deleted = delete()
        quiet_after = run("alone")
        purged = purge()
    runs = {"alone": {what: sorted(quiet[what] + quiet_after[what]) for what in ("loads", "saves")},
            "beside a computation": floor, "beside the purge": purged, "beside the DELETE": deleted}
    ratio = purged["seconds"] / deleted["seconds"]
    # At full speed, both get the share of the processors that is left.
    judged = per_second is not None
    lines = [f"purge of {count:,} {pace}: {purged['seconds']:.1f} s ({purged['processor']:.1f} s of processor time), one DELETE "
             f"{deleted['seconds']:.1f} s ({deleted['processor']:.1f} s); {ratio:.2f} times, "
             + _verdict(ratio, WANTED_TIME, judged)]
    all_good = not judged or ratio <= WANTED_TIME
    lines += [f"WAL of {name}: {_composition(server, *one['wal'])}" for name, one in (("purge", purged), ("DELETE", deleted))]
    for what, wanted in (("loads", WANTED_LOADS), ("saves", WANTED_SAVES)):
        lines.append(f"{what} {pace}: " + "; ".join(
            f"{name} p50 {median(one[what]):.1f}, p99 {p99(one[what]):.1f}, longest {one[what][-1]:.0f} ms"
            for name, one in runs.items()))
        ratio, beside_busy = (p99(one[what]) / p99(runs["alone"][what]) for one in (purged, floor))
        lines.append(f"  p99 beside the purge {ratio:.1f} times, beside a computation {beside_busy:.1f} times, "
                     + _verdict(ratio, wanted))
        all_good &= ratio <= wanted
    longest = purged["loads"][-1]
    lines.append(f"  longest load beside the purge: {longest:.0f} ms, {_verdict(longest, WANTED_LONGEST)}")
    return lines, all_good and longest <= WANTED_LONGEST


def _verdict(figure, wanted, judged=True):
    if not judged:
        return f"{wanted} at a fixed rate"
    return f"wanted <= {wanted}  {'ok' if figure <= wanted else 'short'}"


def _before(server, count):
    """The hour before which about so many sessions have expired. Both the purge and the DELETE come after this, so that
    both find the same pages cached."""
    return server.sql(f"""
        SELECT s.expires_hour FROM qsessions.session AS s WHERE s.expires_hour <= now()
        ORDER BY s.expires_hour, s.id OFFSET {count} LIMIT 1""") or "now"


def _composition(server, begin, end):
    """The bytes of WAL between two places, and what they are made of."""
    printed, _ = server.run("pg_waldump", "--stats", "-p", server.data / "pg_wal", "-s", begin, "-e", end)
    kinds = []
    for line in printed.splitlines():
        found = re.match(r"(\S+) +(\d+) +\([^)]*\) +(\d+) +\([^)]*\) +(\d+) +\([^)]*\) +(\d+) ", line)
        if found and found[1] != "Total":
            kinds.append((int(found[5]), int(found[2]), int(found[4]), found[1]))
    total = sum(kind[0] for kind in kinds)
    parts = ", ".join(f"{name} {size / 1e6:,.0f} MB ({count:,} records, {images / 1e6:,.0f} MB of page images)"
                      for size, count, images, name in sorted(kinds, reverse=True) if size > total / 50)
    return f"{total / 1e6:,.0f} MB: {parts}"
