"""Lists and numbers that pages show, each called alone."""

import re
from statistics import median

from . import fill

# Milliseconds within which each is wanted.
WANTED_MS = 50
REPEATS = 7
# A list that takes longer is given up.
PATIENCE_MS = 20_000

# The milliseconds that a statement takes, planning included, as for a function that is called once.
_TIMER = """
CREATE OR REPLACE FUNCTION bench.milliseconds(statement text) RETURNS double precision LANGUAGE plpgsql AS $$
DECLARE
    begin_at timestamptz := clock_timestamp();
    one record;
BEGIN
    FOR one IN EXECUTE statement LOOP END LOOP;
    RETURN 1000 * extract(epoch FROM clock_timestamp() - begin_at);
EXCEPTION WHEN query_canceled THEN
    RETURN 'infinity';
END
$$;
"""
# What the list of 20 sessions of a user cannot do without: to find which they are.
_BARE = ("SELECT s.id FROM qsessions.session AS s WHERE s.user_id = {} AND s.expires_at > now() "
         "ORDER BY s.last_seen_at DESC, s.id DESC LIMIT 20")
# Why a list that takes longer is no surprise.
_NO_INDEX = "no index finds these, so it reads all sessions"
_IP = _NO_INDEX + "; an index on ip does, see docs/scale.md"
_ALL_ROWS = "it reads each row, from a page of its own, and parses its User-Agent"
_EACH_ROW = "it reads each row, from a page of its own: an index would be written by each visit"
_LIST = "SELECT * FROM qsessions.list_sessions({})"


def measure(server, rows, _say):
    """Each list and number, with its milliseconds."""
    server.sql(_TIMER)
    lists = [
        ("first page", "", None),
        ("active => true", "active => true", None),
        ("active => false", "active => false", None),
        ("user_id => one with few", "user_id => 7", None),
        ("ip => a network of most", f"ip => '{fill.COMMON_NETWORK}'", None),
        ("ip => a rare network", f"ip => '{fill.RARE_NETWORK}'", _IP),
        ("ip => an absent network", f"ip => '{fill.ABSENT_NETWORK}'", _IP),
        ("last_seen_after => 6 hours ago", "last_seen_after => (SELECT max(created_at) + interval '18 hours' FROM "
         "(SELECT created_at FROM qsessions.session ORDER BY created_at DESC LIMIT 1) AS s)", None),
        ("last_seen_after => the future", "last_seen_after => now()", _NO_INDEX),
        ("device => a common one", f"device => '{fill.COMMON_DEVICE}'", None),
        ("device => an absent one", f"device => '{fill.ABSENT_DEVICE}'", _NO_INDEX),
        ("country => an absent one", "country => 'AQ'", _NO_INDEX),
    ]
    statements = [("stats(exact => false)", "SELECT * FROM qsessions.stats(exact => false)", None)]
    statements += [(f"list_sessions, {name}", _LIST.format(filters), reason) for name, filters, reason in lists]
    crowds = list(enumerate(fill.crowds(rows), 1))
    statements += [(f"user_sessions of {count:,}", f"SELECT * FROM qsessions.user_sessions(-{user})", _ALL_ROWS)
                   for user, count in crowds]
    lines, good = _timed(server, statements)
    for user, count in crowds:
        more, fine = _against_bare(server, user, count)
        lines.append(more)
        good &= fine
    more, fine = _logins(server, rows)
    return lines + more, good and fine


def _against_bare(server, user, count):
    """The last twenty sessions of a user against a SELECT of their ids, in turns."""
    statements = (f"SELECT * FROM qsessions.user_sessions(-{user}, max_rows => 20)", _BARE.format(-user))
    ours, bare = zip(*([_times(server, statement, 1)[0] for statement in statements] for _ in range(REPEATS)))
    line, good = _line(f"user_sessions of {count:,}, max_rows => 20", median(ours), _EACH_ROW)
    return f"{line} (a bare SELECT of the 20 ids: {median(bare):,.1f} ms)", good


def measure_after_purge(server, _rows, say):
    """The lists that look for what was purged, before VACUUM and ANALYZE; and for a network, with an index."""
    lines, good = _timed(server, [
        ("list_sessions, active => false, after the purge", _LIST.format("active => false"), None),
        ("stats(exact => false), after the purge", "SELECT * FROM qsessions.stats(exact => false)", None)])
    say("an index on ip")
    server.sql("CREATE INDEX session_ip_idx ON qsessions.session (ip); ANALYZE qsessions.session")
    more, fine = _timed(server, [
        (f"list_sessions, ip => {name}, with an index on ip", _LIST.format(f"ip => '{network}'"), None)
        for name, network in (("a rare network", fill.RARE_NETWORK), ("an absent network", fill.ABSENT_NETWORK))])
    return lines + more, good and fine


def _logins(server, rows):
    """The first login that limits the sessions of a user with many: it ends all others. It is rolled back."""
    lines, all_good = [], True
    for user, count in enumerate(fill.crowds(rows), 1):
        login = f"SELECT bench.milliseconds('SELECT * FROM qsessions.login(NULL, -{user}, max_sessions => 5)')"
        warm = "SELECT count(*) FROM qsessions.login(NULL, 1) \\g /dev/null"
        taken = [float(server.sql(f"BEGIN; {warm}\n{login}; ROLLBACK")) for _ in range(3)]
        line, good = _line(f"login with max_sessions => 5, of {count:,}", median(taken),
                           "once for a user: it ends, and announces, all but five")
        lines.append(line)
        all_good &= good
    return lines, all_good


def _timed(server, statements):
    lines, all_good = [], True
    for name, statement, reason in statements:
        times = _times(server, statement, 1)
        # What is that slow need not be measured seven times.
        if times[0] <= 20 * WANTED_MS:
            times = _times(server, statement, REPEATS)
        line, good = _line(name, median(times), reason)
        lines.append(line)
        all_good &= good
    return lines, all_good


def _line(name, taken, reason):
    """A line of the report, and whether the time is as wanted, or has a reason."""
    figure = f"more than {PATIENCE_MS / 1000:,.0f} s" if taken == float("inf") else f"{taken:,.1f} ms"
    good = taken <= WANTED_MS
    end = "ok" if good else f"long: {reason}" if reason else "short"
    return f"{name}: {figure}, wanted <= {WANTED_MS}  {end}", good or reason is not None


def _times(server, statement, repeats):
    quoted = statement.replace("'", "''")
    # The first call of a connection loads the library and fills the caches of the backend.
    answer = server.sql(f"SELECT count(*) FROM qsessions.user_sessions(0) \\g /dev/null\n"
                        f"SET statement_timeout = {PATIENCE_MS};\n"
                        f"SELECT bench.milliseconds('{quoted}') FROM generate_series(1, {repeats})")
    return [float(line) for line in re.findall(r"^\S+$", answer, re.MULTILINE)]
