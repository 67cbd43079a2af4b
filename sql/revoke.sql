-- Ending sessions without their keys. Also a row that has expired but was not purged yet goes; only
-- a live session counts as ended.

-- There are two functions, so that a user_id that is null by mistake never ends the session of any
-- user.
CREATE OR REPLACE FUNCTION qsessions.revoke_session(id uuid) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    was_alive boolean;
    is_begun boolean := qsessions._begin_event_reason('administrator');
BEGIN
    DELETE FROM qsessions.session AS s WHERE s.id = id RETURNING s.expires_at > now() INTO was_alive;
    is_begun := qsessions._end_event_reason();
    RETURN coalesce(was_alive, false);
END
$$;

COMMENT ON FUNCTION qsessions.revoke_session(uuid) IS
    'For administrators: ends a session by its public id, whichever user it belongs to. Returns whether there was one';

CREATE OR REPLACE FUNCTION qsessions.revoke_session(id uuid, user_id anycompatiblenonarray) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    user_text text := user_id;
    was_alive boolean;
    is_begun boolean;
BEGIN
    IF user_text IS NULL THEN
        PERFORM qsessions._raise_null('user_id');
    END IF;
    is_begun := qsessions._begin_event_reason('user');
    DELETE FROM qsessions.session AS s
    WHERE s.id = id AND s.user_id = user_text::qsessions.user_key
    RETURNING s.expires_at > now() INTO was_alive;
    is_begun := qsessions._end_event_reason();
    RETURN coalesce(was_alive, false);
END
$$;

COMMENT ON FUNCTION qsessions.revoke_session(uuid, anycompatiblenonarray) IS
    'Ends a session by its public id if it belongs to this user. Returns whether there was one';

-- One plain DELETE: it meets the rows in the order in which a cascade from the users table meets
-- them, so that the two cannot wait for each other.
CREATE OR REPLACE FUNCTION qsessions.revoke_user_sessions(user_id anycompatiblenonarray, except_key text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    user_text text := user_id;
    is_locked boolean;
    is_begun boolean;
    ended bigint;
BEGIN
    IF user_text IS NULL THEN
        PERFORM qsessions._raise_null('user_id');
    END IF;
    is_locked := qsessions._lock_user_hash(
        'qsessions.session'::regclass, hash_record_extended(ROW(user_text::qsessions.user_key), 0), true);
    is_begun := qsessions._begin_event_reason('user');
    WITH gone AS (
        DELETE FROM qsessions.session AS s
        WHERE s.user_id = user_text::qsessions.user_key
          AND s.digest IS DISTINCT FROM qsessions._key_digest(except_key)
          AND (s.former_digest_until > now() AND s.former_digest = qsessions._key_digest(except_key)) IS NOT TRUE
        RETURNING s.expires_at > now() AS was_alive
    )
    SELECT count(*) FILTER (WHERE g.was_alive) INTO ended FROM gone AS g;
    is_begun := qsessions._end_event_reason();
    RETURN ended;
END
$$;

COMMENT ON FUNCTION qsessions.revoke_user_sessions(anycompatiblenonarray, text) IS
    'Ends all sessions of a user (log out everywhere), or all but that of except_key (log out everywhere else). Returns how many';
