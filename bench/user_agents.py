"""The cost of parsing User-Agents: against woothee alone, and for the first time in a fresh backend."""

import pathlib
import re
import subprocess

from server import Failure

_ROOT = pathlib.Path(__file__).parent.parent
_STRINGS = _ROOT / "crates/user-agent/tests/strings.tsv"
_SPEED = _ROOT / "target/release/examples/speed"

TIMES_WOOTHEE = 2.5
FIRST_MS = 2
PRIVATE_MB = 3
DIFFERENT = 1000

# The clock is read before and after the call, in the same row. With a constant, the planner would
# call the function. The LIMIT makes the condition run after the call, and without the condition the
# call would be removed.
_FIRST = """
SELECT extract(epoch FROM after - before) * 1000
FROM (SELECT clock_timestamp() AS before, (qsessions.parse_user_agent(agent)).category AS category,
             clock_timestamp() AS after
      FROM agents LIMIT 1) AS call
WHERE category IS NOT NULL;
"""
_PRIVATE = """
SELECT sum((regexp_match(line, '(\\d+) kB'))[1]::bigint)
FROM regexp_split_to_table(pg_read_file('/proc/self/smaps_rollup'), '\\n') AS line WHERE line LIKE 'Private_%';
"""
_ALL = "SELECT count({0}) FROM agents;"


def measure(server):
    """The lines of the report, and whether all limits are met."""
    if not _SPEED.exists():
        raise Failure(f"no {_SPEED}; `make bench` builds it")
    done = subprocess.run([_SPEED], capture_output=True, text=True, check=True)
    ratio = float(re.search(r"ratio ([\d.]+)", done.stdout)[1])
    lines = [f"parse in the same process, in turns: {done.stdout.strip()}, wanted <= {TIMES_WOOTHEE}  "
             f"{_judge(ratio <= TIMES_WOOTHEE)}"]
    _fill(server)
    first, before, after, total = _fresh(server, "(qsessions.parse_user_agent(agent)).category, qsessions.device(agent)")
    _, bare_before, bare_after, _ = _fresh(server, "upper(agent), lower(agent)")
    grown = (after - before - (bare_after - bare_before)) / 1024
    lines.append(f"first parse in a fresh backend: {first:.2f} ms, wanted < {FIRST_MS}  {_judge(first < FIRST_MS)}")
    lines.append(f"private memory after {DIFFERENT:,} different strings: {grown:.2f} MB more than by upper and lower, "
                 f"{total / 1024:.1f} MB in all, wanted < {PRIVATE_MB} more  {_judge(grown < PRIVATE_MB)}")
    return lines, ratio <= TIMES_WOOTHEE and first < FIRST_MS and grown < PRIVATE_MB


def _fill(server):
    strings = [line.split("\t")[0] for line in _STRINGS.read_text(encoding="utf-8").splitlines()[1:]]
    strings += [f"{string} again" for string in strings[:DIFFERENT - len(strings)]] if len(strings) < DIFFERENT else []
    values = ", ".join("(" + _quoted(string) + ")" for string in strings[:DIFFERENT])
    server.sql("CREATE DATABASE agents", "postgres")
    server.sql(f"CREATE EXTENSION qsessions; CREATE TABLE agents (agent text); INSERT INTO agents VALUES {values}; "
               "VACUUM ANALYZE agents;", "agents")


def _fresh(server, calls):
    """Milliseconds of the first call, and kilobytes of private memory before and after a thousand calls, in one backend.

    The rest of each statement runs once before, so that it is not counted."""
    first, second = calls.split(", ")
    bare = _FIRST.replace("(qsessions.parse_user_agent(agent)).category", "length(agent)::text")
    answers = server.sql(
        bare + _ALL.format("length(agent)") + _PRIVATE + _PRIVATE
        + (_FIRST if "qsessions" in calls else bare) + _ALL.format(first) + _ALL.format(second) + _PRIVATE, "agents")
    _, _, _, before, first_ms, _, _, after = answers.splitlines()
    return float(first_ms), int(before), int(after), int(after)


def _quoted(text):
    return "'" + text.replace("'", "''") + "'"


def _judge(good):
    return "ok" if good else "short"
