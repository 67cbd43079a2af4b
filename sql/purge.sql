-- One batch, from a position on: purges that always began at the oldest row would wade through the index entries
-- of what they have just deleted. Rows that somebody has locked are left to the next purge.
--
-- A row that can't be deleted, for a foreign key of the user's own refers to it or a trigger refuses, is passed over
-- and counted as kept: one such row must not keep all others.
CREATE FUNCTION qsessions.purge_batch(
    batch_size integer,
    after_hour timestamptz DEFAULT '-infinity',
    after_id uuid DEFAULT '00000000-0000-0000-0000-000000000000',
    OUT purged bigint, OUT kept bigint, OUT last_hour timestamptz, OUT last_id uuid)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    ids uuid[];
    reason text;
    checked text;
    deferred text;
BEGIN
    IF batch_size IS NULL OR batch_size < 1 THEN
        RAISE EXCEPTION 'batch_size: must be at least 1, is %', coalesce(batch_size::text, 'null')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out for batches of 10000.';
    END IF;
    kept := 0;
    -- Foreign keys to the table are checked in here, where an error costs a row, and not at the COMMIT.
    SELECT string_agg(c.name, ', '), string_agg(c.name, ', ') FILTER (WHERE c.condeferred) INTO checked, deferred
    FROM (SELECT format('%I.%I', n.nspname, k.conname) AS name, k.condeferred
          FROM pg_constraint AS k JOIN pg_namespace AS n ON n.oid = k.connamespace
          WHERE k.confrelid = 'qsessions.session'::regclass AND k.contype = 'f' AND k.condeferrable) AS c;
    IF checked IS NOT NULL THEN
        EXECUTE format('SET CONSTRAINTS %s IMMEDIATE', checked);
    END IF;
    BEGIN
        WITH doomed AS MATERIALIZED (
            SELECT s.id, s.expires_hour FROM qsessions.session AS s
            WHERE s.expires_hour <= now() AND (s.expires_hour, s.id) > (after_hour, after_id) AND s.expires_at <= now()
            ORDER BY s.expires_hour, s.id
            LIMIT batch_size
            FOR UPDATE SKIP LOCKED
        ), gone AS (
            DELETE FROM qsessions.session AS s USING doomed AS d WHERE s.id = d.id
            RETURNING 1
        )
        SELECT (SELECT count(*) FROM gone), final.expires_hour, final.id
        INTO purged, last_hour, last_id
        FROM (VALUES (0)) AS one (row)
        LEFT JOIN (SELECT d.expires_hour, d.id FROM doomed AS d ORDER BY d.expires_hour DESC, d.id DESC LIMIT 1) AS final ON true;
    EXCEPTION WHEN integrity_constraint_violation OR raise_exception THEN
        reason := SQLERRM;
    END;
    IF reason IS NOT NULL THEN
        SELECT array_agg(d.id), max(d.expires_hour), (array_agg(d.id))[count(*)]
        INTO ids, last_hour, last_id
        FROM (SELECT s.id, s.expires_hour FROM qsessions.session AS s
              WHERE s.expires_hour <= now() AND (s.expires_hour, s.id) > (after_hour, after_id) AND s.expires_at <= now()
              ORDER BY s.expires_hour, s.id
              LIMIT batch_size
              FOR UPDATE SKIP LOCKED) AS d;
        purged := qsessions._delete_deletable(ids);
        kept := coalesce(cardinality(ids), 0) - purged;
    END IF;
    IF deferred IS NOT NULL THEN
        EXECUTE format('SET CONSTRAINTS %s DEFERRED', deferred);
    END IF;
    IF kept > 0 THEN
        RAISE WARNING 'expired sessions that could not be deleted: %', kept
            USING DETAIL = reason,
                  HINT = 'A foreign key that refers to qsessions.session needs ON DELETE CASCADE or ON DELETE SET NULL.';
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions.purge_batch(integer, timestamptz, uuid) IS
    'Internal: deletes up to batch_size expired sessions after a position and says where it ended, and how many could not be deleted, of which a warning tells the reason';

