"""A policy of row-level security that asks for the current user, against the same with a literal."""

import json
from statistics import median

ROWS = 1_000_000
OWNERS = 1_000
WANTED = 0.95
# The short ones are measured more often.
INDEXED_ROUNDS, SCAN_ROUNDS = 400, 30

# One table for both sides: each role has its own policy on it. The user has 1,000 of the rows.
_TABLE = f"""
CREATE DATABASE policy;
\\c policy
CREATE EXTENSION qsessions;
SELECT qsessions.create_session_table();
CREATE TABLE note AS SELECT n AS id, (n % {OWNERS})::bigint AS owner, repeat('x', 80) AS body
    FROM generate_series(1, {ROWS}) AS n;
CREATE INDEX ON note (owner);
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
CREATE ROLE asking;
CREATE ROLE literal;
GRANT SELECT ON note TO asking, literal;
CREATE POLICY asking ON note TO asking USING (owner = qsessions.current_user_id()::bigint);
CREATE POLICY literal ON note TO literal USING (owner = 7);
VACUUM ANALYZE note;
"""

_QUERY = "SELECT count(body) FROM note"
_PARALLEL = "SET max_parallel_workers_per_gather = 2;"
_SERIAL = "SET max_parallel_workers_per_gather = 0;"
_SCAN = "SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off;"

# What is judged: a name, settings, and the number of rounds.
_PLANS = [
    ("index scan", _SERIAL, INDEXED_ROUNDS),
    ("sequential scan", _SERIAL + _SCAN, SCAN_ROUNDS),
    ("parallel scan", _PARALLEL + _SCAN, SCAN_ROUNDS),
]

_LINE = "{:<32} {:>12} {:>12} {:>6} {:>7}  {}"


def measure(server, say):
    """The lines of the report, and whether every ratio is high enough."""
    say(f"filling a table with {ROWS:,} rows")
    server.sql(_TABLE, "postgres")
    lines = [_LINE.format(f"policy, {ROWS:,} rows", "call, ms", "literal, ms", "ratio", "wanted", "").rstrip()]
    all_good = True
    for name, settings, rounds in _PLANS:
        say(f"policy: {name}")
        call, literal = _in_turns(server, settings, "asking", _QUERY, rounds)
        ratio = median(theirs / ours for ours, theirs in zip(call, literal))
        good = ratio >= WANTED
        all_good &= good
        lines.append(_LINE.format(
            name, f"{median(call):.2f}", f"{median(literal):.2f}", f"{ratio:.2f}", f">= {WANTED}",
            "ok" if good else "short"))
    # A query without a policy: the superuser's.
    say("policy: a call for each row")
    each_row = f"{_QUERY} WHERE owner = qsessions.current_user_id()::bigint"
    call, literal = _in_turns(server, _PARALLEL + _SCAN, "postgres", each_row, SCAN_ROUNDS)
    ratio = median(theirs / ours for ours, theirs in zip(call, literal))
    lines.append(_LINE.format(
        "a call for each row, so serial", f"{median(call):.2f}", f"{median(literal):.2f}", f"{ratio:.2f}", "", "").rstrip())
    return lines, all_good


def _in_turns(server, settings, role, query, rounds):
    """Milliseconds of both sides in each round, in one connection, as prepared statements."""
    ours = f"SET ROLE {role}; {settings}"
    theirs = f"SET ROLE literal; {settings}"
    explain = "EXPLAIN (ANALYZE, TIMING OFF, SUMMARY ON, FORMAT JSON) EXECUTE"
    turns = [f"{ours} {explain} ours;", f"{theirs} {explain} theirs;"]
    script = [
        "SELECT key AS key FROM qsessions.create_session(7) \\gset",
        "SET plan_cache_mode = force_generic_plan;",
        "BEGIN;",
        "SELECT count(*) FROM qsessions.authenticate(:'key') \\gset",
        f"{ours} PREPARE ours AS {query}; {ours} EXPLAIN EXECUTE ours \\g /dev/null",
        f"{theirs} PREPARE theirs AS {_QUERY}; {theirs} EXPLAIN EXECUTE theirs \\g /dev/null",
    ]
    for number in range(rounds):
        script += turns if number % 2 == 0 else reversed(turns)
    printed = server.sql("\n".join(script) + "\nCOMMIT;\n", "policy")
    times = [_milliseconds(plan) for plan in _documents(printed)]
    pairs = [times[2 * number:2 * number + 2] for number in range(rounds)]
    pairs = [pair if number % 2 == 0 else pair[::-1] for number, pair in enumerate(pairs)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _documents(printed):
    """The JSON documents in the output of psql."""
    decoder, start = json.JSONDecoder(), 0
    while start < len(printed):
        document, end = decoder.raw_decode(printed, start)
        yield document[0]
        start = end + len(printed[end:]) - len(printed[end:].lstrip())


def _milliseconds(plan):
    return plan["Planning Time"] + plan["Execution Time"]
