"""Logins and logouts with the table of events, against the same without it."""

from dataclasses import replace

from functions import report
from pgbench import Statement
from table import BATCH, IP, USER_AGENT, USERS, make_living

# A database for each side. The history of a user does not depend on the number of sessions.
_MOST_ROWS = 100_000
_WITHOUT, _WITH = "without_events", "with_events"

_LOGIN = Statement(
    "login", "new id", "SELECT * FROM qsessions.login(NULL, :user_#, :ip, :user_agent)", database=_WITH)
_LOGIN_LOGOUT = Statement(
    "login, logout", "new id",
    "SELECT qsessions.logout(l.key) FROM qsessions.login(NULL, :user_#, :ip, :user_agent) AS l", database=_WITH)

# Five logins of each user in half a year, of two devices. A purge makes the partitions of their
# months.
_HISTORY = f"""
SELECT qsessions.create_event_table();
INSERT INTO qsessions.session_event (at, event, session_id, user_id, ip, user_agent, device_key)
SELECT now() - random() * interval '150 days', 'login', gen_random_uuid(), u.id::text, '{IP}', a.agent,
       qsessions._device_key(a.agent, NULL)
FROM bench.users AS u, generate_series(1, 5) AS n,
     LATERAL (SELECT CASE WHEN n < 5 THEN '{USER_AGENT}' ELSE 'curl/8.5.0' END) AS a (agent)
WHERE u.id <= {USERS};
CALL qsessions.purge();
INSERT INTO qsessions.session_event_known (user_id, key)
SELECT DISTINCT e.user_id, e.device_key FROM qsessions.session_event AS e;
VACUUM ANALYZE;
CHECKPOINT;
"""


def measure(server, rows, rounds, seconds, say):
    """The lines of the report, and whether every ratio is high enough."""
    rows = min(rows, _MOST_ROWS) // BATCH * BATCH
    for database in (_WITHOUT, _WITH):
        if not server.has(database):
            say(f"filling a table with {rows:,} sessions")
            make_living(server, rows, database)
            if database == _WITH:
                server.sql(_HISTORY, database)
    pairs = [(statement, replace(statement, name="without events", database=_WITHOUT), 0.7)
             for statement in (_LOGIN, _LOGIN_LOGOUT)]
    return report(pairs, server, rows, rounds, seconds, say)
