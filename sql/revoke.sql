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
    expiry timestamptz;
    is_begun boolean := qsessions._begin_event_reason('administrator');
BEGIN
    DELETE FROM qsessions.session AS s WHERE s.id = id RETURNING s.expires_at INTO expiry;
    is_begun := qsessions._end_event_reason();
    IF expiry > now() THEN
        PERFORM qsessions._count('revoked');
        RETURN true;
    END IF;
    RETURN false;
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
    expiry timestamptz;
    is_begun boolean;
BEGIN
    IF user_text IS NULL THEN
        PERFORM qsessions._raise_null('user_id');
    END IF;
    is_begun := qsessions._begin_event_reason('user');
    DELETE FROM qsessions.session AS s
    WHERE s.id = id AND s.user_id = user_text::qsessions.user_key
    RETURNING s.expires_at INTO expiry;
    is_begun := qsessions._end_event_reason();
    IF expiry > now() THEN
        PERFORM qsessions._count('revoked');
        RETURN true;
    END IF;
    RETURN false;
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
        RETURNING s.expires_at
    )
    SELECT count(*) FILTER (WHERE g.expires_at > now()) INTO ended FROM gone AS g;
    is_begun := qsessions._end_event_reason();
    PERFORM qsessions._count('revoked', ended);
    RETURN ended;
END
$$;

COMMENT ON FUNCTION qsessions.revoke_user_sessions(anycompatiblenonarray, text) IS
    'Ends all sessions of a user (log out everywhere), or all but that of except_key (log out everywhere else). Returns how many';

-- A call without max_rows locks the rows in the order in which they are in the table, which is also
-- the order of a cascade and of revoke_user_sessions, so that two of them do not wait for each
-- other. A batch passes over rows that another transaction has locked. It waits only for a single
-- row, when no other is left.
--
-- The statement is put together from the filters that are given, so that each combination uses the
-- index that suits it.
CREATE OR REPLACE FUNCTION qsessions.revoke_sessions(
    user_id anycompatiblenonarray DEFAULT NULL::pg_catalog.text, ip inet DEFAULT NULL,
    created_before timestamptz DEFAULT NULL, last_seen_before timestamptz DEFAULT NULL,
    user_agent text DEFAULT NULL, max_rows integer DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    user_text text := user_id;
    is_locked boolean;
    filters text := concat_ws(' AND ',
        CASE WHEN user_text IS NOT NULL THEN 's.user_id = $1::qsessions.user_key' END,
        CASE WHEN ip IS NOT NULL THEN 's.ip <<= $2' END,
        CASE WHEN created_before IS NOT NULL THEN 's.created_at < $3' END,
        CASE WHEN last_seen_before IS NOT NULL THEN 's.last_seen_at < $4' END,
        CASE WHEN user_agent IS NOT NULL THEN 's.user_agent LIKE $5' END);
    lock_rows CONSTANT text :=
        'SELECT array_agg(l.id) FROM (SELECT s.id FROM qsessions.session AS s WHERE %s %s) AS l';
    ids uuid[];
    is_begun boolean;
    deleted bigint;
    ended bigint;
BEGIN
    IF filters = '' THEN
        RAISE EXCEPTION 'one of the arguments "user_id", "ip", "created_before", "last_seen_before" and "user_agent" must be given'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'To end all sessions there are, pass created_before => ''infinity''.';
    END IF;
    IF max_rows < 1 THEN
        RAISE EXCEPTION 'argument "max_rows" must be at least 1, but is %', max_rows
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out to end all sessions at once.';
    END IF;
    IF user_text IS NOT NULL THEN
        is_locked := qsessions._lock_user_hash(
            'qsessions.session'::regclass, hash_record_extended(ROW(user_text::qsessions.user_key), 0), true);
    END IF;
    LOOP
        EXECUTE format(lock_rows, filters, CASE WHEN max_rows IS NULL THEN 'ORDER BY s.ctid FOR UPDATE'
                                                ELSE 'LIMIT $6 FOR UPDATE SKIP LOCKED' END)
            INTO ids
            USING user_text, qsessions._network(ip), created_before, last_seen_before, user_agent, max_rows;
        IF ids IS NULL AND max_rows IS NOT NULL THEN
            EXECUTE format(lock_rows, filters, 'LIMIT 1 FOR UPDATE') INTO ids
                USING user_text, qsessions._network(ip), created_before, last_seen_before, user_agent;
        END IF;
        is_begun := qsessions._begin_event_reason('administrator');
        WITH gone AS (
            DELETE FROM qsessions.session AS s WHERE s.id = ANY (ids) RETURNING s.expires_at
        )
        SELECT count(*), count(*) FILTER (WHERE g.expires_at > now()) INTO deleted, ended FROM gone AS g;
        is_begun := qsessions._end_event_reason();
        -- A batch of rows that have expired already is followed by another, so that 0 says that
        -- none is left.
        EXIT WHEN max_rows IS NULL OR ended > 0 OR deleted = 0;
    END LOOP;
    PERFORM qsessions._count('revoked', ended);
    RETURN ended;
END
$$;

COMMENT ON FUNCTION qsessions.revoke_sessions(anycompatiblenonarray, inet, timestamptz, timestamptz, text, integer) IS
    'For administrators: ends all sessions that fit every argument that is given, and returns how many. ip may be a network, user_agent is a LIKE pattern. With max_rows, ends at most so many and passes over sessions that another transaction has locked: call it, and commit, until it returns 0';
