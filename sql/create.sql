-- Qualified names in place of a SET: switching the search_path and back takes a fifth of the time.
CREATE FUNCTION qsessions.create_session(
    user_id text DEFAULT NULL,
    data jsonb DEFAULT '{}',
    ip inet DEFAULT NULL,
    user_agent text DEFAULT NULL,
    ttl interval DEFAULT NULL,
    idle_timeout interval DEFAULT NULL,
    max_age interval DEFAULT NULL,
    key text DEFAULT NULL)
RETURNS qsessions.new_session
LANGUAGE plpgsql
AS $$
#variable_conflict use_variable
DECLARE
    new_key pg_catalog.text := coalesce(key, qsessions.generate_key());
    expires_at pg_catalog.timestamptz;
    deadline pg_catalog.timestamptz;
    created qsessions.new_session;
BEGIN
    IF key IS NOT NULL THEN
        -- A session that is dead but not purged yet must not stand in the way of its key.
        DELETE FROM qsessions.session AS s
        WHERE s.id OPERATOR(pg_catalog.=) qsessions.session_id(new_key)
          AND s.expires_at OPERATOR(pg_catalog.<=) pg_catalog.now();
    END IF;
    IF ttl IS NOT NULL OR idle_timeout IS NOT NULL OR max_age IS NOT NULL THEN
        SELECT e.expires_at, e.deadline INTO expires_at, deadline
        FROM qsessions.expiry(ttl, idle_timeout, max_age) AS e;
    END IF;

    -- The lock is taken before the row is there: revoke_user_sessions waits for it, and then finds the row.
    INSERT INTO qsessions.session AS s
        (id, digest, user_id, data, ip, user_agent, authenticated_at, expires_at, idle_timeout, deadline)
    SELECT
        qsessions.find_session_id(new_key),
        qsessions.key_digest(new_key),
        user_id::qsessions.user_key,
        coalesce(data, '{}'),
        qsessions._host(ip),
        pg_catalog.left(user_agent, qsessions.user_agent_max_length()),
        CASE WHEN user_id IS NOT NULL THEN pg_catalog.now() END,
        coalesce(expires_at, pg_catalog.now() OPERATOR(pg_catalog.+) qsessions.default_ttl()),
        idle_timeout,
        coalesce(deadline, 'infinity')
    WHERE qsessions.data_fits(coalesce(data, '{}'))
      AND (user_id IS NULL OR qsessions._lock_user_hash(
          'qsessions.session'::pg_catalog.regclass::pg_catalog.oid,
          pg_catalog.hash_record_extended(ROW(user_id::qsessions.user_key), 0), false))
    RETURNING new_key, s.id, s.expires_at INTO created;
    IF created.id IS NULL AND NOT qsessions.data_fits(data) THEN
        PERFORM qsessions.raise_data_too_large(data);
    END IF;
    IF pg_catalog.right(user_id, 1) OPERATOR(pg_catalog.=) ' ' THEN
        PERFORM qsessions._check_user_kept(created.id, user_id);
    END IF;
    RETURN created;
END
$$;

COMMENT ON FUNCTION qsessions.create_session(text, jsonb, inet, text, interval, interval, interval, text) IS
    'Begins a session and returns its key. ttl = fixed expiry (by default qsessions.default_ttl), idle_timeout = sliding expiry, max_age = bound on either';

CREATE FUNCTION qsessions.create_session(
    user_id anynonarray,
    data jsonb DEFAULT '{}',
    ip inet DEFAULT NULL,
    user_agent text DEFAULT NULL,
    ttl interval DEFAULT NULL,
    idle_timeout interval DEFAULT NULL,
    max_age interval DEFAULT NULL,
    key text DEFAULT NULL)
RETURNS qsessions.new_session
LANGUAGE plpgsql
AS $$
BEGIN
    RETURN qsessions.create_session(user_id::pg_catalog.text, data, ip, user_agent, ttl, idle_timeout, max_age, key);
END
$$;

COMMENT ON FUNCTION qsessions.create_session(anynonarray, jsonb, inet, text, interval, interval, interval, text) IS
    'The same for a user_id of type bigint, integer, uuid and others';
