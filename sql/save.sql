-- Each function here changes a live session by its key in one UPDATE, and never inserts a row: a
-- save that is under way during a logout must not bring the session back.

-- This function runs most often of all that write. So it qualifies names and operators instead of
-- having a SET clause, which takes a fifth of its time. PL/pgSQL prepares each of its expressions
-- again in each transaction, so this has as few as possible: one IF is for all that is rare, also data
-- that is too large, and the other also counts.
CREATE OR REPLACE FUNCTION qsessions.save_session(
    key text, data jsonb, expected_version bigint DEFAULT NULL, ttl interval DEFAULT NULL,
    user_id anycompatiblenonarray DEFAULT NULL::pg_catalog.text)
RETURNS bigint
LANGUAGE plpgsql
AS $$
#variable_conflict use_variable
DECLARE
    new_version bigint;
BEGIN
    IF ttl IS NOT NULL OR user_id IS NOT NULL OR qsessions._data_fits(data) IS NOT TRUE THEN
        IF ttl IS NOT NULL THEN
            PERFORM qsessions._check_interval('ttl', ttl);
        END IF;
        IF user_id IS NOT NULL THEN
            PERFORM qsessions._assign_user(key, user_id::pg_catalog.text);
        END IF;
        IF qsessions._data_fits(data) IS NOT TRUE THEN
            PERFORM qsessions._raise_not_saved(key, data, expected_version);
        END IF;
    END IF;
    UPDATE qsessions.session AS s SET
        data = data,
        version = s.version OPERATOR(pg_catalog.+) 1,
        updated_at = GREATEST(s.updated_at, pg_catalog.now()),
        last_seen_at = GREATEST(s.last_seen_at, pg_catalog.now()),
        purge_after = coalesce(s.purge_after, s.expires_at),
        expires_at = qsessions._slide(s.expires_at, s.last_seen_at, coalesce(ttl, s.idle_timeout), s.deadline, pg_catalog.now())
    WHERE qsessions._key_opens(key, s.id, s.digest, s.former_digest, s.former_digest_until, s.expires_at)
      AND (expected_version IS NULL OR s.version OPERATOR(pg_catalog.=) expected_version)
    RETURNING s.version INTO new_version;
    -- _count never returns null.
    IF new_version IS NULL OR qsessions._count('saves') IS NULL THEN
        PERFORM qsessions._raise_not_saved(key, data, expected_version);
    END IF;
    RETURN new_version;
END
$$;

COMMENT ON FUNCTION qsessions.save_session(text, jsonb, bigint, interval, anycompatiblenonarray) IS
    'Replaces the data of a live session and returns its new version; with ttl, the session expires that long from now. With user_id, an anonymous session becomes that of the user and keeps its key, which the caller must rotate; a former key ends, and is refused. Raises QS001 if there is no such session, QS002 if its version is not expected_version, and 22023 if it belongs to another user';

-- The lock of the user comes before that of the row, as login.sql explains. This is a login, so it
-- ends the grace of a former key, and a former key cannot do it: another visitor may know it, and
-- have rotated it.
CREATE OR REPLACE FUNCTION qsessions._assign_user(key text, user_text text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    is_locked boolean;
    session record;
BEGIN
    is_locked := qsessions._lock_user_hash(
        'qsessions.session'::regclass, hash_record_extended(ROW(user_text::qsessions.user_key), 0), false);
    SELECT s.id, s.user_id IS NULL AS is_anonymous, s.user_id = user_text::qsessions.user_key AS is_theirs,
           s.digest = qsessions._key_digest(key) AS is_present_key, s.ip, s.user_agent, s.client_hints
    INTO session
    FROM qsessions.session AS s
    WHERE qsessions._key_opens(key, s.id, s.digest, s.former_digest, s.former_digest_until, s.expires_at)
    FOR UPDATE;
    IF session.is_anonymous THEN
        IF NOT session.is_present_key THEN
            RAISE EXCEPTION 'argument "key" was rotated already'
                USING ERRCODE = 'QS001', DETAIL = 'It opens the session until its grace is over, but cannot give it to a user.',
                      HINT = 'Call login, which returns a new key.';
        END IF;
        UPDATE qsessions.session AS s SET
            user_id = (user_text || '')::qsessions.user_key,
            former_digest = NULL,
            former_digest_until = NULL,
            authenticated_at = greatest(s.authenticated_at, now())
        WHERE s.id = session.id;
        IF right(user_text, 1) = ' ' THEN
            PERFORM qsessions._check_user_kept(session.id, user_text);
        END IF;
        IF qsessions._has_events() THEN
            PERFORM qsessions._record_login(
                ROW(NULL, session.id, NULL), user_text, session.ip, session.user_agent, session.client_hints);
        END IF;
    ELSIF NOT session.is_theirs THEN
        RAISE EXCEPTION 'argument "user_id" is not the user of the session'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Call login to begin a session of another user.';
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions._assign_user(text, text) IS
    'Internal: makes an anonymous session that of a user; raises 22023 if it belongs to another user';

CREATE OR REPLACE FUNCTION qsessions.patch_session(key text, changes jsonb DEFAULT '{}', remove text[] DEFAULT '{}')
RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    new_version bigint;
    new_data jsonb;
BEGIN
    IF jsonb_typeof(changes) <> 'object' THEN
        RAISE EXCEPTION 'argument "changes" must be a JSON object, but has JSON type %', jsonb_typeof(changes)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass the members to set, for example ''{"theme": "dark"}''.';
    END IF;
    UPDATE qsessions.session AS s SET
        data = (s.data || coalesce(changes, '{}')) - coalesce(remove, '{}'),
        version = s.version + 1,
        updated_at = greatest(s.updated_at, now()),
        last_seen_at = greatest(s.last_seen_at, now()),
        purge_after = coalesce(s.purge_after, s.expires_at),
        expires_at = qsessions._slide(s.expires_at, s.last_seen_at, s.idle_timeout, s.deadline, now())
    WHERE qsessions._key_opens(key, s.id, s.digest, s.former_digest, s.former_digest_until, s.expires_at)
      AND jsonb_typeof(s.data) = 'object'
    RETURNING s.version, s.data INTO new_version, new_data;
    IF FOUND THEN
        -- _count never returns null.
        IF NOT qsessions._data_fits(new_data) OR qsessions._count('saves') IS NULL THEN
            PERFORM qsessions._raise_data_too_large(new_data);
        END IF;
        RETURN new_version;
    END IF;
    IF qsessions.session_exists(key) THEN
        RAISE EXCEPTION 'argument "key" belongs to a session whose data is not a JSON object'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Only an object has members to set. Replace the data with save_session.';
    END IF;
    PERFORM qsessions._raise_not_found(key, NULL);
END
$$;

COMMENT ON FUNCTION qsessions.patch_session(text, jsonb, text[]) IS
    'Sets, then removes top-level members of the data of a live session, in one UPDATE: concurrent patches of different members all take effect. Returns the new version';
