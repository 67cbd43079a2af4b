"""A session table with many rows, and the keys by which pgbench finds them."""

# pgbench computes only with numbers, and cannot turn one into a key or an id. So each of its
# transactions begins by fetching this many of them at once. This costs little, and the same on both
# sides.
BATCH = 20

USERS = 100_000
IP = "203.0.113.77"
USER_AGENT = ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
              "Chrome/142.0.0.0 Safari/537.36")
DATA = ('{"cart": [{"sku": "B-1042", "count": 2}, {"sku": "K-77", "count": 1}], "theme": "dark", "csrf": '
        '"7yZq1m0vT3kP5sXw9bNc2dRf", "messages": [], "locale": "en-GB", "last_page": "/orders/2026/11"}')

# Native keys, so that the ids are in the order of time, as in production.
_FILL = """
CREATE EXTENSION qsessions;
CREATE SCHEMA bench;
CREATE TABLE bench.users (id bigint PRIMARY KEY);
INSERT INTO bench.users SELECT n FROM generate_series(1, {users}) AS n;
SELECT qsessions.create_session_table('bench.users');
CREATE UNLOGGED TABLE bench.made AS SELECT qsessions.generate_key() AS key FROM generate_series(1, {rows});
-- The foreign key is satisfied, and is not checked a million times.
SET session_replication_role = replica;
INSERT INTO qsessions.session
    (id, digest, user_id, data, ip, user_agent, authenticated_at, expires_at, idle_timeout)
SELECT qsessions.session_id(r.key), sha256(convert_to(r.key, 'UTF8')), 1 + floor(random() * {users}), '{data}',
       '{ip}', '{user_agent}', now(), {expires_at}, {idle_timeout}
FROM (SELECT m.key, interval '1 day' + random() * interval '13 days' AS span, random() < 0.5 AS slides
      FROM bench.made AS m) AS r;
RESET session_replication_role;
"""

# The values that statements need, in rows of one batch each, with the sessions in random order.
# "tail" is the second half of an id, for new sessions. Rows are below 2 kB, so that they are not
# moved to a TOAST table.
_BATCHES = """
CREATE TABLE bench.{kind} (n bigint PRIMARY KEY, {columns});
INSERT INTO bench.{kind}
SELECT b.n, {elements}
FROM (SELECT k.n, array_agg({value}) AS a
      FROM (SELECT m.key, (row_number() OVER (ORDER BY random()) - 1) / {batch} AS n FROM bench.made AS m) AS k
      GROUP BY k.n HAVING count(*) = {batch}) AS b;
"""
_KINDS = {
    "key": ("text", "k.key"),
    "id": ("uuid", "qsessions.session_id(k.key)"),
    "tail": ("text", "right(qsessions.session_id(k.key)::text, 17)"),
}

# Their rows are moved once, so the table is a little larger.
_CROWD = """
INSERT INTO bench.users VALUES ({user});
UPDATE qsessions.session SET user_id = {user} WHERE id IN (
    SELECT id FROM qsessions.session TABLESAMPLE SYSTEM (50) WHERE expires_at > now() AND user_id > 0
    ORDER BY random() LIMIT {count});
"""

_END = "DROP TABLE bench.made; VACUUM ANALYZE; CHECKPOINT;"


def make_living(server, rows, database="bench"):
    """A database with live sessions, half of them sliding, and their keys."""
    server.sql(f"CREATE DATABASE {database}", "postgres")
    server.sql(_fill(rows, "now() + r.span", "CASE WHEN r.slides THEN r.span END")
               + "".join(_batches(kind, *details) for kind, details in _KINDS.items()) + _END, database)


def make_expired(server, rows):
    """Database expired: expired sessions, and a tenth as many live ones between them."""
    server.sql("CREATE DATABASE expired", "postgres")
    server.sql(_fill(rows * 11 // 10, "now() + CASE WHEN random() < 10.0 / 11 THEN -r.span ELSE r.span END", "NULL")
               + _END, "expired")


def make_mixed(server, rows, expired, crowds):
    """Database bench: sessions of which such a share has expired, and the keys of all. User -1 has the first number of
    live sessions in `crowds`, -2 the second, and so on, spread over the table."""
    server.sql("CREATE DATABASE bench", "postgres")
    spread = f"now() + CASE WHEN random() < {expired} THEN -r.span ELSE r.span END"
    crowded = "".join(_CROWD.format(user=-user, count=count) for user, count in enumerate(crowds, 1))
    server.sql(_fill(rows, spread, "CASE WHEN r.slides THEN r.span END") + crowded
               + _batches("key", *_KINDS["key"]) + _END, "bench")


def _fill(rows, expires_at, idle_timeout):
    return _FILL.format(rows=rows, users=USERS, data=DATA, ip=IP, user_agent=USER_AGENT,
                        expires_at=expires_at, idle_timeout=idle_timeout)


def _batches(kind, sql_type, value):
    numbers = range(1, BATCH + 1)
    return _BATCHES.format(
        kind=kind, value=value, batch=BATCH, columns=", ".join(f"{kind}_{n} {sql_type}" for n in numbers),
        elements=", ".join(f"b.a[{n}]" for n in numbers))
