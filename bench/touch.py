"""The share of recorded visits that are HOT updates, that is, write no index."""

from functions import RESUME
from pgbench import WARM_UP_SECONDS, Run

WANTED = 0.95

# As after some hours without a visit: the expiry of each sliding session moves to another hour.
_RETURN = """
UPDATE qsessions.session SET last_seen_at = last_seen_at - interval '5 hours', expires_at = expires_at - interval '5 hours'
WHERE idle_timeout IS NOT NULL;
"""


def measure(server, rows):
    """Records visits of random sessions; the lines of the report, and whether enough of them stay HOT."""
    lines, all_good = [], True
    for what, before in (("within the hour", ""), ("after some hours", _RETURN)):
        if before:
            server.sql(before)
            server.sql("VACUUM qsessions.session")
        share, updates = _hot_share(server, rows)
        good = share >= WANTED
        all_good &= good
        lines.append(f"of {updates:,} recorded visits {what} {share:.1%} stayed HOT, wanted >= {WANTED:.0%}  "
                     f"{'ok' if good else 'short'}")
        server.sql("VACUUM qsessions.session")
    return lines, all_good


def _hot_share(server, rows):
    before = _updates(server)
    Run(server, rows, RESUME, WARM_UP_SECONDS + 5, options="-c qsessions.touch_interval=0").wait()
    updates, hot = (after - earlier for after, earlier in zip(_updates(server), before))
    return hot / updates, updates


def _updates(server):
    answer = server.sql("""
        SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
        WHERE relid = 'qsessions.session'::regclass""")
    return [int(count) for count in answer.split("|")]
