"""The functions of the working tree against those of an earlier revision, each in a server of its own."""

import math
from statistics import median

from functions import CREATE, LOAD, RESUME, SAVE
from pgbench import CLIENTS, WARM_UP_SECONDS, Run, Statement, take_turns, threads
from server import Failure, Server
from table import BATCH, make_living

# A function may lose this much: less cannot be told from noise in a few minutes.
WANTED = 0.97
# Turns of each server in a round. A transaction of pgbench that a turn interrupts ends, and is
# counted, in the next turn: with several turns in a round, that matters less.
TURNS = 4
# The median of all rounds that could have been lies between the bounds with at least this
# probability.
CONFIDENCE = 0.95

# A login leaves its key dead and makes the session the user's, so each batch begins with anonymous
# sessions under its keys again.
_ANONYMOUS = f"""
INSERT INTO qsessions.session AS s (id, digest, data, expires_at)
SELECT qsessions.session_id(key), sha256(convert_to(key, 'UTF8')), :data, now() + interval '14 days'
FROM unnest(ARRAY[{", ".join(f":key_{number}" for number in range(1, BATCH + 1))}]) AS key
ON CONFLICT (id) DO UPDATE SET digest = excluded.digest, user_id = NULL, expires_at = excluded.expires_at
""".replace("\n", " ").strip()

PATCH = Statement("patch", "key", """SELECT qsessions.patch_session(:key_#, '{"theme": "light"}')""")
CREATE_ANONYMOUS = Statement(
    "create, anonymous", "new id",
    "SELECT * FROM qsessions.create_session(data => :data, ip => :ip, user_agent => :user_agent)")
LOGIN = Statement(
    "login", "key", "SELECT * FROM qsessions.login(:key_#, :user_#, :ip, :user_agent)", _ANONYMOUS)
LOGIN_WITH_LIMIT = Statement(
    "login, limited", "key",
    "SELECT * FROM qsessions.login(:key_#, :user_#, :ip, :user_agent, max_sessions => 1)", _ANONYMOUS)

# What is measured, what it is called, and settings of its connections.
MEASURED = [
    (LOAD, "load", ""),
    (RESUME, "resume, read", ""),
    (RESUME, "resume, due write", "-c qsessions.touch_interval=0"),
    (SAVE, "save", ""),
    (PATCH, "patch", ""),
    (CREATE_ANONYMOUS, "create, anonymous", ""),
    (CREATE, "create, for a user", ""),
    (LOGIN, "login", ""),
    (LOGIN_WITH_LIMIT, "login, max_sessions", ""),
]

_HEAD = ("function", "before/s", "after/s", "after ÷ before", "bounds", "quartiles", "")
_LINE = "{:<20} {:>9} {:>9} {:>14} {:>14} {:>14}  {}"


def measure(before_pg_config, rows, rounds, seconds, say):
    """The lines of the report, and whether no function is slower than wanted."""
    with Server(pg_config=before_pg_config) as before, Server() as after:
        for server, name in ((before, "before"), (after, "after")):
            say(f"filling the table of the server {name} with {rows:,} sessions")
            make_living(server, rows)
        lines = [
            f"{after.version}; {rows:,} sessions; {CLIENTS} clients, {threads()} threads of pgbench; {rounds} rounds, "
            f"{TURNS} turns of {seconds} s for each side of a round; statements per second of processor time",
            "", _LINE.format(*_HEAD).rstrip()]
        good = True
        for statement, name, options in MEASURED:
            say(name)
            speeds = _in_turns((before, after), rows, statement, rounds, seconds, options)
            line, fine = _report(name, speeds)
            lines.append(line)
            good &= fine
    return lines, good


def _in_turns(servers, rows, statement, rounds, seconds, options):
    for server in servers:
        # What the functions before have left must not count.
        server.sql("VACUUM ANALYZE qsessions.session")
    # Something is added for the change of turns.
    total = math.ceil(WARM_UP_SECONDS + rounds * TURNS * len(servers) * (seconds + 0.02))
    runs = [Run(server, rows, statement, total, options) for server in servers]
    return take_turns(runs, rounds, seconds, clock=lambda run: run.server.processor_seconds(), turns=TURNS)


def _report(name, speeds):
    if not all(all(round) for round in speeds):
        raise Failure(f"{name} did nothing in some rounds: make them longer with BENCH_SECONDS")
    ratios = sorted(after / before for before, after in speeds)
    low, high = bounds(ratios)
    middle = median(ratios)
    # Only what is slower beyond doubt is held against a revision.
    good = high >= WANTED
    verdict = "slower" if not good else "ok" if middle >= WANTED else "ok within the noise"
    line = _LINE.format(
        name, f"{median(before for before, _ in speeds):,.0f}", f"{median(after for _, after in speeds):,.0f}",
        f"{middle:.3f}", f"{low:.3f} to {high:.3f}",
        f"{ratios[len(ratios) // 4]:.2f} to {ratios[-1 - len(ratios) // 4]:.2f}", verdict)
    return line, good


def bounds(ratios):
    """Confidence bounds of the median of sorted numbers, by the sign test: whatever the distribution, each of n rounds
    is above the true median as often as a coin shows heads. So the k-th smallest and the k-th largest fail to enclose
    it with the probability of fewer than k heads, twice."""
    n = len(ratios)
    fewer, k = 0, 0
    while 2 * (fewer + math.comb(n, k)) <= (1 - CONFIDENCE) * 2 ** n:
        fewer += math.comb(n, k)
        k += 1
    k = max(k, 1)
    return ratios[k - 1], ratios[n - k]
