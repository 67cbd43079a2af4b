-- Login, rotation of keys, and logout.
--
-- Whatever creates a session of a user takes a shared lock of the user, and whatever counts or ends
-- all sessions of a user takes it exclusively. The lock comes before any lock of a row, or two
-- transactions could wait for each other. Its hash is that of the value as the column has it, not
-- of its text: 1.0 and 1.00 are one user. Each function takes the lock by itself, since a call of a
-- function in PL/pgSQL costs more than the lock. extension/src/locks.rs says which roles may take
-- it.

CREATE OR REPLACE FUNCTION qsessions.login(
    key text, user_id anycompatiblenonarray, ip inet DEFAULT NULL, user_agent text DEFAULT NULL,
    data jsonb DEFAULT NULL, max_sessions integer DEFAULT NULL, ttl interval DEFAULT NULL,
    idle_timeout interval DEFAULT NULL, max_age interval DEFAULT NULL, client_hints jsonb DEFAULT NULL)
RETURNS qsessions.new_login
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    user_text text := user_id;
    is_locked boolean;
    is_begun boolean;
    previous_id uuid;
    is_kept boolean;
    was_theirs boolean;
    former_ip inet;
    former_agent text;
    former_hints jsonb;
    seen_agent text;
    seen_hints jsonb;
    created qsessions.new_session;
    result qsessions.new_login;
BEGIN
    -- PL/pgSQL prepares each expression again in each transaction, so one IF is for all that is
    -- rare.
    IF user_text IS NULL OR max_sessions IS NOT NULL OR NOT qsessions._data_fits(data) THEN
        IF user_text IS NULL THEN
            PERFORM qsessions._raise_null('user_id');
        END IF;
        IF NOT qsessions._data_fits(data) THEN
            PERFORM qsessions._raise_data_too_large(data);
        END IF;
        IF max_sessions IS NOT NULL THEN
            PERFORM qsessions._check_max_sessions(max_sessions);
        END IF;
    END IF;
    -- Logins that count the sessions of one user go one at a time: the statements after this one
    -- see what the login before has committed. The login itself is counted here too, and the reason
    -- begins, since each expression of its own takes time; if the login fails, both are dropped. With
    -- this reason, create_session does not record a login: it is recorded below.
    is_locked := qsessions._lock_user_hash(
        'qsessions.session'::regclass, hash_record_extended(ROW(user_text::qsessions.user_key), 0),
        max_sessions IS NOT NULL) AND qsessions._begin_event_reason('login') AND qsessions._count('logins');

    -- PostgreSQL would plan these statements anew for each null.
    IF key IS NOT NULL THEN
        SELECT s.id, s.user_id IS NULL OR s.user_id = user_text::qsessions.user_key,
               s.user_id IS NOT NULL, s.ip, s.user_agent, s.client_hints
        INTO previous_id, is_kept, was_theirs, former_ip, former_agent, former_hints
        FROM qsessions.session AS s
        WHERE qsessions._key_opens(key, s.id, s.digest, s.former_digest, s.former_digest_until, s.expires_at)
        FOR UPDATE;
        IF NOT is_kept THEN
            is_begun := qsessions._begin_event_reason('logout');
            DELETE FROM qsessions.session AS s WHERE s.id = previous_id;
            is_begun := qsessions._end_event_reason();
        END IF;
    END IF;

    IF is_kept THEN
        seen_agent := qsessions._kept_user_agent(user_agent);
        seen_hints := qsessions._kept_client_hints(client_hints);
        created.key := qsessions._generate_key_for(previous_id);
        UPDATE qsessions.session AS s SET
            digest = qsessions._key_digest(created.key),
            former_digest = NULL,
            former_digest_until = NULL,
            user_id = (user_text || '')::qsessions.user_key,
            data = coalesce(data, s.data),
            ip = coalesce(qsessions._host(ip), s.ip),
            user_agent = coalesce(seen_agent, s.user_agent),
            client_hints = qsessions._merged_client_hints(s.user_agent, s.client_hints, seen_agent, seen_hints),
            authenticated_at = greatest(s.authenticated_at, now()),
            updated_at = greatest(s.updated_at, now()),
            last_seen_at = greatest(s.last_seen_at, now()),
            purge_after = coalesce(s.purge_after, s.expires_at),
            expires_at = qsessions._slide(s.expires_at, s.last_seen_at, s.idle_timeout, s.deadline, now()),
            version = s.version + 1
        WHERE s.id = previous_id
        RETURNING s.id, s.expires_at INTO created.id, created.expires_at;
        IF right(user_text, 1) = ' ' THEN
            PERFORM qsessions._check_user_kept(created.id, user_text);
        END IF;
        IF ttl IS NOT NULL OR idle_timeout IS NOT NULL OR max_age IS NOT NULL THEN
            created.expires_at := qsessions.set_expiry(created.key, ttl, idle_timeout, max_age);
        END IF;
    ELSE
        created := qsessions.create_session(user_text, data, ip, user_agent, ttl, idle_timeout, max_age, NULL, client_hints);
    END IF;

    -- _end_event_reason always returns false.
    IF qsessions._end_event_reason() OR NOT qsessions._has_events() THEN
        result := ROW(created.key, created.id, created.expires_at, NULL, NULL);
    ELSIF is_kept THEN
        result := qsessions._record_login(
            created, user_text, coalesce(qsessions._host(ip), former_ip), coalesce(seen_agent, former_agent),
            qsessions._merged_client_hints(former_agent, former_hints, seen_agent, seen_hints),
            CASE WHEN was_theirs THEN former_ip END, CASE WHEN was_theirs THEN former_agent END,
            CASE WHEN was_theirs THEN former_hints END);
    ELSE
        result := qsessions._record_login(
            created, user_text, qsessions._host(ip), qsessions._kept_user_agent(user_agent),
            qsessions._kept_client_hints(client_hints));
    END IF;

    IF max_sessions IS NOT NULL THEN
        PERFORM qsessions._revoke_beyond(max_sessions, user_text, created.id);
    END IF;
    RETURN result;
