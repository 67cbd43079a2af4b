-- Sessions of another store.

-- An import calls this function for each session. So it qualifies names and operators instead of
-- having a SET clause, as create_session does.
CREATE OR REPLACE FUNCTION qsessions.import_session(
    key text,
    user_id anycompatiblenonarray DEFAULT NULL::pg_catalog.text,
    data jsonb DEFAULT '{}',
    ip inet DEFAULT NULL,
    user_agent text DEFAULT NULL,
    created_at timestamptz DEFAULT NULL,
    authenticated_at timestamptz DEFAULT NULL,
    last_seen_at timestamptz DEFAULT NULL,
    expires_at timestamptz DEFAULT NULL,
    client_hints jsonb DEFAULT NULL)
RETURNS boolean
LANGUAGE plpgsql
AS $$
#variable_conflict use_variable
DECLARE
    user_text pg_catalog.text := user_id;
    imported_id pg_catalog.uuid;
    -- The other store may know some of the times only, and its clock may differ. So these are put
    -- in order: created_at <= authenticated_at <= last_seen_at <= now().
    login_at CONSTANT pg_catalog.timestamptz :=
        CASE WHEN user_text IS NOT NULL
             THEN LEAST(coalesce(authenticated_at, created_at, last_seen_at), pg_catalog.now()) END;
    begun_at CONSTANT pg_catalog.timestamptz :=
        LEAST(created_at, login_at, last_seen_at, pg_catalog.now());
    seen_at CONSTANT pg_catalog.timestamptz :=
        LEAST(GREATEST(last_seen_at, login_at, created_at, begun_at), pg_catalog.now());
BEGIN
    -- PL/pgSQL prepares each expression again in each transaction, so one IF is for all that is rare,
    -- and also locks the user.
    IF qsessions._find_session_id(key) IS NULL
       OR NOT qsessions._data_fits(data)
       OR expires_at OPERATOR(pg_catalog.<=) pg_catalog.now()
       OR NOT (user_text IS NULL OR qsessions._lock_user_hash(
           'qsessions.session'::pg_catalog.regclass::pg_catalog.oid,
           pg_catalog.hash_record_extended(ROW(user_text::qsessions.user_key), 0), false))
    THEN
        IF qsessions._find_session_id(key) IS NULL THEN
            PERFORM qsessions._raise_not_found(key, NULL);
        END IF;
        IF NOT qsessions._data_fits(data) THEN
            PERFORM qsessions._raise_data_too_large(data);
        END IF;
        RETURN false;
    END IF;

    INSERT INTO qsessions.session AS s
        (id, digest, user_id, data, ip, user_agent, created_at, authenticated_at, updated_at, last_seen_at, expires_at,
         client_hints)
    VALUES (
        qsessions._find_session_id(key),
        qsessions._key_digest(key),
        (user_text OPERATOR(pg_catalog.||) '')::qsessions.user_key,
        coalesce(data, '{}'),
        qsessions._host(ip),
        qsessions._kept_user_agent(user_agent),
        begun_at,
        login_at,
        seen_at,
        seen_at,
        qsessions._expiry_or_default(expires_at),
        qsessions._kept_client_hints(client_hints))
    ON CONFLICT (id) DO NOTHING
    RETURNING s.id INTO imported_id;
    IF pg_catalog.right(user_text, 1) OPERATOR(pg_catalog.=) ' ' THEN
        PERFORM qsessions._check_user_kept(imported_id, user_text);
    END IF;
    IF imported_id IS NOT NULL AND qsessions._has_events() THEN
        PERFORM qsessions._record_import(imported_id);
    END IF;
    RETURN imported_id IS NOT NULL;
END
$$;

COMMENT ON FUNCTION qsessions.import_session(text, anycompatiblenonarray, jsonb, inet, text, timestamptz, timestamptz, timestamptz, timestamptz, jsonb) IS
    'Brings a session of another store along under its key, with a fixed expiry, by default qsessions.default_ttl from now. Returns false, and changes nothing, if the key has a session already or expires_at has passed. Times in the future count as now';
