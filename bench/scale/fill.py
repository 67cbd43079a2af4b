"""The table with many sessions, in a data directory that can be kept."""

import re
import shutil
import subprocess
import time

from server import SUPERUSER, Failure, Server
from table import BATCH, DATA, USERS, make_living

# Of the sessions, so many have expired: one half for a purge, and one for a DELETE.
EXPIRED = 0.2
# Users that have so many sessions each, spread over the table: user -1 has the first number of them, -2 the second.
CROWDED = (10, 1_000, 10_000)
# The network of the sessions of user -1; no other session is in it.
RARE_NETWORK, ABSENT_NETWORK, COMMON_NETWORK = "198.51.100.0/24", "192.0.2.0/24", "81.0.0.0/8"
ABSENT_DEVICE, COMMON_DEVICE = "Nokia 3310", "Firefox"
# Of the small table, which is what the large one is compared with.
SMALL_ROWS = 10_000
# The last sessions, whose rows are neighbours.
NEWEST = 40_000
CHUNK = 250_000
# Nothing is written to the WAL, and nothing is flushed before the end.
SETTINGS = """
wal_level = minimal
max_wal_senders = 0
max_wal_size = '1GB'
maintenance_work_mem = '512MB'
work_mem = '256MB'
"""

_USER_AGENTS = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 "
    "Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 15; SM-S928B) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0",
    "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
]

# All in one transaction with the TRUNCATE, so that PostgreSQL need not write it to the WAL. The live sessions expire
# in a month at the earliest, so that the data can be measured later. created_at is in the order of the rows, as where
# an application makes them; each was seen within the last day, and not within the last hour. What expired is spread
# over the whole table, which is the hard case for a purge.
_BEGIN = """
CREATE EXTENSION qsessions;
CREATE SCHEMA bench;
CREATE TABLE bench.users (id bigint PRIMARY KEY);
INSERT INTO bench.users SELECT n FROM generate_series(-{crowds}, {users}) AS n;
SELECT qsessions.create_session_table('bench.users');
CREATE UNLOGGED TABLE bench.made (n bigint, key text);
SET session_replication_role = replica;
SELECT string_agg(pg_get_indexdef(i.indexrelid), ';') AS indexes,
       string_agg('DROP INDEX ' || i.indexrelid::regclass, ';') AS drops
FROM pg_index AS i WHERE i.indrelid = 'qsessions.session'::regclass AND NOT i.indisprimary \\gset
SELECT :'drops' \\gexec
BEGIN;
TRUNCATE qsessions.session;
ALTER TABLE qsessions.session DROP CONSTRAINT session_pkey;
"""
_CHUNK = """
WITH made AS (
    INSERT INTO bench.made SELECT n, qsessions.generate_key() FROM generate_series({first}, {last}) AS n
    RETURNING n, key)
INSERT INTO qsessions.session
    (id, digest, user_id, data, ip, user_agent, created_at, authenticated_at, updated_at, last_seen_at, expires_at,
     idle_timeout)
SELECT qsessions._find_session_id(m.key), qsessions._key_digest(m.key), m.user_id, '{data}',
       CASE WHEN m.user_id = -1 THEN '198.51.100.0'::inet ELSE '81.0.0.0'::inet END
           + (random() * CASE WHEN m.user_id = -1 THEN 255 ELSE 16777215 END)::bigint,
       ('{user_agents}'::text[])[1 + m.n % {count}], m.created_at, m.created_at, m.seen_at, m.seen_at,
       CASE WHEN m.is_expired THEN m.seen_at - m.span ELSE m.seen_at + interval '31 days' + m.span END,
       CASE WHEN m.slides AND NOT m.is_expired THEN interval '31 days' + m.span END
FROM (SELECT m.n, m.key, c.user_id, c.user_id > 0 AND random() < {expired} AS is_expired, random() < 0.5 AS slides,
             interval '1 hour' + random() * interval '13 days' AS span,
             now() - interval '1 hour' - random() * interval '22 hours' AS seen_at,
             now() - interval '1 day' - ({rows} - m.n) * interval '30 days' / {rows} AS created_at
      FROM made AS m
      CROSS JOIN LATERAL (SELECT CASE {crowds} ELSE 1 + floor(random() * {users})::bigint END AS user_id
                          OFFSET 0) AS c) AS m;
\\echo sessions made: {last}
"""
_END = """
ALTER TABLE qsessions.session ADD CONSTRAINT session_pkey PRIMARY KEY (id);
\\echo indexes
SELECT :'indexes' \\gexec
COMMIT;
\\echo keys, in random order
CREATE TABLE bench.key (n bigint PRIMARY KEY, {columns});
INSERT INTO bench.key
SELECT b.n, {elements}
FROM (SELECT k.n, array_agg(k.key) AS keys
      FROM (SELECT m.key, (row_number() OVER (ORDER BY hashint8extended(m.n, 0)) - 1) / {batch} AS n
            FROM bench.made AS m) AS k
      GROUP BY k.n HAVING count(*) = {batch}) AS b;
CREATE TABLE bench.newest_key (n bigint PRIMARY KEY, {columns});
INSERT INTO bench.newest_key
SELECT b.n, {elements}
FROM (SELECT k.n, array_agg(k.key) AS keys
      FROM (SELECT m.key, (row_number() OVER (ORDER BY hashint8extended(m.n, 0)) - 1) / {batch} AS n
            FROM bench.made AS m WHERE m.n > {rows} - {newest}) AS k
      GROUP BY k.n HAVING count(*) = {batch}) AS b;
DROP TABLE bench.made;
\\echo vacuum
VACUUM (FREEZE, ANALYZE);
"""


