-- A row that has expired but isn't purged yet goes too, yet only a live session counts as ended.

CREATE FUNCTION qsessions.logout(key text) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was_alive boolean;
BEGIN
    DELETE FROM qsessions.session AS s
    WHERE s.id = qsessions.find_session_id(key) AND s.digest = qsessions.key_digest(key)
    RETURNING s.expires_at > now() INTO was_alive;
    RETURN coalesce(was_alive, false);
END
$$;

COMMENT ON FUNCTION qsessions.logout(text) IS 'Ends the session of a key; false where there was none, never an error';

CREATE FUNCTION qsessions.revoke_session(id uuid, user_id text DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    was_alive boolean;
BEGIN
    DELETE FROM qsessions.session AS s
    WHERE s.id = revoke_session.id
      AND (revoke_session.user_id IS NULL OR s.user_id = revoke_session.user_id::qsessions.user_key)
    RETURNING s.expires_at > now() INTO was_alive;
    RETURN coalesce(was_alive, false);
END
$$;

COMMENT ON FUNCTION qsessions.revoke_session(uuid, text) IS
    'Ends a session by its public id; with user_id, only if it is that user''s. Whether there was one';

CREATE FUNCTION qsessions.revoke_session(id uuid, user_id anynonarray) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF user_id IS NULL THEN
        -- The caller meant one user's sessions; any user's would be too much.
        PERFORM qsessions.raise_null('user_id');
    END IF;
    RETURN qsessions.revoke_session(id, user_id::text);
END
$$;

COMMENT ON FUNCTION qsessions.revoke_session(uuid, anynonarray) IS
    'The same for a user_id of type bigint, integer, uuid and others';

CREATE FUNCTION qsessions.revoke_user_sessions(user_id text, except_key text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    ended bigint;
BEGIN
    IF revoke_user_sessions.user_id IS NULL THEN
        PERFORM qsessions.raise_null('user_id');
    END IF;
    PERFORM qsessions.lock_user(revoke_user_sessions.user_id);
    WITH theirs AS MATERIALIZED (
        SELECT s.id FROM qsessions.session AS s
        WHERE s.user_id = revoke_user_sessions.user_id::qsessions.user_key
          AND s.digest IS DISTINCT FROM qsessions.key_digest(except_key)
        ORDER BY s.id
        FOR UPDATE
    ), gone AS (
        DELETE FROM qsessions.session AS s USING theirs AS t WHERE s.id = t.id
        RETURNING s.expires_at > now() AS was_alive
    )
    SELECT count(*) FILTER (WHERE was_alive) INTO ended FROM gone;
    RETURN ended;
END
$$;

COMMENT ON FUNCTION qsessions.revoke_user_sessions(text, text) IS
    'Ends all sessions of a user (log out everywhere), or all but that of except_key (log out everywhere else); how many';

CREATE FUNCTION qsessions.revoke_user_sessions(user_id anynonarray, except_key text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN qsessions.revoke_user_sessions(user_id::text, except_key);
END
$$;

COMMENT ON FUNCTION qsessions.revoke_user_sessions(anynonarray, text) IS
    'The same for a user_id of type bigint, integer, uuid and others';
