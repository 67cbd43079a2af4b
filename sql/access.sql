-- Who may do what. This chapter comes last, when every function is there.
--
-- Functions run with the rights of the role that calls them, so privileges on the table decide:
-- what a function does to the table, its caller could do without it. EXECUTE guards only what goes
-- beyond the table. PUBLIC keeps EXECUTE on all other functions, and a role without privileges on
-- the table gets 42501 from each that is not pure. So there is nothing to grant again after an
-- upgrade, dumps do not depend on which functions a version has, and a function that is forgotten
-- here is not a way around the table.
--
-- Of the functions that PUBLIC may run, some do more than read or write the table as the caller.
-- _lock_user_hash and _admit_session ask for a privilege to write to the table itself, and _count
-- for any privilege on it. request_heartbeat asks for EXECUTE on invalidate, and request_heartbeats and
-- _heartbeat_of_server call one of the two before they ask other servers. authenticate and
-- _begin_event_reason leave something in the memory of the caller's own backend until the
-- transaction ends. _sync_user_key_type, the one function that is SECURITY DEFINER, has no argument
-- and changes nothing while the table is as create_session_table and link_users leave it.
DO $$
DECLARE
    guarded CONSTANT pg_catalog.regprocedure[] := ARRAY[
        -- read files, and keep parts of them in memory
        'qsessions.location(inet, text)', 'qsessions.location_info(inet, text)', 'qsessions.country_code(inet)',
        'qsessions.asn(inet)',
        -- show the state of the server
        'qsessions.geoip_databases()', 'qsessions.geoip_reload()', 'qsessions.invalidation_status()',
        'qsessions.metrics()',
        -- write to shared memory, and can start a background worker
        'qsessions.invalidate(uuid)', 'qsessions._announce()',
        -- start a background worker, and change jobs in another database
        'qsessions.schedule_purge(text, integer)', 'qsessions.unschedule_purge()',
        'qsessions._schedule_purge(text, integer, text)', 'qsessions._unschedule_purge()'];
    function pg_catalog.record;
    monitor CONSTANT pg_catalog.regrole := 'pg_monitor';
BEGIN
    -- Where a function is as it should be, nothing is granted or revoked. In an upgrade, PostgreSQL
    -- would take the grants that users have made by then for a part of the extension, and pg_dump
    -- would leave them out.
    FOR function IN
        SELECT p.oid::pg_catalog.regprocedure AS signature,
               pg_catalog.has_function_privilege('public', p.oid, 'EXECUTE') AS is_public,
               EXISTS (SELECT FROM pg_catalog.aclexplode(p.proacl) AS a
                       WHERE a.grantee OPERATOR(pg_catalog.<>) p.proowner) AS has_grants,
               EXISTS (SELECT FROM pg_catalog.pg_init_privs AS i, pg_catalog.aclexplode(i.initprivs) AS a
                       WHERE i.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
                         AND i.objoid OPERATOR(pg_catalog.=) p.oid AND a.grantee OPERATOR(pg_catalog.=) monitor)
                   AS was_granted_to_monitor
        FROM pg_catalog.pg_proc AS p
        JOIN pg_catalog.pg_depend AS d ON d.objid OPERATOR(pg_catalog.=) p.oid
        JOIN pg_catalog.pg_extension AS e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
        WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
          AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
          AND d.deptype OPERATOR(pg_catalog.=) 'e' AND e.extname OPERATOR(pg_catalog.=) 'qsessions'
    LOOP
        IF function.signature OPERATOR(pg_catalog.=) ANY (guarded) THEN
            IF function.is_public THEN
                EXECUTE pg_catalog.format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', function.signature);
            END IF;
            IF function.signature OPERATOR(pg_catalog.=) ANY (qsessions._monitoring_functions())
               AND NOT function.was_granted_to_monitor
            THEN
                IF function.has_grants AND NOT function.is_public THEN
                    RAISE WARNING 'function % was not granted to pg_monitor, because other roles have it', function.signature
                        USING HINT = 'After the update, call qsessions.grant_monitoring(''pg_monitor'').';
                ELSE
                    EXECUTE pg_catalog.format('GRANT EXECUTE ON ROUTINE %s TO %s', function.signature, monitor);
                END IF;
            END IF;
        ELSIF NOT function.is_public AND NOT function.has_grants THEN
            -- A new function where ALTER DEFAULT PRIVILEGES keeps PUBLIC from new functions.
            EXECUTE pg_catalog.format('GRANT EXECUTE ON ROUTINE %s TO PUBLIC', function.signature);
        END IF;
    END LOOP;
