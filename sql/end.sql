-- A row that has expired but isn't purged yet goes too, yet only a live session counts as ended.

CREATE FUNCTION qsessions.logout(key text) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
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

-- Two functions, for a null user_id must never mean anybody's session.
CREATE FUNCTION qsessions.revoke_session(id uuid) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    was_alive boolean;
BEGIN
    DELETE FROM qsessions.session AS s WHERE s.id = id RETURNING s.expires_at > now() INTO was_alive;
    RETURN coalesce(was_alive, false);
END
$$;

COMMENT ON FUNCTION qsessions.revoke_session(uuid) IS
    'For administrators: ends a session by its public id, whosever it is. Whether there was one';

CREATE FUNCTION qsessions.revoke_session(id uuid, user_id text) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    was_alive boolean;
BEGIN
    IF user_id IS NULL THEN
        PERFORM qsessions.raise_null('user_id');
    END IF;
    DELETE FROM qsessions.session AS s
    WHERE s.id = id AND s.user_id = user_id::qsessions.user_key
    RETURNING s.expires_at > now() INTO was_alive;
    RETURN coalesce(was_alive, false);
END
$$;

COMMENT ON FUNCTION qsessions.revoke_session(uuid, text) IS
    'Ends a session by its public id, if it is that user''s. Whether there was one';

CREATE FUNCTION qsessions.revoke_session(id uuid, user_id anynonarray) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN qsessions.revoke_session(id, user_id::text);
END
$$;

COMMENT ON FUNCTION qsessions.revoke_session(uuid, anynonarray) IS
    'The same for a user_id of type bigint, integer, uuid and others';

-- One plain DELETE, which meets the rows in the order in which a cascade from the users table meets them, so that
-- the two can't wait for each other.
CREATE FUNCTION qsessions.revoke_user_sessions(user_id text, except_key text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    ended bigint;
BEGIN
    IF user_id IS NULL THEN
        PERFORM qsessions.raise_null('user_id');
    END IF;
    PERFORM qsessions.lock_user(user_id, is_exclusive => true);
    WITH gone AS (
        DELETE FROM qsessions.session AS s
        WHERE s.user_id = user_id::qsessions.user_key AND s.digest IS DISTINCT FROM qsessions.key_digest(except_key)
        RETURNING s.expires_at > now() AS was_alive
    )
    SELECT count(*) FILTER (WHERE g.was_alive) INTO ended FROM gone AS g;
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
