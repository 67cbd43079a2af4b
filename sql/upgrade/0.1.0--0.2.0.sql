-- Upgrades 0.1.0 to 0.2.0. scripts/upgrade-scripts adds the definitions of 0.2.0.

-- Internal functions get an underscore. They are renamed, not dropped, because triggers of the
-- session table and objects of the user's own may depend on them.
--
-- A call that waits for the upgrade continues with the body of 0.1.0, which looks functions up by
-- their former names. Those that calls on sessions use stay under these names too.
DO $$
DECLARE
    internal pg_catalog.record;
    definition pg_catalog.text;
    left_over CONSTANT pg_catalog.text := 'Internal: a function of 0.1.0, for calls that began before the update';
BEGIN
    FOR internal IN
        SELECT p.oid, p.proname, p.oid::pg_catalog.regprocedure::pg_catalog.text AS signature
        FROM pg_catalog.pg_proc AS p
        JOIN pg_catalog.pg_depend AS d ON d.objid OPERATOR(pg_catalog.=) p.oid
        JOIN pg_catalog.pg_extension AS e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
        WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
          AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
          AND d.deptype OPERATOR(pg_catalog.=) 'e' AND e.extname OPERATOR(pg_catalog.=) 'qsessions'
          AND p.proname OPERATOR(pg_catalog.=) ANY ('{add_user_foreign_key, announce, check_access_change,
              check_interval, collation_clause, data_fits, data_size, default_ttl, expiry, find_session_id,
              generate_key_for, key_digest, lock_user, lock_user_logins, max_data_bytes, purge_batch,
              raise_data_too_large, raise_not_found, raise_not_saved, raise_null, touch_interval,
              user_agent_max_length, user_key_column}'::pg_catalog.name[])
    LOOP
        -- These four have other arguments now, so they are left over as they are.
        IF internal.proname OPERATOR(pg_catalog.<>) ALL ('{lock_user, lock_user_logins, purge_batch, raise_not_found}'::pg_catalog.name[]) THEN
            definition := pg_catalog.pg_get_functiondef(internal.oid);
            EXECUTE pg_catalog.format(
                'ALTER FUNCTION %s RENAME TO %I', internal.signature, pg_catalog.concat('_', internal.proname));
            CONTINUE WHEN internal.proname OPERATOR(pg_catalog.=) ANY (
                '{add_user_foreign_key, announce, check_access_change, collation_clause, user_key_column}'::pg_catalog.name[]);
            EXECUTE definition;
        END IF;
        EXECUTE pg_catalog.format('COMMENT ON FUNCTION %s IS %L', internal.signature, left_over);
    END LOOP;
END
$$;

-- This one has another argument now.
COMMENT ON FUNCTION qsessions._slide(timestamptz, timestamptz, interval, timestamptz) IS
    'Internal: a function of 0.1.0, for calls that began before the update';

-- These have other arguments or results now, or are gone. The upgrade fails here if a view, a
-- policy or another object that PostgreSQL keeps in parsed form calls one of them: drop it before
-- the upgrade, and create it again afterwards.
DROP FUNCTION qsessions._delete_deletable(uuid[]);
DROP FUNCTION qsessions.application_functions();
DROP FUNCTION qsessions.invalidation_status();
DROP FUNCTION qsessions.stats();

-- So have these. But a call that waits for the upgrade may have found one of them, and still needs
-- it. So they are dropped, which fails as above, and the drop is undone; then they are renamed.
DO $$
DECLARE
    replaced CONSTANT pg_catalog.regprocedure[] := ARRAY[
        'qsessions.create_session(text, jsonb, inet, text, interval, interval, interval, text)',
        'qsessions.create_session(anynonarray, jsonb, inet, text, interval, interval, interval, text)',
        'qsessions.list_sessions(text, boolean, inet, uuid, integer)',
        'qsessions.list_sessions(anynonarray, boolean, inet, uuid, integer)',
        'qsessions.load_for_cache(text)',
        'qsessions.login(text, text, inet, text, jsonb, integer, interval, interval, interval)',
        'qsessions.login(text, anynonarray, inet, text, jsonb, integer, interval, interval, interval)',
        'qsessions.resume_session(text, inet, text)',
        'qsessions.revoke_session(uuid, text)',
        'qsessions.revoke_session(uuid, anynonarray)',
        'qsessions.revoke_user_sessions(text, text)',
        'qsessions.revoke_user_sessions(anynonarray, text)',
        'qsessions.rotate_key(text)',
        'qsessions.save_session(text, jsonb, bigint, interval)',
        'qsessions.user_sessions(text, text)',
        'qsessions.user_sessions(anynonarray, text)'];
    former pg_catalog.record;
    left_over CONSTANT pg_catalog.text := 'Internal: a function of 0.1.0, for calls that began before the update';
BEGIN
    BEGIN
        FOR former IN SELECT signature FROM pg_catalog.unnest(replaced) AS r (signature) LOOP
            EXECUTE pg_catalog.format('DROP FUNCTION %s', former.signature);
        END LOOP;
        DROP TYPE qsessions.cacheable_session;
        RAISE EXCEPTION 'undo' USING ERRCODE = 'QS000';
    EXCEPTION WHEN SQLSTATE 'QS000' THEN
        -- The functions are there again.
    END;
    FOR former IN
        SELECT p.oid::pg_catalog.regprocedure AS signature, p.proname
        FROM pg_catalog.pg_proc AS p WHERE p.oid OPERATOR(pg_catalog.=) ANY (replaced)
    LOOP
        EXECUTE pg_catalog.format('COMMENT ON FUNCTION %s IS %L', former.signature, left_over);
        EXECUTE pg_catalog.format(
            'ALTER FUNCTION %s RENAME TO %I', former.signature, pg_catalog.concat('_former_', former.proname));
    END LOOP;
    ALTER TYPE qsessions.cacheable_session RENAME TO _former_cacheable_session;
    COMMENT ON TYPE qsessions._former_cacheable_session IS
        'Internal: a type of 0.1.0, for calls that began before the update';
END
$$;

-- Row types. The definitions that follow leave them out.
CREATE TYPE qsessions.cacheable_session AS (
    id                    uuid,
    user_id               text,
    data                  jsonb,
    ip                    inet,
    user_agent            text,
    created_at            timestamptz,
    authenticated_at      timestamptz,
    updated_at            timestamptz,
    last_seen_at          timestamptz,
    expires_at            timestamptz,
    version               bigint,
    visit_due_at          timestamptz,
    user_agent_max_length integer,
    server_started_at     timestamptz,
    is_standby            boolean,
    client_hints          jsonb,
    is_former_key         boolean,
    idle_timeout          interval,
    deadline              timestamptz
);

CREATE TYPE qsessions.recorded_visit AS (
    id           uuid,
    last_seen_at timestamptz,
    expires_at   timestamptz,
    visit_due_at timestamptz,
    is_written   boolean,
    is_skipped   boolean
);

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

-- The changes of transactions that are prepared for a two-phase commit;
-- extension/src/invalidation/prepared.rs reads and writes the table without SQL. It is not unlogged:
-- the rows must survive a crash as the transaction does. They are not part of publications.
CREATE TABLE qsessions.invalidation_prepared (
    ids bytea NOT NULL
)
WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

ALTER TABLE qsessions.invalidation_prepared ALTER COLUMN ids SET STORAGE PLAIN;

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
