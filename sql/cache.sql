-- What whoever caches sessions needs to know beside the session itself.

CREATE TYPE qsessions.cacheable_session AS (
    id                    uuid,
    user_id               text,
    data                  jsonb,
    ip                    inet,
    user_agent            text,
    created_at            timestamptz,
    authenticated_at      timestamptz,
    updated_at            timestamptz,
    last_seen_at          timestamptz,
    expires_at            timestamptz,
    version               bigint,
    visit_due_at          timestamptz,
    user_agent_max_length integer,
    server_started_at     timestamptz,
    is_standby            boolean
);
COMMENT ON TYPE qsessions.cacheable_session IS
    'A session with what a cache needs to know to answer for it: session_data, then when the next visit has to be recorded, and which server has answered';
COMMENT ON COLUMN qsessions.cacheable_session.visit_due_at IS
    'From then on resume_session records a visit even if neither ip nor user_agent changed';
COMMENT ON COLUMN qsessions.cacheable_session.user_agent_max_length IS 'To how many characters a User-Agent is cut';
COMMENT ON COLUMN qsessions.cacheable_session.server_started_at IS
    'What tells servers apart: a cache must hold only what the server has that it listens to';
COMMENT ON COLUMN qsessions.cacheable_session.is_standby IS
    'Whether this comes from a standby, which is behind, so that no cache may keep it';

-- For the planner to inline, as load_session.
CREATE FUNCTION qsessions.load_for_cache(key text) RETURNS SETOF qsessions.cacheable_session
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
AS $$
    SELECT s.id, s.user_id::pg_catalog.text, s.data, s.ip, s.user_agent, s.created_at, s.authenticated_at,
           s.updated_at, s.last_seen_at, s.expires_at, s.version,
           s.last_seen_at OPERATOR(pg_catalog.+) LEAST(
               qsessions.touch_interval(), s.idle_timeout OPERATOR(pg_catalog./) 4::pg_catalog.float8),
           qsessions.user_agent_max_length(), pg_catalog.pg_postmaster_start_time(), pg_catalog.pg_is_in_recovery()
    FROM qsessions.session AS s
    WHERE s.id OPERATOR(pg_catalog.=) qsessions.find_session_id(load_for_cache.key)
      AND s.digest OPERATOR(pg_catalog.=) qsessions.key_digest(load_for_cache.key)
      AND s.expires_at OPERATOR(pg_catalog.>) pg_catalog.now()
$$;

COMMENT ON FUNCTION qsessions.load_for_cache(text) IS
    'load_session for whoever caches what it gets: docs/invalidation.md says how to stay right';
