"""What one machine does in a second: eight clients that do nothing else, pgbench on the same machine."""

import time

from functions import LOAD, RESUME
from pgbench import CLIENTS, USERS, WARM_UP_SECONDS, Run, Statement

from .fill import EXPIRED

SECONDS = 10

_LIVE = 1 - EXPIRED
# Those that have expired cannot be saved, and a visit of theirs is not recorded: they do not count.
_SAVE = Statement("save", "key", "SELECT qsessions.save_session(:key_#, :data) "
                                 "WHERE EXISTS (SELECT FROM qsessions.load_session(:key_#))")
_LOGIN = Statement("login", "key", "SELECT * FROM qsessions.login(NULL, :user_#, :ip, :user_agent)")
_CASES = [("loads", LOAD, "", 1), ("visits, each recorded", RESUME, "-c qsessions.touch_interval=0", _LIVE),
          ("loads that save", _SAVE, "", _LIVE), ("logins of new visitors", _LOGIN, "", 1)]


def measure(server, rows, say):
    """The speed of each call that applications make most, all over the table."""
    speeds = []
    for what, statement, options, share in _CASES:
        say(f"as many {what} as {CLIENTS} clients can")
        before = time.time()
        run = Run(server, rows, statement, WARM_UP_SECONDS + SECONDS, options=options)
        run.wait()
        begin, end = before + WARM_UP_SECONDS, before + WARM_UP_SECONDS + SECONDS
        speeds.append(f"{what} {run.speed([(begin, end, SECONDS)]) * share:,.0f}")
    return [f"in a second, {CLIENTS} clients, {USERS:,} users: " + "; ".join(speeds)], True
