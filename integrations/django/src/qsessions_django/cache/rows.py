"""Statements that read sessions with what a cache needs to know of them. Times are seconds since 1970."""

from typing import NamedTuple


class Row(NamedTuple):
    """The columns of the statements."""

    data: str
    user_id: str | None
    version: int
    ip: str | None
    user_agent: str | None
    expires_at: float
    last_seen_at: float
    started_at: str | None
    database: str
    client_hints: str | None
    is_former_key: bool
    is_standby: bool
    is_unsafe: bool
    touch_interval: float | None
    user_agent_max_length: int | None


_COLUMNS = """
    {row}.data, {row}.user_id, {row}.version, host({row}.ip), {row}.user_agent,
    extract(epoch FROM {row}.expires_at)::float8, extract(epoch FROM {row}.last_seen_at)::float8,
    extract(epoch FROM {cached}.server_started_at)::text, pg_catalog.current_database()::text
"""

_LOAD = f"""
SELECT {_COLUMNS.format(row="s", cached="s")}, s.client_hints, s.is_former_key, s.is_standby,
       {{is_unsafe}}, extract(epoch FROM s.visit_due_at - s.last_seen_at)::float8, s.user_agent_max_length
FROM qsessions.load_for_cache(key => %s) AS s
"""
LOAD = _LOAD.format(is_unsafe="false")

# What a transaction reads may be kept if it has written nothing, so that it sees only what is committed, and if each of
# its statements sees what was committed before it.
LOAD_IN_TRANSACTION = _LOAD.format(
    is_unsafe="""pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL
       OR pg_catalog.current_setting('transaction_isolation') <> 'read committed'""")

# What the visit itself does not return is read beside it, and so as it was before the statement. The session may have
# been cached under a key that was rotated in the meantime and that still opens it. If the rotation was committed before
# the statement, this says so. If it was committed later, its notification is still to come.
RESUME = f"""
SELECT {_COLUMNS.format(row="s", cached="l")}, l.client_hints, coalesce(l.is_former_key, true), false, false, NULL, NULL
FROM qsessions.resume_session(%s, %s, %s, %s) AS s
LEFT JOIN LATERAL (SELECT * FROM qsessions.load_for_cache(key => %s)) AS l ON true
"""
