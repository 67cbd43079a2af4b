"""Large tables: lists and numbers, purges beside requests, and visits that write no index."""

import re
import time
from statistics import median

from pgbench import threads
from server import SUPERUSER, Failure, Server
from table import BATCH, DATA, make_mixed

# As in production, but for autovacuum, which runs at any time.
SETTINGS = """
shared_buffers = '2GB'
full_page_writes = on
fsync = on
synchronous_commit = on
checkpoint_timeout = '15min'
checkpoint_completion_target = 0.9
wal_compression = on
"""

# Of the sessions, so many have expired.
EXPIRED = 0.1
# Milliseconds within which each list and number is wanted.
WANTED_MS = 50
# Users that have so many sessions each. The others have few.
CROWDED = {10: "10 sessions", 1_000: "1,000 sessions", 10_000: "10,000 sessions"}
REPEATS = 7

# Requests beside a purge: clients and transactions per second.
LOADERS, LOADS = 8, 800
SAVERS, SAVES = 2, 40
QUIET_SECONDS = 15
FLUSH_SECONDS = 8
# The largest p99 beside a purge, as a multiple of the quiet one.
WANTED_LOADS, WANTED_SAVES = 2, 3

_ONE_KEY = ("\\set n random(0, :batches - 1)\n"
            f"SELECT key_{BATCH} AS key FROM bench.key WHERE n = :n \\gset\n")
_LOAD = _ONE_KEY + "SELECT * FROM qsessions.load_session(:key);\n"
_SAVE = _ONE_KEY + ("SELECT qsessions.save_session(:key, :data)\n"
                    "WHERE EXISTS (SELECT FROM qsessions.load_session(:key));\n")

# The milliseconds that a statement takes, planning included, as for a function that is called once.
_TIMER = """
CREATE FUNCTION bench.milliseconds(statement text) RETURNS double precision LANGUAGE plpgsql AS $$
DECLARE
    begin_at timestamptz := clock_timestamp();
    one record;
BEGIN
    FOR one IN EXECUTE statement LOOP END LOOP;
    RETURN 1000 * extract(epoch FROM clock_timestamp() - begin_at);
END
$$;
"""


def measure(rows, say):
    """The lines of the report, and whether every figure is as wanted."""
    lines, all_good = [], True
    with Server(SETTINGS) as server:
        say(f"filling a durable server's table with {rows:,} sessions, a tenth of them expired")
        make_mixed(server, rows, EXPIRED, _crowds(rows))
        server.sql(_TIMER, "bench")
        for part in (_lists, _purge, _lists_after_purge):
            more, good = part(server, rows, say)
            lines += more
            all_good &= good
    return lines, all_good


def _crowds(rows):
    """The users with many sessions, by their number of sessions; not more than a tenth of the table."""
    return [count for count in CROWDED if count <= rows / 10]


def _lists(server, rows, say):
    say("lists and numbers")
    statements = [
        ("stats(exact => false)", "SELECT * FROM qsessions.stats(exact => false)"),
        ("list_sessions()", "SELECT * FROM qsessions.list_sessions()"),
        ("  active => true", "SELECT * FROM qsessions.list_sessions(active => true)"),
        ("  active => false, before the purge", "SELECT * FROM qsessions.list_sessions(active => false)"),
        ("  ip => a network of all sessions", "SELECT * FROM qsessions.list_sessions(ip => '203.0.113.0/24')"),
        ("  last_seen_after => an hour ago",
         "SELECT * FROM qsessions.list_sessions(last_seen_after => now() - interval '1 hour')"),
        ("  user_id => one with a few sessions", "SELECT * FROM qsessions.list_sessions(user_id => 7)"),
    ]
    for user, count in enumerate(_crowds(rows), 1):
        call = f"SELECT * FROM qsessions.user_sessions(-{user}"
        statements += [(f"user_sessions of {CROWDED[count]}", call + ")"),
                       ("  max_rows => 20", call + ", max_rows => 20)")]
    return _timed(server, statements)


def _lists_after_purge(server, _rows, say):
    say("lists right after the purge")
    networks = "SELECT * FROM qsessions.list_sessions(ip => '198.51.100.0/24')"
    lines, good = _timed(server, [
        ("list_sessions(active => false), after the purge", "SELECT * FROM qsessions.list_sessions(active => false)"),
        ("stats(exact => false), after the purge", "SELECT * FROM qsessions.stats(exact => false)")])
    without = median(_times(server, networks, 1))
    server.sql("CREATE INDEX ON qsessions.session (ip); ANALYZE qsessions.session", "bench")
    more, fine = _timed(server, [("list_sessions(ip => an absent network), with an index on ip", networks)])
    return [*lines, f"list_sessions(ip => an absent network), without: {without:,.0f} ms", *more], good and fine


