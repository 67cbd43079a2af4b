-- This function runs for every new visitor. So it qualifies names and operators instead of having a
-- SET clause, which takes a fifth of its time. PL/pgSQL prepares each of its expressions again in
-- each transaction, so this has as few as possible: the first IF also counts and locks, and is for all
-- rare arguments, and the other is for all that is seldom left to do.
CREATE OR REPLACE FUNCTION qsessions.create_session(
    user_id anycompatiblenonarray DEFAULT NULL::pg_catalog.text,
    data jsonb DEFAULT '{}',
    ip inet DEFAULT NULL,
    user_agent text DEFAULT NULL,
    ttl interval DEFAULT NULL,
    idle_timeout interval DEFAULT NULL,
    max_age interval DEFAULT NULL,
    key text DEFAULT NULL,
    client_hints jsonb DEFAULT NULL,
    max_sessions integer DEFAULT NULL)
RETURNS qsessions.new_session
LANGUAGE plpgsql
AS $$
#variable_conflict use_variable
DECLARE
    expires_at pg_catalog.timestamptz;
    deadline pg_catalog.timestamptz;
    is_begun pg_catalog.bool;
    created qsessions.new_session;
BEGIN
    created.key := coalesce(key, qsessions.generate_key());
    -- The lock of the user comes before any row: revoke_user_sessions waits for the lock, and then
    -- finds the row. With max_sessions, the calls for one user go one at a time.
    IF NOT qsessions._admit_session(
           coalesce(data, '{}'), 'qsessions.session'::pg_catalog.regclass::pg_catalog.oid,
           user_id::pg_catalog.text::qsessions.user_key, max_sessions IS NOT NULL)
       OR key IS NOT NULL OR ttl IS NOT NULL OR idle_timeout IS NOT NULL OR max_age IS NOT NULL OR max_sessions IS NOT NULL
    THEN
        IF key IS NOT NULL THEN
            -- A session that has expired but was not purged yet must not keep a new one from
            -- getting its key.
            is_begun := qsessions._begin_event_reason('expired');
            DELETE FROM qsessions.session AS s
            WHERE s.id OPERATOR(pg_catalog.=) qsessions.session_id(created.key)
              AND s.expires_at OPERATOR(pg_catalog.<=) pg_catalog.now();
            is_begun := qsessions._end_event_reason();
        END IF;
        IF max_sessions IS NOT NULL THEN
            PERFORM qsessions._check_max_sessions(max_sessions);
        END IF;
        SELECT e.expires_at, e.deadline INTO expires_at, deadline
        FROM qsessions._expiry(ttl, idle_timeout, max_age) AS e;
        IF NOT qsessions._data_fits(data) THEN
            PERFORM qsessions._raise_data_too_large(data);
        END IF;
    END IF;

    INSERT INTO qsessions.session AS s
        (id, digest, user_id, data, ip, user_agent, authenticated_at, expires_at, idle_timeout, deadline,
         client_hints)
    VALUES (
        qsessions._find_session_id(created.key),
        qsessions._key_digest(created.key),
        (user_id::pg_catalog.text OPERATOR(pg_catalog.||) '')::qsessions.user_key,
        coalesce(data, '{}'),
        qsessions._host(ip),
        qsessions._kept_user_agent(user_agent),
        qsessions._now_if(user_id IS NOT NULL),
        qsessions._expiry_or_default(expires_at),
        idle_timeout,
        coalesce(deadline, 'infinity'),
        qsessions._kept_client_hints(client_hints))
    RETURNING s.id, s.expires_at INTO created.id, created.expires_at;
    IF max_sessions IS NOT NULL OR qsessions._needs_more(data, user_id::pg_catalog.text) THEN
        -- LIKE would refuse the collation of the caller's user_id, if it is nondeterministic.
        IF pg_catalog.right(user_id::pg_catalog.text, 1) OPERATOR(pg_catalog.=) ' ' THEN
            PERFORM qsessions._check_user_kept(created.id, user_id::pg_catalog.text);
        END IF;
        -- A login records itself.
        IF user_id IS NOT NULL AND qsessions._records_logins() THEN
            PERFORM qsessions._record_login(
                created, user_id::pg_catalog.text, qsessions._host(ip), qsessions._kept_user_agent(user_agent),
                qsessions._kept_client_hints(client_hints));
        END IF;
        IF max_sessions IS NOT NULL AND user_id IS NOT NULL THEN
            PERFORM qsessions._revoke_beyond(max_sessions, user_id::pg_catalog.text, created.id);
        END IF;
    END IF;
    RETURN created;
END
$$;

COMMENT ON FUNCTION qsessions.create_session(anycompatiblenonarray, jsonb, inet, text, interval, interval, interval, text, jsonb, integer) IS
    'Creates a session and returns its key. ttl is a fixed expiry, by default qsessions.default_ttl; idle_timeout is an expiry that slides with activity; max_age bounds either. user_id may be text, bigint, integer or uuid. client_hints are the headers Sec-CH-UA-* that the browser has sent, by name. With max_sessions, the sessions of the user beyond that number that were unseen longest end';

COMMENT ON FUNCTION qsessions._admit_session(jsonb, oid, anyelement, boolean) IS
    'Internal: counts a session that is about to be created, and locks its user, or returns false if its data is too large';
COMMENT ON FUNCTION qsessions._needs_more(jsonb, text) IS
    'Internal: whether create_session has more to do than to insert the session';

-- A column of type varchar(n) drops trailing blanks for which it has no room, as the SQL standard
-- says. The session would then belong to another user.
CREATE OR REPLACE FUNCTION qsessions._check_user_kept(id uuid, user_id text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    PERFORM FROM qsessions.session AS s WHERE s.id = id AND s.user_id <> user_id::qsessions.user_key;
    IF FOUND THEN
        RAISE EXCEPTION 'argument "user_id" is longer than the column that it refers to'
            USING ERRCODE = 'string_data_right_truncation', HINT = 'Pass the user_id as the users table has it.';
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions._check_user_kept(uuid, text) IS
    'Internal: raises 22001 if column user_id has dropped trailing blanks of a user id';