END
$$;

COMMENT ON FUNCTION qsessions.login(text, anycompatiblenonarray, inet, text, jsonb, integer, interval, interval, interval, jsonb) IS
    'Makes a session that of a user, always with a new key. An anonymous session keeps its id, data and expiry; the session of another user ends and a new one begins, as with a key that is null or has no session. With max_sessions, the sessions of the user beyond that number that were unseen longest end. Where events are recorded, is_new_device and is_new_place say whether the user has used this device, and been at this place, before. ttl, idle_timeout, max_age and client_hints are those of create_session';

COMMENT ON FUNCTION qsessions._lock_user_hash(oid, bigint, boolean) IS
    'Internal: locks a user until the transaction ends, for a role that may write to the session table';

-- The caller has locked the user exclusively, so that this sees the sessions of all logins before.
CREATE OR REPLACE FUNCTION qsessions._revoke_beyond(max_sessions integer, user_text text, kept uuid) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    is_begun boolean := qsessions._begin_event_reason('limit');
    is_counted boolean;
    ended bigint;
BEGIN
    DELETE FROM qsessions.session AS s
    WHERE s.id IN (
        SELECT o.id FROM qsessions.session AS o
        WHERE o.user_id = user_text::qsessions.user_key AND o.id <> kept AND o.expires_at > now()
        ORDER BY o.last_seen_at DESC, o.id DESC
        OFFSET max_sessions - 1);
    GET DIAGNOSTICS ended = ROW_COUNT;
    is_begun := qsessions._end_event_reason();
    is_counted := qsessions._count('revoked', ended);
END
$$;

COMMENT ON FUNCTION qsessions._revoke_beyond(integer, text, uuid) IS
    'Internal: ends the sessions of a user beyond a number, those that were unseen longest, but not the one that is kept';

