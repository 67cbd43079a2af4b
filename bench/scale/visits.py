"""The share of recorded visits that are HOT updates, that is, write no index."""

from functions import RESUME
from pgbench import BATCH, Run, Statement

from .fill import NEWEST

SECONDS = 20
WANTED_RETURN, WANTED_AGAIN = 0.9, 0.95

_NEWEST = Statement("resume newest", "newest key", RESUME.text)


def measure(server, rows, say):
    """Visits of sessions that come back after more than an hour, and again and again; all over the table and next to
    each other in it."""
    lines, all_good = [], True
    few = min(NEWEST, rows // BATCH * BATCH)
    # By the number of sessions to choose from; 60 s after a visit, the next one is recorded.
    cases = [
        ("of sessions anywhere, back after more than an hour", RESUME, rows, "1min", WANTED_RETURN),
        (f"of {few:,} sessions anywhere, again and again", RESUME, few, "0", WANTED_AGAIN),
        (f"of the newest {few:,} sessions, back after more than an hour", _NEWEST, few, "1min", WANTED_RETURN),
        (f"of the newest {few:,} sessions, again and again", _NEWEST, few, "0", WANTED_AGAIN),
    ]
    for what, statement, chosen, interval, wanted in cases:
        say(f"visits {what}")
        before = _updates(server)
        Run(server, chosen, statement, SECONDS, options=f"-c qsessions.touch_interval={interval}").wait()
        updates, hot = (after - earlier for after, earlier in zip(_updates(server), before))
        good = updates > 0 and hot >= wanted * updates
        all_good &= good
        lines.append(f"visits {what}: {updates:,} recorded in {SECONDS} s, {hot / max(1, updates):.1%} HOT, "
                     f"wanted >= {wanted:.0%}  {'ok' if good else 'short'}")
    return lines, all_good


def _updates(server):
    answer = server.sql("""
        SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relid = 'qsessions.session'::regclass""")
    return [int(count) for count in answer.split("|")]
