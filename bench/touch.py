"""The share of recorded visits that are HOT updates, that is, write no index."""

from functions import RESUME
from pgbench import WARM_UP_SECONDS, Run

# Once an hour, expires_hour of a sliding session changes, and one index is written.
WANTED = 0.95


def measure(server, rows):
    """Records visits of random sessions; the lines of the report, and whether enough of them stay HOT."""
    before = _updates(server)
    Run(server, rows, RESUME, WARM_UP_SECONDS + 5, options="-c qsessions.touch_interval=0").wait()
    updates, hot = (after - earlier for after, earlier in zip(_updates(server), before))
    share = hot / updates
    good = share >= WANTED
    line = f"of {updates:,} recorded visits {share:.1%} stayed HOT, wanted >= {WANTED:.0%}  {'ok' if good else 'short'}"
    server.sql("VACUUM qsessions.session")
    return [line], good


def _updates(server):
    answer = server.sql("""
        SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
        WHERE relid = 'qsessions.session'::regclass""")
    return [int(count) for count in answer.split("|")]