def crowds(rows):
    """The numbers of sessions of the users with many; not more than a tenth of the table."""
    return [count for count in CROWDED if count <= rows / 10]


def make(data, rows, say):
    """Makes a data directory with the tables, and shuts its server down."""
    with Server(SETTINGS, data=data) as server:
        server.sql("CREATE DATABASE bench", "postgres")
        _run_saying(server, _statements(rows), say)
        make_living(server, SMALL_ROWS, "small")
    flush(data)


def _statements(rows):
    # The sessions of a crowd are the rows whose numbers have a remainder, of which each crowd has its own.
    numbers = crowds(rows)
    of_crowds = " ".join(f"WHEN m.n % {rows // count} = {user} AND m.n < {rows // count * count} THEN -{user}"
                         for user, count in enumerate(numbers, 1)) or "WHEN false THEN 0"
    yield _BEGIN.format(users=USERS, crowds=max(1, len(numbers)))
    agents = "{" + ",".join(f'"{agent}"' for agent in _USER_AGENTS) + "}"
    for first in range(1, rows + 1, CHUNK):
        yield _CHUNK.format(first=first, last=min(first + CHUNK - 1, rows), rows=rows, data=DATA, expired=EXPIRED,
                            users=USERS, user_agents=agents, count=len(_USER_AGENTS), crowds=of_crowds)
    yield _END.format(batch=BATCH, rows=rows, newest=NEWEST, columns=", ".join(f"key_{n} text" for n in range(1, BATCH + 1)),
                      elements=", ".join(f"b.keys[{n}]" for n in range(1, BATCH + 1)))


def _run_saying(server, statements, say):
    """Runs statements with psql, and says what they echo."""
    script = server.make_folder("fill") / "script.sql"
    script.write_text("".join(statements), encoding="utf-8")
    output, begin = script.with_name("output"), time.monotonic()
    psql = server.start("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", server.folder, "-U", SUPERUSER,
                        "-d", "bench", "-f", script, output=output)
    said = 0
    while True:
        is_over = psql.poll() is not None
        lines = output.read_text(errors="replace").splitlines()
        for line in lines[said:]:
            if line:
                say(f"{time.monotonic() - begin:5.0f} s  {line}")
        said = len(lines)
        if is_over:
            break
        time.sleep(1)
    if psql.returncode:
        raise Failure("psql failed: " + "\n".join(lines[-3:]))


def flush(data):
    """Makes the operating system write what it holds of a directory."""
    subprocess.run(["sync", "-f", data], check=False)


def copy(source, target):
    """Copies a data directory, without its blocks where the file system can share them."""
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", "--reflink=auto", source, target], check=True)
    flush(target)


def _definitions(server):
    """The statements of the installed extension that can be repeated, as scripts/upgrade-scripts takes them."""
    control = (server.extensions / "qsessions.control").read_text(encoding="utf-8")
    version = re.search(r"default_version = '([^']+)'", control)[1]
    text = (server.extensions / f"qsessions--{version}.sql").read_text(encoding="utf-8")
    kept, skips = [], False
    for line in text.splitlines():
        skips = skips or re.match(r"CREATE (SCHEMA|TYPE|TABLE|UNLOGGED TABLE) qsessions|GRANT |\\echo", line) is not None
        if not skips:
            kept.append(line)
        skips = skips and not line.endswith(";") and not line.startswith("\\echo")
    return "\n".join(kept).replace("MODULE_PATHNAME", "$libdir/qsessions")


def renew(server):
    """Gives loaded data the functions of the extension that is installed now: the data may be kept from an older one."""
    text = _definitions(server)
    for database in ("bench", "small"):
        server.sql(f"{text}\nSELECT qsessions.update_session_table();", database)
