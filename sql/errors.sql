-- Errors that several functions raise. SQLSTATEs that begin with QS are raised in SQL, because pgrx
-- reports only codes that PostgreSQL itself defines.

CREATE OR REPLACE FUNCTION qsessions._raise_null(argument text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'argument "%" must not be null', argument USING ERRCODE = 'null_value_not_allowed';
END
$$;

COMMENT ON FUNCTION qsessions._raise_null(text) IS 'Internal: raises 22004 for an argument that is null';

CREATE OR REPLACE FUNCTION qsessions._raise_data_too_large(data jsonb) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'argument "data" must not be larger than % bytes, but has % bytes',
            qsessions._max_data_bytes(), qsessions._data_size(data)
        USING ERRCODE = 'QS004', HINT = 'Keep large values in a table of your own, or raise qsessions.max_data_bytes.';
END
$$;

COMMENT ON FUNCTION qsessions._raise_data_too_large(jsonb) IS 'Internal: raises QS004 (data_too_large)';

-- Finds out why an UPDATE of a session by its key has found no row. It is called only then, so that
-- a successful UPDATE pays nothing for it.
CREATE OR REPLACE FUNCTION qsessions._raise_not_found(key text, expected_version bigint) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    current_version bigint;
BEGIN
    IF key IS NULL THEN
        RAISE EXCEPTION 'argument "key" must not be null'
            USING ERRCODE = 'QS003', HINT = 'Pass the key from the cookie, or create a session first.';
    END IF;
    PERFORM qsessions.session_id(key);
    SELECT s.version INTO current_version FROM qsessions.session AS s
    WHERE qsessions._key_opens(key, s.id, s.digest, s.former_digest, s.former_digest_until, s.expires_at);
    IF current_version <> expected_version THEN
        PERFORM qsessions._count('conflicts');
        RAISE EXCEPTION 'argument "expected_version" is %, but the session has version %', expected_version, current_version
            USING ERRCODE = 'QS002', HINT = 'Load the session again, repeat the change, and save it with the new version.';
    END IF;
    PERFORM qsessions._count_load_of_nothing(key);
    RAISE EXCEPTION 'argument "key" does not belong to a live session'
        USING ERRCODE = 'QS001', HINT = 'The session has ended or expired, or its key was rotated. Create a new session.';
END
$$;

COMMENT ON FUNCTION qsessions._raise_not_found(text, bigint) IS
    'Internal: raises QS001 (session_not_found), QS002 (version_conflict) or QS003 (invalid_key)';

CREATE OR REPLACE FUNCTION qsessions._raise_not_saved(key text, data jsonb, expected_version bigint) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF data IS NULL THEN
        PERFORM qsessions._raise_null('data');
    END IF;
    IF NOT qsessions._data_fits(data) THEN
        PERFORM qsessions._raise_data_too_large(data);
    END IF;
    PERFORM qsessions._raise_not_found(key, expected_version);
END
$$;

COMMENT ON FUNCTION qsessions._raise_not_saved(text, jsonb, bigint) IS
    'Internal: raises the reason why save_session has saved nothing';

CREATE OR REPLACE FUNCTION qsessions._check_batch_size(batch_size integer) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF batch_size IS NULL OR batch_size < 1 THEN
        RAISE EXCEPTION 'argument "batch_size" must be at least 1, but is %', coalesce(batch_size::text, 'null')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out for batches of 10000.';
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions._check_batch_size(integer) IS 'Internal: raises 22023 for a batch size below 1';
