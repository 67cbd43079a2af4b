-- For caches in applications. The planner inlines this function, as it does load_session.
CREATE OR REPLACE FUNCTION qsessions.load_for_cache(key text) RETURNS SETOF qsessions.cacheable_session
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
AS $$
    SELECT s.id, s.user_id::pg_catalog.text, s.data, s.ip, s.user_agent, s.created_at, s.authenticated_at,
           s.updated_at, s.last_seen_at, s.expires_at, s.version,
           qsessions._visit_due_at(s.last_seen_at, s.idle_timeout), qsessions._user_agent_max_length(),
           pg_catalog.pg_postmaster_start_time(), pg_catalog.pg_is_in_recovery(), s.client_hints,
           s.digest OPERATOR(pg_catalog.<>) qsessions._key_digest(load_for_cache.key), s.idle_timeout, s.deadline
    FROM qsessions.session AS s
    WHERE s.id OPERATOR(pg_catalog.=) qsessions._find_session_id(load_for_cache.key)
      AND (s.digest OPERATOR(pg_catalog.=) qsessions._key_digest(load_for_cache.key)
           OR s.former_digest OPERATOR(pg_catalog.=) qsessions._key_digest(load_for_cache.key)
              AND s.former_digest_until OPERATOR(pg_catalog.>) pg_catalog.now())
      AND s.expires_at OPERATOR(pg_catalog.>) pg_catalog.now()
$$;

COMMENT ON FUNCTION qsessions.load_for_cache(text) IS
    'Same as load_session, with the columns that a cache in an application needs. docs/invalidation.md says what such a cache has to do';