def _timed(server, statements):
    lines, all_good = [], True
    for name, statement in statements:
        taken = median(_times(server, statement, REPEATS))
        good = taken <= WANTED_MS
        all_good &= good
        lines.append(f"{name}: {taken:,.1f} ms, wanted <= {WANTED_MS}  {'ok' if good else 'short'}")
    return lines, all_good


def _times(server, statement, repeats):
    quoted = statement.replace("'", "''")
    answer = server.sql(f"SELECT bench.milliseconds('{quoted}') FROM generate_series(1, {repeats})", "bench")
    return [float(line) for line in answer.splitlines()]


def _purge(server, rows, say):
    """A purge of half of the expired sessions beside requests, and one DELETE of the other half."""
    half = int(rows * EXPIRED / 2)
    batches = max(1, half // 10_000)
    server.sql("CHECKPOINT", "bench")
    say("requests alone")
    quiet = _beside(server, rows, None, QUIET_SECONDS)
    say(f"requests beside a purge of {batches * 10_000:,} sessions")
    purge = _beside(server, rows, f"CALL qsessions.purge(max_batches => {batches})", 600)
    say("requests beside one DELETE of the others")
    server.sql("CHECKPOINT", "bench")
    delete = _beside(server, rows, "DELETE FROM qsessions.session WHERE expires_at <= now()", 600)
    lines = [f"of {rows:,} sessions, CALL purge deleted {batches * 10_000:,} in {purge['seconds']:.1f} s with "
             f"{purge['wal']} of WAL, one DELETE the other half in {delete['seconds']:.1f} s with {delete['wal']}"]
    all_good = True
    for what, wanted in (("loads", WANTED_LOADS), ("saves", WANTED_SAVES)):
        ratio = _p99(purge[what]) / _p99(quiet[what])
        good = ratio <= wanted
        all_good &= good
        lines.append(f"{what}: " + "; ".join(
            f"{name} p50 {median(run[what]):.1f}, p99 {_p99(run[what]):.1f}, longest {max(run[what]):.0f} ms"
            for name, run in (("alone", quiet), ("beside the purge", purge), ("beside the DELETE", delete)))
            + f"; p99 {ratio:.1f} times, wanted <= {wanted}  {'ok' if good else 'short'}")
    return lines, all_good


def _beside(server, rows, statement, seconds):
    """Runs a statement beside requests at a fixed rate: its seconds and WAL, and the milliseconds of the requests
    meanwhile. Without a statement, the requests run for so many seconds."""
    runs = {"loads": _Requests(server, rows, _LOAD, LOADERS, LOADS, seconds + 30),
            "saves": _Requests(server, rows, _SAVE, SAVERS, SAVES, seconds + 30)}
    time.sleep(3)
    before, begin = server.sql("SELECT pg_current_wal_insert_lsn()", "bench"), time.time()
    if statement:
        server.sql(statement, "bench")
    else:
        time.sleep(seconds)
    end = time.time()
    wal = server.sql(f"SELECT pg_size_pretty(pg_current_wal_insert_lsn() - '{before}'::pg_lsn)", "bench")
    # pgbench writes a page of its log at a time, and not the last one.
    time.sleep(FLUSH_SECONDS)
    return {"seconds": end - begin, "wal": wal} | {what: run.end(begin, end) for what, run in runs.items()}


class _Requests:
    """A pgbench that sends requests at a fixed rate. A request that is late counts from when it was due."""

    def __init__(self, server, rows, script, clients, rate, seconds):
        self.folder = server.make_folder("requests")
        path = self.folder / "script.sql"
        path.write_text(script, encoding="utf-8")
        self.process = server.start(
            "pgbench", "-n", "-M", "prepared", "-c", clients, "-j", threads(clients), "-T", seconds, "-R", rate, "-f", path,
            "-l", "--log-prefix", self.folder / "transactions", "-D", f"batches={rows // BATCH}", "-D", f"data={DATA}",
            f"host={server.folder} user={SUPERUSER} dbname=bench", output=self.folder / "output")

    def end(self, begin, end):
        """Stops it; the milliseconds of the requests that ended in this time."""
        self.process.terminate()
        self.process.wait()
        taken = []
        for log in self.folder.glob("transactions.*"):
            for line in log.read_text(encoding="ascii").splitlines():
                # The last line may be incomplete.
                found = re.fullmatch(r"\d+ \d+ (\d+) \d+ (\d+) (\d+) \d+", line)
                if found and begin <= int(found[2]) + int(found[3]) / 1e6 <= end:
                    taken.append(int(found[1]) / 1000)
        if not taken:
            raise Failure("pgbench sent no requests: " + (self.folder / "output").read_text(errors="replace"))
        return sorted(taken)


def _p99(ordered):
    return ordered[len(ordered) * 99 // 100]
