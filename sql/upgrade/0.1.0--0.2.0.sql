-- Upgrades 0.1.0 to 0.2.0. scripts/upgrade-scripts adds the definitions of 0.2.0.

-- Internal functions get an underscore. They are renamed, not dropped, because triggers of the
-- session table and objects of the user's own may depend on them.
DO $$
DECLARE
    internal pg_catalog.record;
BEGIN
    FOR internal IN
        SELECT p.proname, p.oid::pg_catalog.regprocedure AS signature
        FROM pg_catalog.pg_proc AS p
        JOIN pg_catalog.pg_depend AS d ON d.objid OPERATOR(pg_catalog.=) p.oid
        JOIN pg_catalog.pg_extension AS e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
        WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
          AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
          AND d.deptype OPERATOR(pg_catalog.=) 'e' AND e.extname OPERATOR(pg_catalog.=) 'qsessions'
          AND p.proname OPERATOR(pg_catalog.=) ANY ('{add_user_foreign_key, announce, check_access_change,
              check_interval, collation_clause, data_fits, data_size, default_ttl, expiry, find_session_id,
              generate_key_for, key_digest, max_data_bytes, raise_data_too_large, raise_not_saved, raise_null,
              touch_interval, user_agent_max_length, user_key_column}'::pg_catalog.name[])
    LOOP
        EXECUTE pg_catalog.format('ALTER FUNCTION %s RENAME TO %I', internal.signature, pg_catalog.concat('_', internal.proname));
    END LOOP;
END
$$;

-- These have other arguments or results now, or are gone.
DROP FUNCTION qsessions._delete_deletable(uuid[]);
DROP FUNCTION qsessions.application_functions();
DROP FUNCTION qsessions.invalidation_status();
DROP FUNCTION qsessions.load_for_cache(text);
DROP FUNCTION qsessions.lock_user(text, boolean);
DROP FUNCTION qsessions.lock_user_logins(text, integer);
DROP FUNCTION qsessions.purge_batch(integer, timestamptz, uuid);
DROP FUNCTION qsessions.raise_not_found(text, bigint);
DROP FUNCTION qsessions.resume_session(text, inet, text);
DROP FUNCTION qsessions.rotate_key(text);
DROP FUNCTION qsessions.save_session(text, jsonb, bigint, interval);
DROP FUNCTION qsessions.stats();

-- Row types. The definitions that follow have them as they are here, and leave them out.
ALTER TYPE qsessions.cacheable_session ADD ATTRIBUTE client_hints jsonb, ADD ATTRIBUTE is_former_key boolean;

CREATE TYPE qsessions.new_login AS (
    key           text,
    id            uuid,
    expires_at    timestamptz,
    is_new_device boolean,
    is_new_place  boolean
);

CREATE TYPE qsessions.event_info AS (
    at            timestamptz,
    event         text,
    revoked_by    text,
    session_id    uuid,
    ip            inet,
    location      text,
    device        text,
    user_agent    text,
    is_new_device boolean,
    is_new_place  boolean
);

-- One function takes a user_id of any type, in place of two. The upgrade fails here if a view, a
-- policy or another object that PostgreSQL keeps in parsed form calls one of these: drop it before
-- the upgrade, and create it again afterwards.
DROP FUNCTION qsessions.create_session(text, jsonb, inet, text, interval, interval, interval, text);
DROP FUNCTION qsessions.create_session(anynonarray, jsonb, inet, text, interval, interval, interval, text);
DROP FUNCTION qsessions.login(text, text, inet, text, jsonb, integer, interval, interval, interval);
DROP FUNCTION qsessions.login(text, anynonarray, inet, text, jsonb, integer, interval, interval, interval);
DROP FUNCTION qsessions.revoke_session(uuid, text);
DROP FUNCTION qsessions.revoke_session(uuid, anynonarray);
DROP FUNCTION qsessions.revoke_user_sessions(text, text);
DROP FUNCTION qsessions.revoke_user_sessions(anynonarray, text);
DROP FUNCTION qsessions.user_sessions(text, text);
DROP FUNCTION qsessions.user_sessions(anynonarray, text);
DROP FUNCTION qsessions.list_sessions(text, boolean, inet, uuid, integer);
DROP FUNCTION qsessions.list_sessions(anynonarray, boolean, inet, uuid, integer);

-- Privileges on the table decide now, and PUBLIC may execute the functions that do no more than the
-- table allows, as access.sql has it. Grants on them go. Grants on the other functions stay.
DO $$
DECLARE
    function pg_catalog.record;
    grantee pg_catalog.regrole;
BEGIN
    FOR function IN
        SELECT p.oid::pg_catalog.regprocedure AS signature, p.proacl, p.proowner
        FROM pg_catalog.pg_proc AS p
        JOIN pg_catalog.pg_depend AS d ON d.objid OPERATOR(pg_catalog.=) p.oid
        JOIN pg_catalog.pg_extension AS e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
        WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
          AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
          AND d.deptype OPERATOR(pg_catalog.=) 'e' AND e.extname OPERATOR(pg_catalog.=) 'qsessions'
          AND p.proname OPERATOR(pg_catalog.<>) ALL ('{location, location_info, country_code, asn, geoip_databases,
              geoip_reload, invalidate, _announce, schedule_purge, unschedule_purge,
              _schedule_purge, _unschedule_purge}'::pg_catalog.name[])
    LOOP
        FOR grantee IN
            SELECT DISTINCT a.grantee FROM pg_catalog.aclexplode(function.proacl) AS a
            WHERE a.grantee OPERATOR(pg_catalog.<>) ALL (ARRAY[function.proowner, 0::pg_catalog.oid])
        LOOP
            EXECUTE pg_catalog.format('REVOKE ALL ON ROUTINE %s FROM %s CASCADE', function.signature, grantee);
        END LOOP;
    END LOOP;
END
$$;

-- The definitions of 0.2.0 follow.
