-- Purges by pg_cron, which may live in another database. What is done there is done in Rust: see
-- extension/src/pg_cron.rs.

-- Raises where nothing can be scheduled, and says what to do about it.
CREATE FUNCTION qsessions._check_cron() RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Another database would not know of it, and on a standby nothing could be started there.
    IF current_setting('transaction_read_only')::boolean THEN
        RAISE EXCEPTION 'can''t change the schedule of purges in a read-only transaction'
            USING ERRCODE = 'read_only_sql_transaction', HINT = 'On a standby, call this on the primary instead.';
    END IF;
    IF NOT pg_has_role('pg_read_all_settings', 'USAGE') THEN
        RAISE EXCEPTION 'permission denied to schedule purges'
            USING ERRCODE = 'insufficient_privilege', DETAIL = 'The role is not a member of pg_read_all_settings.',
                  HINT = 'Let a superuser call this, or grant the role pg_read_all_settings and, in the database of pg_cron, '
                         'USAGE on schema cron and EXECUTE on function cron.schedule_in_database.';
    END IF;
    -- Unlike current_setting, the view leaves out what is set for a library that isn't loaded.
    IF NOT EXISTS (SELECT FROM pg_settings AS s WHERE s.name = 'cron.database_name') THEN
        RAISE EXCEPTION 'pg_cron is not loaded in this server'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Install pg_cron (Debian: postgresql-NN-cron), add pg_cron to shared_preload_libraries, restart, '
                         'and run CREATE EXTENSION pg_cron in database "postgres" or the one that cron.database_name names.';
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions._check_cron() IS 'Internal: raises where no job of pg_cron can be changed from here';

CREATE FUNCTION qsessions._raise_cron_denied(reason text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'permission denied to schedule purges'
        USING ERRCODE = 'insufficient_privilege', DETAIL = reason,
              HINT = 'Let a superuser call this, or grant the role, in the database of pg_cron, '
                     'USAGE on schema cron and EXECUTE on function cron.schedule_in_database.';
END
$$;

COMMENT ON FUNCTION qsessions._raise_cron_denied(text) IS 'Internal: raises the error for a right that pg_cron asks for';

CREATE FUNCTION qsessions.schedule_purge(schedule text DEFAULT '*/5 * * * *', batch_size integer DEFAULT 10000)
RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    table_owner name;
BEGIN
    IF schedule IS NULL THEN
        PERFORM qsessions.raise_null('schedule');
    END IF;
    IF batch_size IS NULL OR batch_size < 1 THEN
        RAISE EXCEPTION 'batch_size: must be at least 1, is %', coalesce(batch_size::text, 'null')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out for batches of 10000.';
    END IF;
    PERFORM qsessions._check_cron();
    -- The job is the table owner's, whoever asks for it: he may put triggers on his table, and they would run with the
    -- rights of the job.
    SELECT pg_get_userbyid(c.relowner) INTO table_owner FROM pg_class AS c WHERE c.oid = to_regclass('qsessions.session');
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table "qsessions.session" does not exist'
            USING ERRCODE = 'undefined_table', HINT = 'Call qsessions.create_session_table(users) first.';
    END IF;
    IF NOT (has_function_privilege(table_owner, 'qsessions.purge(integer, integer)', 'EXECUTE')
            AND has_function_privilege(table_owner, 'qsessions.purge_batch(integer, timestamptz, uuid)', 'EXECUTE')
            AND has_function_privilege(table_owner, 'qsessions._delete_deletable(uuid[])', 'EXECUTE')) THEN
        RAISE EXCEPTION 'role "%" owns the session table, but may not purge it', table_owner
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('Run GRANT EXECUTE ON ROUTINE qsessions.purge, qsessions.purge_batch, '
                                'qsessions._delete_deletable TO %I;', table_owner);
    END IF;
    IF table_owner <> current_user AND NOT (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user) THEN
        RAISE EXCEPTION 'permission denied to schedule purges'
            USING ERRCODE = 'insufficient_privilege', DETAIL = format('The session table belongs to role "%s".', table_owner),
                  HINT = 'Let the owner of the session table call this, or a superuser.';
    END IF;
    BEGIN
        RETURN qsessions._schedule_purge(schedule, batch_size, table_owner::text);
    EXCEPTION WHEN insufficient_privilege THEN
        PERFORM qsessions._raise_cron_denied(SQLERRM);
    END;
END
$$;

COMMENT ON FUNCTION qsessions.schedule_purge(text, integer) IS
    'Has pg_cron purge this database''s expired sessions on a schedule, as the owner of the session table; calling it again replaces the job, also after a change of the database''s name or the table''s owner. The job''s id';

CREATE FUNCTION qsessions.unschedule_purge() RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM qsessions._check_cron();
    BEGIN
        RETURN qsessions._unschedule_purge() > 0;
    EXCEPTION WHEN insufficient_privilege THEN
        PERFORM qsessions._raise_cron_denied(SQLERRM);
    END;
END
$$;

COMMENT ON FUNCTION qsessions.unschedule_purge() IS
    'Removes the job of schedule_purge, also one of a former name or owner; whether there was one';
