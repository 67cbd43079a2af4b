-- The functions that an application role may run. They run with its own rights, so it also gets those on the table, but
-- none to change what never changes (id, created_at), to empty the table at a stroke or to alter it.
CREATE FUNCTION qsessions.application_functions() RETURNS SETOF regprocedure
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
        SELECT p.oid::regprocedure FROM pg_proc AS p
        WHERE p.pronamespace = 'qsessions'::regnamespace AND p.proname IN (
            'create_session', 'load_session', 'resume_session', 'session_exists', 'save_session', 'patch_session',
            'set_expiry', 'login', 'rotate_key', 'logout', 'revoke_session', 'revoke_user_sessions',
            'load_for_cache', 'invalidate', 'invalidation_channel',
            'purge_expired', 'purge', 'purge_batch', '_delete_deletable',
            'user_sessions', 'list_sessions', 'get_session', 'stats',
            'location', 'location_info', 'country_code', 'asn',
            'expiry', 'check_interval', 'raise_not_found', 'raise_not_saved', 'raise_null', 'raise_data_too_large',
            'lock_user_logins', 'lock_user', '_lock_user_hash', '_check_user_kept',
            '_slide', '_host', '_network', '_id_time', 'address',
            'data_size', 'data_fits', 'max_data_bytes',
            'generate_key_for', 'find_session_id', 'key_digest',
            'default_ttl', 'touch_interval', 'user_agent_max_length');
END
$$;

COMMENT ON FUNCTION qsessions.application_functions() IS 'Internal: what grant_access lets a role run';

CREATE FUNCTION qsessions.check_access_change(role regrole) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    function_owner regrole;
BEGIN
    IF role IS NULL OR NOT EXISTS (SELECT FROM pg_roles WHERE oid = role) THEN
        RAISE EXCEPTION 'role: must name a role'
            USING ERRCODE = 'undefined_object', HINT = 'Create the role first, then pass its name.';
    END IF;
    IF to_regclass('qsessions.session') IS NULL THEN
        RAISE EXCEPTION 'table "qsessions.session" does not exist'
            USING ERRCODE = 'undefined_table', HINT = 'Call qsessions.create_session_table(users) first.';
    END IF;
    SELECT proowner::regrole INTO function_owner FROM pg_proc
    WHERE oid = 'qsessions.application_functions()'::regprocedure;
    IF NOT pg_has_role(function_owner, 'USAGE') THEN
        RAISE EXCEPTION 'permission denied to change who may use the functions of qsessions'
            USING ERRCODE = 'insufficient_privilege', HINT = format('Let %s call this, who owns the extension.', function_owner);
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions.check_access_change(regrole) IS
    'Internal: refuses where grant_access or revoke_access could do only a part of their work';

CREATE FUNCTION qsessions.grant_access(role regrole) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    function regprocedure;
BEGIN
    PERFORM qsessions.check_access_change(role);
    FOR function IN SELECT * FROM qsessions.application_functions() LOOP
        EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %s', function, role);
    END LOOP;
    EXECUTE format(
        'GRANT SELECT, INSERT, DELETE, UPDATE (digest, user_id, data, ip, user_agent, authenticated_at, updated_at,
             last_seen_at, expires_at, idle_timeout, deadline, version)
         ON qsessions.session TO %s', role);
END
$$;

COMMENT ON FUNCTION qsessions.grant_access(regrole) IS
    'Gives an application role what the life of sessions and their pages need, no more';

CREATE FUNCTION qsessions.revoke_access(role regrole) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    function regprocedure;
BEGIN
    PERFORM qsessions.check_access_change(role);
    IF role = (SELECT c.relowner FROM pg_class AS c WHERE c.oid = 'qsessions.session'::regclass) THEN
        RAISE EXCEPTION 'role: "%" owns the session table', role
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give the table to another owner first.';
    END IF;
    FOR function IN SELECT * FROM qsessions.application_functions() LOOP
        EXECUTE format('REVOKE EXECUTE ON ROUTINE %s FROM %s', function, role);
    END LOOP;
    EXECUTE format('REVOKE ALL ON qsessions.session FROM %s', role);
END
$$;

COMMENT ON FUNCTION qsessions.revoke_access(regrole) IS 'Takes back what grant_access gave';
