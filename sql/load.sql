-- The planner inlines load_session into the query that calls it, so that a load costs what its
-- index scan costs. For that it must be LANGUAGE sql and STABLE, and must have no SET clause,
-- STRICT or SECURITY DEFINER. Its body is parsed under the search_path of the caller, so every name
-- and operator has its schema. It cannot have a standard body (BEGIN ATOMIC), whose names are
-- resolved at once: the table is made after the extension.
CREATE OR REPLACE FUNCTION qsessions.load_session(key text) RETURNS SETOF qsessions.session_data
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
AS $$
    SELECT s.id, s.user_id::pg_catalog.text, s.data, s.ip, s.user_agent, s.created_at, s.authenticated_at,
           s.updated_at, s.last_seen_at, s.expires_at, s.version
    FROM qsessions.session AS s
    WHERE s.id OPERATOR(pg_catalog.=) qsessions._find_session_id(load_session.key)
      AND (s.digest OPERATOR(pg_catalog.=) qsessions._key_digest(load_session.key)
           OR s.former_digest OPERATOR(pg_catalog.=) qsessions._key_digest(load_session.key)
              AND s.former_digest_until OPERATOR(pg_catalog.>) pg_catalog.now())
      AND s.expires_at OPERATOR(pg_catalog.>) pg_catalog.now()
$$;

COMMENT ON FUNCTION qsessions.load_session(text) IS
    'Returns the live session of a key, or no row. Writes nothing, so it also runs on a standby';

CREATE OR REPLACE FUNCTION qsessions.session_exists(key text) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    RETURN EXISTS (
        SELECT FROM qsessions.session AS s
        WHERE qsessions._key_opens(key, s.id, s.digest, s.former_digest, s.former_digest_until, s.expires_at));
END
$$;

COMMENT ON FUNCTION qsessions.session_exists(text) IS 'Returns whether a key belongs to a live session';

CREATE OR REPLACE FUNCTION qsessions.resume_session(
    key text, ip inet DEFAULT NULL, user_agent text DEFAULT NULL, client_hints jsonb DEFAULT NULL)
RETURNS SETOF qsessions.session_data
LANGUAGE plpgsql ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    seen_ip inet := qsessions._host(ip);
    seen_agent text := qsessions._kept_user_agent(user_agent);
    seen_hints jsonb := qsessions._kept_client_hints(client_hints);
BEGIN
    RETURN QUERY
        SELECT s.id, s.user_id::text, s.data, s.ip, s.user_agent, s.created_at, s.authenticated_at,
               s.updated_at, s.last_seen_at, s.expires_at, s.version
        FROM qsessions.session AS s
        WHERE qsessions._key_opens(key, s.id, s.digest, s.former_digest, s.former_digest_until, s.expires_at)
          AND qsessions._visit_due_at(s.last_seen_at, s.idle_timeout) > now()
          AND (seen_ip IS NULL OR s.ip IS NOT DISTINCT FROM seen_ip)
          AND (seen_agent IS NULL OR s.user_agent IS NOT DISTINCT FROM seen_agent)
          AND (seen_hints IS NULL OR s.client_hints @> seen_hints);
    IF FOUND THEN
        RETURN;
    END IF;
    IF NOT qsessions.session_exists(key) THEN
        PERFORM qsessions._count_load_of_nothing(key);
        RETURN;
    END IF;

    -- This is also so on a standby.
    IF current_setting('transaction_read_only')::boolean THEN
        RETURN QUERY SELECT l.* FROM qsessions.load_session(key) AS l;
        RETURN;
    END IF;

    RETURN QUERY
        UPDATE qsessions.session AS s SET
            ip = coalesce(seen_ip, s.ip),
            user_agent = coalesce(seen_agent, s.user_agent),
            client_hints = qsessions._merged_client_hints(s.user_agent, s.client_hints, seen_agent, seen_hints),
            last_seen_at = greatest(s.last_seen_at, now()),
            purge_after = coalesce(s.purge_after, s.expires_at),
            expires_at = qsessions._slide(s.expires_at, s.last_seen_at, s.idle_timeout, s.deadline, now())
        WHERE qsessions._key_opens(key, s.id, s.digest, s.former_digest, s.former_digest_until, s.expires_at)
        RETURNING s.id, s.user_id::text, s.data, s.ip, s.user_agent, s.created_at, s.authenticated_at,
                  s.updated_at, s.last_seen_at, s.expires_at, s.version;
END
$$;

COMMENT ON FUNCTION qsessions.resume_session(text, inet, text, jsonb) IS
    'Returns the live session of a key, or no row, and records the visit. It writes only if ip, user_agent or client_hints have changed or qsessions.touch_interval has passed, and never in a read-only transaction';
