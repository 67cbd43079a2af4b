-- Every function here changes a live session that its key names, in one UPDATE, and never makes one: a save that
-- was under way during a logout must not bring the session back.
--
-- save_session is called most often. So it has qualified names in place of a SET, since switching the search_path and back
-- takes a fifth of the time of a save, and leaves it to the UPDATE to look at the data, since a statement of its own
-- for that costs some per cent.

CREATE FUNCTION qsessions.save_session(
    key text, data jsonb, expected_version bigint DEFAULT NULL, ttl interval DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql
AS $$
#variable_conflict use_variable
DECLARE
    new_version bigint;
BEGIN
    IF ttl IS NOT NULL THEN
        PERFORM qsessions.check_interval('ttl', ttl);
    END IF;
    UPDATE qsessions.session AS s SET
        data = data,
        version = s.version OPERATOR(pg_catalog.+) 1,
        updated_at = GREATEST(s.updated_at, pg_catalog.now()),
        last_seen_at = GREATEST(s.last_seen_at, pg_catalog.now()),
        expires_at = qsessions._slide(s.expires_at, s.last_seen_at, coalesce(ttl, s.idle_timeout), s.deadline)
    WHERE s.id OPERATOR(pg_catalog.=) qsessions.find_session_id(key)
      AND s.digest OPERATOR(pg_catalog.=) qsessions.key_digest(key)
      AND s.expires_at OPERATOR(pg_catalog.>) pg_catalog.now()
      AND CASE WHEN qsessions.data_fits(data)
               THEN expected_version IS NULL OR s.version OPERATOR(pg_catalog.=) expected_version END
    RETURNING s.version INTO new_version;
    IF new_version IS NULL THEN
        PERFORM qsessions.raise_not_saved(key, data, expected_version);
    END IF;
    RETURN new_version;
END
$$;

COMMENT ON FUNCTION qsessions.save_session(text, jsonb, bigint, interval) IS
    'Replaces the data of a live session and returns its new version; with ttl, the session expires that long from now. QS001: it is gone. QS002: it is at another version than expected';

CREATE FUNCTION qsessions.raise_not_saved(key text, data jsonb, expected_version bigint) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF data IS NULL THEN
        PERFORM qsessions.raise_null('data');
    END IF;
    IF NOT qsessions.data_fits(data) THEN
        PERFORM qsessions.raise_data_too_large(data);
    END IF;
    PERFORM qsessions.raise_not_found(key, expected_version);
END
$$;

COMMENT ON FUNCTION qsessions.raise_not_saved(text, jsonb, bigint) IS
    'Internal: raises why a save has changed nothing';

CREATE FUNCTION qsessions.patch_session(key text, changes jsonb DEFAULT '{}', remove text[] DEFAULT '{}')
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
        RAISE EXCEPTION 'changes: must be a JSON object, not %', jsonb_typeof(changes)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass the members to set, for example ''{"theme": "dark"}''.';
    END IF;
    UPDATE qsessions.session AS s SET
        data = (s.data || coalesce(changes, '{}')) - coalesce(remove, '{}'),
        version = s.version + 1,
        updated_at = greatest(s.updated_at, now()),
        last_seen_at = greatest(s.last_seen_at, now()),
        expires_at = qsessions._slide(s.expires_at, s.last_seen_at, s.idle_timeout, s.deadline)
    WHERE s.id = qsessions.find_session_id(key)
      AND s.digest = qsessions.key_digest(key)
      AND s.expires_at > now()
      AND jsonb_typeof(s.data) = 'object'
    RETURNING s.version, s.data INTO new_version, new_data;
    IF FOUND THEN
        IF NOT qsessions.data_fits(new_data) THEN
            PERFORM qsessions.raise_data_too_large(new_data);
        END IF;
        RETURN new_version;
    END IF;
    IF qsessions.session_exists(key) THEN
        RAISE EXCEPTION 'key: the data of this session is not a JSON object'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Only an object has members to set; replace the data with save_session.';
    END IF;
    PERFORM qsessions.raise_not_found(key);
END
$$;

COMMENT ON FUNCTION qsessions.patch_session(text, jsonb, text[]) IS
    'Sets, then removes top-level members of a live session''s data in one UPDATE, so that concurrent patches of different members all survive; returns the new version';

CREATE FUNCTION qsessions.set_expiry(
    key text, ttl interval DEFAULT NULL, idle_timeout interval DEFAULT NULL, max_age interval DEFAULT NULL)
RETURNS timestamptz
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    new_deadline timestamptz;
    new_expires_at timestamptz;
BEGIN
    IF ttl IS NULL AND idle_timeout IS NULL AND max_age IS NULL THEN
        RAISE EXCEPTION 'ttl, idle_timeout and max_age: one of them must be given'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass for example ttl => ''1 hour''.';
    END IF;
    SELECT e.deadline INTO new_deadline FROM qsessions.expiry(ttl, idle_timeout, max_age) AS e;
    -- This is an activity too: what slides from it must find it in last_seen_at.
    UPDATE qsessions.session AS s SET
        idle_timeout = CASE WHEN ttl IS NULL THEN coalesce(idle_timeout, s.idle_timeout) END,
        deadline = CASE WHEN max_age IS NULL THEN s.deadline ELSE new_deadline END,
        last_seen_at = greatest(s.last_seen_at, now()),
        expires_at = least(
            qsessions._slide(s.expires_at, s.last_seen_at, coalesce(ttl, idle_timeout), 'infinity'),
            CASE WHEN max_age IS NULL THEN s.deadline ELSE new_deadline END)
    WHERE s.id = qsessions.find_session_id(key)
      AND s.digest = qsessions.key_digest(key)
      AND s.expires_at > now()
    RETURNING s.expires_at INTO new_expires_at;
    IF NOT FOUND THEN
        PERFORM qsessions.raise_not_found(key);
    END IF;
    RETURN new_expires_at;
END
$$;

COMMENT ON FUNCTION qsessions.set_expiry(text, interval, interval, interval) IS
    'Makes the expiry of a live session fixed (ttl) or sliding (idle_timeout), and bounds it (max_age), all counted from now; returns expires_at';

CREATE FUNCTION qsessions.rotate_key(key text) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    new_key text := qsessions.generate_key_for(qsessions.session_id(key));
BEGIN
    UPDATE qsessions.session AS s SET digest = qsessions.key_digest(new_key)
    WHERE s.id = qsessions.find_session_id(key)
      AND s.digest = qsessions.key_digest(key)
      AND s.expires_at > now();
    IF NOT FOUND THEN
        PERFORM qsessions.raise_not_found(key);
    END IF;
    RETURN new_key;
END
$$;

COMMENT ON FUNCTION qsessions.rotate_key(text) IS
    'Gives a live session a new key and returns it; id, data, user and age stay. The old key is dead at commit';
