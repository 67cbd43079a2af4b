-- load_session is for the planner to inline: LANGUAGE sql, STABLE, no SET, not STRICT, not SECURITY DEFINER. Its body is
-- then read under the caller's search_path, hence the qualified operators.
CREATE FUNCTION qsessions.load_session(key text) RETURNS SETOF qsessions.session_data
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
AS $$
    SELECT s.id, s.user_id::pg_catalog.text, s.data, s.ip, s.user_agent, s.created_at, s.authenticated_at,
           s.updated_at, s.last_seen_at, s.expires_at, s.version
    FROM qsessions.session AS s
    WHERE s.id OPERATOR(pg_catalog.=) qsessions.find_session_id(load_session.key)
      AND s.digest OPERATOR(pg_catalog.=) qsessions.key_digest(load_session.key)
      AND s.expires_at OPERATOR(pg_catalog.>) pg_catalog.now()
$$;

COMMENT ON FUNCTION qsessions.load_session(text) IS
    'The live session of a key, or no row. Read-only: runs on a standby';

CREATE FUNCTION qsessions.session_exists(key text) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    RETURN EXISTS (
        SELECT FROM qsessions.session AS s
        WHERE s.id = qsessions.find_session_id(key) AND s.digest = qsessions.key_digest(key) AND s.expires_at > now());
END
$$;

COMMENT ON FUNCTION qsessions.session_exists(text) IS 'Whether a key has a live session';

CREATE FUNCTION qsessions.resume_session(key text, ip inet DEFAULT NULL, user_agent text DEFAULT NULL)
RETURNS SETOF qsessions.session_data
LANGUAGE plpgsql ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    touch_interval interval := qsessions.touch_interval();
    seen_ip inet := qsessions._host(ip);
    seen_agent text := left(user_agent, qsessions.user_agent_max_length());
BEGIN
    -- An idle timeout shorter than the touch interval would run out under an active user.
    RETURN QUERY
        SELECT s.id, s.user_id::text, s.data, s.ip, s.user_agent, s.created_at, s.authenticated_at,
               s.updated_at, s.last_seen_at, s.expires_at, s.version
        FROM qsessions.session AS s
        WHERE s.id = qsessions.find_session_id(key)
          AND s.digest = qsessions.key_digest(key)
          AND s.expires_at > now()
          AND s.last_seen_at > now() - least(touch_interval, s.idle_timeout / 4)
          AND (seen_ip IS NULL OR s.ip IS NOT DISTINCT FROM seen_ip)
          AND (seen_agent IS NULL OR s.user_agent IS NOT DISTINCT FROM seen_agent);
    IF FOUND OR NOT qsessions.session_exists(key) THEN
        RETURN;
    END IF;

    IF current_setting('transaction_read_only')::boolean THEN
        -- On a standby as well.
        RETURN QUERY SELECT l.* FROM qsessions.load_session(key) AS l;
        RETURN;
    END IF;

    RETURN QUERY
        UPDATE qsessions.session AS s SET
            ip = coalesce(seen_ip, s.ip),
            user_agent = coalesce(seen_agent, s.user_agent),
            last_seen_at = greatest(s.last_seen_at, now()),
            expires_at = qsessions._slide(s.expires_at, s.last_seen_at, s.idle_timeout, s.deadline)
        WHERE s.id = qsessions.find_session_id(key)
          AND s.digest = qsessions.key_digest(key)
          AND s.expires_at > now()
        RETURNING s.id, s.user_id::text, s.data, s.ip, s.user_agent, s.created_at, s.authenticated_at,
                  s.updated_at, s.last_seen_at, s.expires_at, s.version;
END
$$;

COMMENT ON FUNCTION qsessions.resume_session(text, inet, text) IS
    'The live session of a key, and its visit recorded: written only when ip or user_agent changed or qsessions.touch_interval has passed, and never in a read-only transaction';
