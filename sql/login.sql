CREATE FUNCTION qsessions.login(
    key text, user_id text, ip inet DEFAULT NULL, user_agent text DEFAULT NULL, data jsonb DEFAULT NULL,
    max_sessions integer DEFAULT NULL, ttl interval DEFAULT NULL, idle_timeout interval DEFAULT NULL,
    max_age interval DEFAULT NULL)
RETURNS qsessions.new_session
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    previous record;
    new_key text;
    created qsessions.new_session;
BEGIN
    IF user_id IS NULL THEN
        PERFORM qsessions.raise_null('user_id');
    END IF;
    IF NOT qsessions.data_fits(data) THEN
        PERFORM qsessions.raise_data_too_large(data);
    END IF;
    -- Before any row: revoke_user_sessions locks the user first as well, and then his rows.
    IF max_sessions IS NULL THEN
        PERFORM qsessions.lock_user(user_id, is_exclusive => false);
    ELSE
        PERFORM qsessions.lock_user_logins(user_id, max_sessions);
    END IF;

    SELECT s.id, s.user_id IS NULL OR s.user_id = user_id::qsessions.user_key AS keeps INTO previous
    FROM qsessions.session AS s
    WHERE s.id = qsessions.find_session_id(key)
      AND s.digest = qsessions.key_digest(key)
      AND s.expires_at > now()
    FOR UPDATE;

    IF previous.keeps THEN
        new_key := qsessions.generate_key_for(previous.id);
        UPDATE qsessions.session AS s SET
            digest = qsessions.key_digest(new_key),
            user_id = user_id::qsessions.user_key,
            data = coalesce(data, s.data),
            ip = coalesce(qsessions._host(ip), s.ip),
            user_agent = coalesce(left(user_agent, qsessions.user_agent_max_length()), s.user_agent),
            authenticated_at = greatest(s.authenticated_at, now()),
            updated_at = greatest(s.updated_at, now()),
            last_seen_at = greatest(s.last_seen_at, now()),
            expires_at = qsessions._slide(s.expires_at, s.last_seen_at, s.idle_timeout, s.deadline),
            version = s.version + 1
        WHERE s.id = previous.id
        RETURNING new_key, s.id, s.expires_at INTO created;
        IF right(user_id, 1) = ' ' THEN
            PERFORM qsessions._check_user_kept(created.id, user_id);
        END IF;
        IF ttl IS NOT NULL OR idle_timeout IS NOT NULL OR max_age IS NOT NULL THEN
            SELECT new_key, created.id, qsessions.set_expiry(new_key, ttl, idle_timeout, max_age) INTO created;
        END IF;
    ELSE
        DELETE FROM qsessions.session AS s WHERE s.id = previous.id;
        created := qsessions.create_session(
            user_id, data, ip, user_agent, ttl, idle_timeout, max_age);
    END IF;

    IF max_sessions IS NOT NULL THEN
        DELETE FROM qsessions.session AS s
        WHERE s.id IN (
            SELECT o.id FROM qsessions.session AS o
            WHERE o.user_id = user_id::qsessions.user_key AND o.id <> created.id AND o.expires_at > now()
            ORDER BY o.last_seen_at DESC, o.id DESC
            OFFSET max_sessions - 1);
    END IF;
    RETURN created;
END
$$;

COMMENT ON FUNCTION qsessions.login(text, text, inet, text, jsonb, integer, interval, interval, interval) IS
    'Makes a session the user''s, always under a new key. An anonymous session keeps id and data, another user''s is ended and a new one begun; beyond max_sessions the user''s longest-unseen ones are revoked. ttl, idle_timeout and max_age as in create_session; without them a session that goes on keeps its expiry';

CREATE FUNCTION qsessions.login(
    key text, user_id anynonarray, ip inet DEFAULT NULL, user_agent text DEFAULT NULL, data jsonb DEFAULT NULL,
    max_sessions integer DEFAULT NULL, ttl interval DEFAULT NULL, idle_timeout interval DEFAULT NULL,
    max_age interval DEFAULT NULL)
RETURNS qsessions.new_session
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN qsessions.login(key, user_id::text, ip, user_agent, data, max_sessions, ttl, idle_timeout, max_age);
END
$$;

COMMENT ON FUNCTION qsessions.login(text, anynonarray, inet, text, jsonb, integer, interval, interval, interval) IS
    'The same for a user_id of type bigint, integer, uuid and others';

-- Logins of one user that count the user's sessions go one at a time; the statements after this one then see
-- what the login before has committed. It comes before any row lock, or two logins could wait for each other.
CREATE FUNCTION qsessions.lock_user_logins(user_id text, max_sessions integer) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    IF max_sessions < 1 THEN
        RAISE EXCEPTION 'max_sessions: must be at least 1, is %', max_sessions
            USING ERRCODE = 'invalid_parameter_value', HINT = 'The session that logs in counts; leave it out for no limit.';
    END IF;
    IF current_setting('transaction_isolation') = 'repeatable read' THEN
        RAISE EXCEPTION 'max_sessions: can''t be exact in a REPEATABLE READ transaction'
            USING ERRCODE = 'feature_not_supported',
                  DETAIL = 'Its snapshot doesn''t show sessions that began meanwhile.',
                  HINT = 'Log in in a READ COMMITTED transaction (the default) or a SERIALIZABLE one.';
    END IF;
    PERFORM qsessions.lock_user(user_id, is_exclusive => true);
END
$$;

COMMENT ON FUNCTION qsessions.lock_user_logins(text, integer) IS
    'Internal: makes logins with max_sessions of one user wait for each other';

-- What counts or ends all sessions of a user takes this exclusively, and what begins one takes it shared.
-- It comes before any row lock, or two transactions could wait for each other.
CREATE FUNCTION qsessions.lock_user(user_id text, is_exclusive boolean) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    hash bigint;
BEGIN
    -- The hash of the value, not of its text: 1.0 and 1.00 are one user. The join, which finds nothing, makes the kept
    -- plan depend on the table, so that a change of the type of user_id reaches it.
    SELECT hash_record_extended(ROW(user_id::qsessions.user_key), 0) INTO hash
    FROM (VALUES (0)) AS one (row) LEFT JOIN qsessions.session AS s ON false;
    PERFORM qsessions._lock_user_hash('qsessions.session'::regclass::oid, hash, is_exclusive);
END
$$;

COMMENT ON FUNCTION qsessions.lock_user(text, boolean) IS
    'Internal: makes what ends all sessions of a user wait for what begins one';
