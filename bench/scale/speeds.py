"""What one machine does in a second: eight clients that do nothing else, pgbench on the same machine."""

import time

from functions import LOAD, RESUME, SAVE
from pgbench import CLIENTS, USERS, WARM_UP_SECONDS, Run, Statement

SECONDS = 10

_LOGIN = Statement("login", "key", "SELECT * FROM qsessions.login(NULL, :user_#, :ip, :user_agent)")
_CASES = [("loads", LOAD, ""), ("visits, each recorded", RESUME, "-c qsessions.touch_interval=0"), ("saves", SAVE, ""),
          ("logins of new visitors", _LOGIN, "")]


def measure(server, rows, say):
    """The speed of each call that applications make most, all over the table."""
    speeds = []
    for what, statement, options in _CASES:
        say(f"as many {what} as {CLIENTS} clients can")
        before = time.time()
        run = Run(server, rows, statement, WARM_UP_SECONDS + SECONDS, options=options)
        run.wait()
        begin, end = before + WARM_UP_SECONDS, before + WARM_UP_SECONDS + SECONDS
        speeds.append(f"{what} {run.speed([(begin, end, SECONDS)]):,.0f}")
    return [f"in a second, {CLIENTS} clients, {USERS:,} users: " + "; ".join(speeds)], True