END
$$;

-- No role needs a privilege on the internal tables: they are read and written without SQL. ALTER
-- DEFAULT PRIVILEGES may have granted some when the tables were created. A role that has them could
-- have caches keep what has changed.
DO $$
DECLARE
    granted pg_catalog.record;
BEGIN
    FOR granted IN
        SELECT DISTINCT c.oid::pg_catalog.regclass AS name,
               CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'PUBLIC'
                    ELSE a.grantee::pg_catalog.regrole::pg_catalog.text END AS role
        FROM pg_catalog.pg_class AS c, pg_catalog.aclexplode(c.relacl) AS a
        WHERE c.oid OPERATOR(pg_catalog.=) ANY (ARRAY['qsessions.invalidation_state'::pg_catalog.regclass,
                                                      'qsessions.invalidation_prepared'::pg_catalog.regclass])
          AND a.grantee OPERATOR(pg_catalog.<>) c.relowner
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON TABLE %s FROM %s CASCADE', granted.name, granted.role);
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION qsessions._check_access_change(role regrole) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    extension_owner regrole;
BEGIN
    SELECT e.extowner::regrole INTO extension_owner FROM pg_extension AS e WHERE e.extname = 'qsessions';
    IF NOT pg_has_role(extension_owner, 'USAGE') THEN
        RAISE EXCEPTION 'permission denied to change access to qsessions'
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('Have role %s call the function, which owns the extension.', extension_owner);
    END IF;
    IF role IS NULL OR NOT EXISTS (SELECT FROM pg_roles WHERE oid = role) THEN
        RAISE EXCEPTION 'argument "role" must name a role'
            USING ERRCODE = 'undefined_object', HINT = 'Create the role first, then pass its name.';
    END IF;
    IF to_regclass('qsessions.session') IS NULL THEN
        RAISE EXCEPTION 'table "qsessions.session" does not exist'
            USING ERRCODE = 'undefined_table', HINT = 'Call qsessions.create_session_table(users) first.';
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions._check_access_change(regrole) IS
    'Internal: raises an error if grant_access or revoke_access could not do all of its work';

CREATE OR REPLACE FUNCTION qsessions._application_functions() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 'qsessions.location, qsessions.location_info, qsessions.country_code, qsessions.asn, qsessions.invalidate';

COMMENT ON FUNCTION qsessions._application_functions() IS
    'Internal: the functions that an application needs and PUBLIC may not execute';

-- A role gets no right to change what never changes (id, created_at), to truncate the table or to
-- alter it.
CREATE OR REPLACE FUNCTION qsessions.grant_access(role regrole) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM qsessions._check_access_change(role);
    PERFORM qsessions._repeat_on_workers(format('qsessions.grant_access(%L)', role::text));
    EXECUTE format(
        'GRANT SELECT, INSERT, DELETE, UPDATE (digest, user_id, data, ip, user_agent, authenticated_at, updated_at,
             last_seen_at, expires_at, idle_timeout, deadline, version, client_hints, former_digest, former_digest_until,
             purge_after)
         ON qsessions.session TO %s', role);
    IF to_regclass('qsessions.session_event') IS NOT NULL THEN
        PERFORM qsessions._grant_events(role::text);
    END IF;
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', qsessions._application_functions(), role);
END
$$;

COMMENT ON FUNCTION qsessions.grant_access(regrole) IS
    'Grants the role of an application the privileges that it needs to use, show and purge sessions, and to record their events, and no others';

CREATE OR REPLACE FUNCTION qsessions.revoke_access(role regrole) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM qsessions._check_access_change(role);
    IF role = (SELECT c.relowner FROM pg_class AS c WHERE c.oid = 'qsessions.session'::regclass) THEN
        RAISE EXCEPTION 'argument "role": role % owns the session table', role
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give the table to another owner first.';
    END IF;
    PERFORM qsessions._repeat_on_workers(format('qsessions.revoke_access(%L)', role::text));
    EXECUTE format('REVOKE ALL ON qsessions.session FROM %s', role);
    IF to_regclass('qsessions.session_event') IS NOT NULL THEN
        EXECUTE format('REVOKE ALL ON qsessions.session_event, qsessions.session_event_known FROM %s', role);
    END IF;
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM %s', qsessions._application_functions(), role);
END
$$;

COMMENT ON FUNCTION qsessions.revoke_access(regrole) IS
    'Revokes what grant_access has granted, and any other privilege of the role on the session table and the event table';