CREATE OR REPLACE FUNCTION qsessions._check_max_sessions(max_sessions integer) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF max_sessions < 1 THEN
        RAISE EXCEPTION 'argument "max_sessions" must be at least 1, but is %', max_sessions
            USING ERRCODE = 'invalid_parameter_value', HINT = 'The session that logs in counts too. Leave max_sessions out for no limit.';
    END IF;
    IF current_setting('transaction_isolation') = 'repeatable read' THEN
        RAISE EXCEPTION 'argument "max_sessions" cannot be used in a REPEATABLE READ transaction'
            USING ERRCODE = 'feature_not_supported',
                  DETAIL = 'The snapshot of such a transaction does not show sessions that have begun since.',
                  HINT = 'Log in in a READ COMMITTED transaction (the default) or a SERIALIZABLE one.';
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions._check_max_sessions(integer) IS
    'Internal: raises an error where a limit of sessions cannot be kept exactly';

-- Only the present key can be rotated. A former key that could make a new one would live for ever,
-- and of two requests that rotate one key at the same time, the second would end the key that the
-- first has put into the cookie.
CREATE OR REPLACE FUNCTION qsessions.rotate_key(key text, grace interval DEFAULT NULL) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    new_key text := qsessions._generate_key_for(qsessions.session_id(key));
BEGIN
    IF grace IS NOT NULL THEN
        PERFORM qsessions._check_grace(grace);
    END IF;
    UPDATE qsessions.session AS s SET
        digest = qsessions._key_digest(new_key),
        former_digest = CASE WHEN grace IS NOT NULL THEN s.digest END,
        former_digest_until = qsessions._plus(now(), grace)
    WHERE s.id = qsessions._find_session_id(key) AND s.digest = qsessions._key_digest(key) AND s.expires_at > now();
    IF NOT FOUND THEN
        IF qsessions.session_exists(key) THEN
            RAISE EXCEPTION 'argument "key" was rotated already'
                USING ERRCODE = 'QS001', DETAIL = 'It opens the session until its grace is over, but cannot be rotated again.',
                      HINT = 'Go on without a new key: the request that has rotated the key sets the cookie.';
        END IF;
        PERFORM qsessions._raise_not_found(key, NULL);
    END IF;
    IF qsessions._has_events() THEN
        PERFORM qsessions._record_rotation(qsessions._find_session_id(key));
    END IF;
    RETURN new_key;
END
$$;

COMMENT ON FUNCTION qsessions.rotate_key(text, interval) IS
    'Gives a live session a new key and returns it; id, data, user and expiry stay. The old key stops working at commit, or with grace (at most a minute) that much later: logout, revocation and login end it at once';

CREATE OR REPLACE FUNCTION qsessions._check_grace(grace interval) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- An interval with months and days can be shorter or longer by the calendar than in a
    -- comparison, so the sum is compared too.
    IF grace <= interval '0' OR grace > interval '1 minute'
       OR qsessions._plus(now(), grace) <= now() OR qsessions._plus(now(), grace) > now() + interval '1 minute' THEN
        RAISE EXCEPTION 'argument "grace" must be longer than zero and not longer than a minute, but is %', grace
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Pass the time that requests under way may take, for example ''10 seconds'', or leave it out.';
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions._check_grace(interval) IS
    'Internal: raises 22023 for an interval that cannot be the grace of a rotated key';

CREATE OR REPLACE FUNCTION qsessions.logout(key text) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    expiry timestamptz;
    is_begun boolean := qsessions._begin_event_reason('logout');
BEGIN
    -- Also a row that has expired but was not purged yet; only a live session counts as ended.
    DELETE FROM qsessions.session AS s
    WHERE s.id = qsessions._find_session_id(key)
      AND (s.digest = qsessions._key_digest(key)
           OR s.former_digest = qsessions._key_digest(key) AND s.former_digest_until > now())
    RETURNING s.expires_at INTO expiry;
    is_begun := qsessions._end_event_reason();
    IF expiry > now() THEN
        PERFORM qsessions._count('logouts');
        RETURN true;
    END IF;
    RETURN false;
END
$$;

COMMENT ON FUNCTION qsessions.logout(text) IS
    'Ends the session of a key. Returns false, and raises no error, if there was none';
