-- Checks that several functions share. They are internal, yet the functions run with the caller's
-- rights, so that whoever may call those may call these.

CREATE FUNCTION qsessions.session_id(key text) RETURNS uuid
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    id uuid := qsessions.find_session_id(key);
BEGIN
    IF id IS NULL THEN
        RAISE EXCEPTION 'key: must have 8 to 512 characters, has %', char_length(key)
            USING ERRCODE = 'QS003', HINT = 'Pass the whole key, as it was returned or as the cookie holds it.';
    END IF;
    RETURN id;
END
$$;

COMMENT ON FUNCTION qsessions.session_id(text) IS
    'The public id of a key''s session: embedded in a native key, derived from the SHA-256 of another one. QS003: the text can''t be a key';

-- Turns the three ways to say an expiry into the two instants that the table keeps.
CREATE FUNCTION qsessions.expiry(
    ttl interval, idle_timeout interval, max_age interval,
    OUT expires_at timestamptz, OUT deadline timestamptz)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF ttl IS NOT NULL AND idle_timeout IS NOT NULL THEN
        RAISE EXCEPTION 'ttl and idle_timeout: only one of them can be given'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'ttl is a fixed expiry, idle_timeout one that slides with activity; use max_age to bound either.';
    END IF;
    PERFORM qsessions.check_interval('ttl', ttl);
    PERFORM qsessions.check_interval('idle_timeout', idle_timeout);
    PERFORM qsessions.check_interval('max_age', max_age);
    deadline := coalesce(now() + max_age, 'infinity');
    expires_at := least(now() + coalesce(ttl, idle_timeout, qsessions.default_ttl()), deadline);
END
$$;

COMMENT ON FUNCTION qsessions.expiry(interval, interval, interval) IS
    'Internal: checks ttl, idle_timeout and max_age and turns them into instants';

CREATE FUNCTION qsessions.check_interval(argument text, value interval) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Months make the sign of an interval depend on the day, so the sum is looked at as well.
    IF value <= interval '0' OR (value < interval '1 year' AND now() + value <= now()) THEN
        RAISE EXCEPTION '%: must be longer than zero', argument
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass an interval such as ''30 minutes'' or ''14 days''.';
    END IF;
    IF isfinite(value) AND value > interval '100000 years' THEN
        RAISE EXCEPTION '%: must not be longer than 100000 years', argument
            USING ERRCODE = 'interval_field_overflow', HINT = 'Pass an interval such as ''30 minutes'' or ''14 days''.';
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions.check_interval(text, interval) IS 'Internal: refuses an interval that no expiry can be made of';

-- Why an UPDATE of a session by its key found no row. Called only then, so the common path pays nothing.
CREATE FUNCTION qsessions.raise_not_found(key text, expected_version bigint DEFAULT NULL) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    current_version bigint;
BEGIN
    IF key IS NULL THEN
        RAISE EXCEPTION 'key: must not be null'
            USING ERRCODE = 'QS003', HINT = 'Pass the key from the cookie, or create a session first.';
    END IF;
    SELECT s.version INTO current_version FROM qsessions.session AS s
    WHERE s.id = qsessions.session_id(key) AND s.digest = qsessions.key_digest(key) AND s.expires_at > now();
    IF current_version <> expected_version THEN
        RAISE EXCEPTION 'expected_version: is %, but the session is at version %', expected_version, current_version
            USING ERRCODE = 'QS002', HINT = 'Load the session again, apply the change to it and save with its version.';
    END IF;
    RAISE EXCEPTION 'key: there is no live session with it'
        USING ERRCODE = 'QS001', HINT = 'The session has ended or expired, or its key was rotated; begin a new one.';
END
$$;

COMMENT ON FUNCTION qsessions.raise_not_found(text, bigint) IS
    'Internal: raises session_not_found (QS001), version_conflict (QS002) or invalid_key (QS003)';

CREATE FUNCTION qsessions.raise_data_too_large(data jsonb) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'data: has % bytes, more than the % that a session may have',
            qsessions.data_size(data), qsessions.max_data_bytes()
        USING ERRCODE = 'QS004', HINT = 'Keep large things in a table of their own, or raise qsessions.max_data_bytes.';
END
$$;

COMMENT ON FUNCTION qsessions.raise_data_too_large(jsonb) IS 'Internal: raises data_too_large (QS004)';

CREATE FUNCTION qsessions.raise_null(argument text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION '%: must not be null', argument USING ERRCODE = 'null_value_not_allowed';
END
$$;

COMMENT ON FUNCTION qsessions.raise_null(text) IS 'Internal: refuses a null argument by its name';

-- A varchar(n) drops blanks that it has no room for, as SQL has it. The session would be another user's.
CREATE FUNCTION qsessions._check_user_kept(id uuid, user_id text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    PERFORM FROM qsessions.session AS s WHERE s.id = id AND s.user_id <> user_id::qsessions.user_key;
    IF FOUND THEN
        RAISE EXCEPTION 'user_id: is longer than the column of users that it refers to'
            USING ERRCODE = 'string_data_right_truncation', HINT = 'Pass the user_id as the users table has it.';
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions._check_user_kept(uuid, text) IS
    'Internal: refuses a user id whose trailing blanks the column user_id has dropped';

-- The one rule of when a session that is used expires. What is counted from is the last activity, be it
-- this one or a later one that an older transaction comes after, so that nothing ever moves back.
CREATE FUNCTION qsessions._slide(
    expires_at timestamptz, last_seen_at timestamptz, idle_timeout interval, deadline timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN idle_timeout IS NULL THEN expires_at
            ELSE LEAST(GREATEST(last_seen_at, now()) + idle_timeout, deadline) END;

COMMENT ON FUNCTION qsessions._slide(timestamptz, timestamptz, interval, timestamptz) IS
    'Internal: when a session expires that is used now';