-- By halves, so that a few rows that stay cost a few statements more, and not one for each row.
CREATE FUNCTION qsessions._delete_deletable(ids uuid[]) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    deleted bigint;
    half integer := coalesce(cardinality(ids), 0) / 2;
BEGIN
    BEGIN
        DELETE FROM qsessions.session AS s WHERE s.id = ANY (ids);
        GET DIAGNOSTICS deleted = ROW_COUNT;
        RETURN deleted;
    EXCEPTION WHEN integrity_constraint_violation OR raise_exception THEN
        IF half = 0 THEN
            RETURN 0;
        END IF;
    END;
    RETURN qsessions._delete_deletable(ids[:half]) + qsessions._delete_deletable(ids[half + 1:]);
END
$$;

COMMENT ON FUNCTION qsessions._delete_deletable(uuid[]) IS
    'Internal: deletes those of the sessions that can be deleted; how many went';

CREATE FUNCTION qsessions.purge_expired(batch_size integer DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    batch record;
    after_hour timestamptz := '-infinity';
    after_id uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    -- One batch, but one that gets on: rows that can't be deleted are the oldest for ever.
    LOOP
        SELECT b.* INTO batch FROM qsessions.purge_batch(batch_size, after_hour, after_id) AS b;
        EXIT WHEN batch.purged > 0 OR batch.kept < batch_size;
        after_hour := batch.last_hour;
        after_id := batch.last_id;
    END LOOP;
    RETURN batch.purged;
END
$$;

COMMENT ON FUNCTION qsessions.purge_expired(integer) IS
    'Deletes up to batch_size expired sessions, skipping locked ones; how many went. A warning tells of those that could not be deleted';

-- A procedure that commits can't pin its search_path: every name and operator in it is qualified instead.
CREATE PROCEDURE qsessions.purge(batch_size integer DEFAULT 10000, max_batches integer DEFAULT NULL)
LANGUAGE plpgsql
AS $$
#variable_conflict use_variable
DECLARE
    batch pg_catalog.record;
    batches pg_catalog.int4 := 0;
    purged pg_catalog.int8 := 0;
    after_hour pg_catalog.timestamptz := '-infinity';
    after_id pg_catalog.uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    IF max_batches OPERATOR(pg_catalog.<) 1 THEN
        RAISE EXCEPTION 'max_batches: must be at least 1, is %', max_batches
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out to purge all that has expired.';
    END IF;
    LOOP
        SELECT b.purged, b.kept, b.last_hour, b.last_id INTO batch
        FROM qsessions.purge_batch(batch_size, after_hour, after_id) AS b;
        COMMIT;
        purged := purged OPERATOR(pg_catalog.+) batch.purged;
        batches := batches OPERATOR(pg_catalog.+) 1;
        EXIT WHEN batch.purged OPERATOR(pg_catalog.+) batch.kept OPERATOR(pg_catalog.<) batch_size
               OR batches OPERATOR(pg_catalog.>=) max_batches;
        IF batches OPERATOR(pg_catalog.%) 10 OPERATOR(pg_catalog.=) 0 THEN
            RAISE NOTICE 'expired sessions purged so far: %', purged;
        END IF;
        after_hour := batch.last_hour;
        after_id := batch.last_id;
    END LOOP;
    RAISE NOTICE 'expired sessions purged: % (batches: %)', purged, batches;
END
$$;

COMMENT ON PROCEDURE qsessions.purge(integer, integer) IS
    'Deletes all expired sessions, or max_batches batches of them, committing each; a notice says how many went, and warnings how many could not be deleted. Can''t run in a transaction block';

-- The job's name tells the databases of a cluster apart: pg_cron keeps the jobs of all of them in one place.
CREATE FUNCTION qsessions.purge_job_name() RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN 'qsessions purge of ' || current_database();
END
$$;

COMMENT ON FUNCTION qsessions.purge_job_name() IS 'Internal: the name of this database''s pg_cron job';

-- The database that pg_cron lives in; raises where nothing can be scheduled.
CREATE FUNCTION qsessions.cron_database() RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    cron_database text;
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
    SELECT s.setting INTO cron_database FROM pg_settings AS s WHERE s.name = 'cron.database_name';
    IF cron_database IS NULL THEN
        RAISE EXCEPTION 'pg_cron is not loaded in this server'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Install pg_cron (Debian: postgresql-NN-cron), add pg_cron to shared_preload_libraries, restart, '
                         'and run CREATE EXTENSION pg_cron in database "postgres" or the one that cron.database_name names.';
    END IF;
    RETURN cron_database;
END
$$;

COMMENT ON FUNCTION qsessions.cron_database() IS 'Internal: the database where pg_cron lives';

-- Runs a statement of ours there, be it this database or another.
CREATE FUNCTION qsessions.run_in_cron_database(statement text) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    cron_database text := qsessions.cron_database();
    result bigint;
BEGIN
    IF cron_database = current_database() THEN
        EXECUTE statement INTO result;
    ELSE
        result := qsessions.run_in_database(cron_database, statement);
    END IF;
    RETURN result;
EXCEPTION
    WHEN invalid_schema_name OR undefined_table OR undefined_function THEN
        RAISE EXCEPTION 'extension pg_cron 1.4 or later is not there in database "%"', cron_database
            USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = SQLERRM,
                  HINT = 'Run CREATE EXTENSION pg_cron in that database, or ALTER EXTENSION pg_cron UPDATE where it is older.';
    WHEN insufficient_privilege THEN
        RAISE EXCEPTION 'permission denied to schedule purges'
            USING ERRCODE = 'insufficient_privilege', DETAIL = SQLERRM,
                  HINT = 'Let a superuser call this, or grant the role, in the database of pg_cron, '
                         'USAGE on schema cron and EXECUTE on function cron.schedule_in_database.';
END
$$;

COMMENT ON FUNCTION qsessions.run_in_cron_database(text) IS 'Internal: runs a statement in the database where pg_cron lives';

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
    PERFORM qsessions.cron_database();
    -- The job is the table owner's, whoever asks for it: he may put triggers on his table, and they would run with the
    -- rights of the job.
    SELECT pg_get_userbyid(c.relowner) INTO table_owner FROM pg_class AS c WHERE c.oid = to_regclass('qsessions.session');
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table "qsessions.session" does not exist'
            USING ERRCODE = 'undefined_table', HINT = 'Call qsessions.create_session_table(users) first.';
    END IF;
    IF NOT (has_function_privilege(table_owner, 'qsessions.purge(integer, integer)', 'EXECUTE')
            AND has_function_privilege(table_owner, 'qsessions.purge_batch(integer, timestamptz, uuid)', 'EXECUTE')) THEN
        RAISE EXCEPTION 'role "%" owns the session table, but may not purge it', table_owner
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('Run GRANT EXECUTE ON ROUTINE qsessions.purge, qsessions.purge_batch TO %I;', table_owner);
    END IF;
    IF table_owner <> current_user AND NOT (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user) THEN
        RAISE EXCEPTION 'permission denied to schedule purges'
            USING ERRCODE = 'insufficient_privilege', DETAIL = format('The session table belongs to role "%s".', table_owner),
                  HINT = 'Let the owner of the session table call this, or a superuser.';
    END IF;
    -- pg_cron replaces a job of the same name and user. Only a superuser may name the user, even himself.
    RETURN qsessions.run_in_cron_database(format(
        'SELECT cron.schedule_in_database(%L, %L, %L, %L, %L)',
        qsessions.purge_job_name(), schedule, format('CALL qsessions.purge(batch_size => %s)', batch_size),
        current_database(), nullif(table_owner, current_user)));
END
$$;

COMMENT ON FUNCTION qsessions.schedule_purge(text, integer) IS
    'Has pg_cron purge this database''s expired sessions on a schedule, as the owner of the session table; calling it again replaces the job. The job''s id';

CREATE FUNCTION qsessions.unschedule_purge() RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN qsessions.run_in_cron_database(format(
        'SELECT count(*) FILTER (WHERE cron.unschedule(j.jobid))
         FROM (SELECT jobid FROM cron.job WHERE jobname = %L ORDER BY jobid) AS j',
        qsessions.purge_job_name())) > 0;
END
$$;

COMMENT ON FUNCTION qsessions.unschedule_purge() IS 'Removes the job of schedule_purge; whether there was one';
