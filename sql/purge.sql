-- Deleting expired sessions, by hand or by pg_cron.

-- Deletes one batch, from a position on: if each batch began at the oldest row, it would read the
-- index entries of all that the batches before have just deleted. Rows that another transaction has
-- locked are left for the next purge.
--
-- A batch is deleted in slices. The rows of a slice are still in the processor's caches when they
-- are deleted, and a pause after it lets others have the processor: a request then waits for a few
-- hundred rows, and not for a time slice of the operating system.
--
-- A row may be impossible to delete, because a foreign key of the user's own refers to it or
-- because a trigger refuses or skips it. Such a row is passed over and counted as kept, so that it
-- does not keep all others.
CREATE OR REPLACE FUNCTION qsessions._purge_batch(
    batch_size integer, after_hour timestamptz, after_id uuid, pause double precision,
    OUT purged bigint, OUT kept bigint, OUT last_hour timestamptz, OUT last_id uuid)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    slice_size CONSTANT integer := 200;
    wanted integer;
    ids uuid[];
    places tid[];
    deleted bigint;
    locked bigint := 0;
    begin_at timestamptz := clock_timestamp();
    due double precision := 0;
    reason text;
    checked text;
    deferred text;
    is_begun boolean;
BEGIN
    PERFORM qsessions._check_batch_size(batch_size);
    -- Foreign keys that refer to the table are checked here, where an error costs a row, and not at
    -- COMMIT. SET CONSTRAINTS changes all constraints of a name in a schema. So a name that is not
    -- unique there is left out, as is one in a schema that this role must not use.
    SELECT string_agg(c.name, ', '), string_agg(c.name, ', ') FILTER (WHERE c.condeferred) INTO checked, deferred
    FROM (SELECT format('%I.%I', n.nspname, k.conname) AS name, k.condeferred
          FROM pg_constraint AS k JOIN pg_namespace AS n ON n.oid = k.connamespace
          WHERE k.confrelid = 'qsessions.session'::regclass AND k.contype = 'f' AND k.condeferrable
            AND has_schema_privilege(n.oid, 'USAGE')
            AND NOT EXISTS (SELECT FROM pg_constraint AS o
                            WHERE o.connamespace = k.connamespace AND o.conname = k.conname AND o.oid <> k.oid)) AS c;
    IF checked IS NOT NULL THEN
        EXECUTE format('SET CONSTRAINTS %s IMMEDIATE', checked);
    END IF;
    -- The rows are deleted in the nested transaction that has locked them. If another one did,
    -- PostgreSQL would give each row a multixact, and scans of the index could not mark its entry
    -- as dead: until VACUUM, each search for the oldest row would visit all that were purged.
    BEGIN
        purged := 0;
        last_hour := after_hour;
        last_id := after_id;
        is_begun := qsessions._begin_event_reason('expired');
        LOOP
            wanted := least(slice_size, batch_size - locked);
            SELECT e.ids, e.places, coalesce(e.last_hour, last_hour), coalesce(e.last_id, last_id)
            INTO ids, places, last_hour, last_id
            FROM qsessions._lock_expired(wanted, last_hour, last_id) AS e;
            EXIT WHEN ids IS NULL;
            -- By their places, which rows keep while they are locked: a join by id would read the
            -- index of ids, or the whole table. The planner cannot look into the subquery, and so
            -- always chooses a TID scan. ONLY, because each table that inherits has the same places.
            IF places IS NOT NULL THEN
                DELETE FROM ONLY qsessions.session AS s
                WHERE s.ctid = ANY (ARRAY(SELECT p.place FROM unnest(places) AS p (place)));
            ELSE
                DELETE FROM qsessions.session AS s WHERE s.id = ANY (ids);
            END IF;
            GET DIAGNOSTICS deleted = ROW_COUNT;
            purged := purged + deleted;
            locked := locked + cardinality(ids);
            EXIT WHEN cardinality(ids) < wanted OR locked >= batch_size;
            IF pause > 0 THEN
                due := due + pause * extract(epoch FROM clock_timestamp() - begin_at);
                -- No sleep is shorter.
                IF due >= 0.001 THEN
                    PERFORM pg_sleep(due);
                    due := 0;
                END IF;
                begin_at := clock_timestamp();
            END IF;
        END LOOP;
        is_begun := qsessions._end_event_reason();
    EXCEPTION WHEN integrity_constraint_violation OR raise_exception THEN
        SELECT e.ids, e.last_hour, e.last_id INTO ids, last_hour, last_id
        FROM qsessions._lock_expired(batch_size, after_hour, after_id) AS e;
        locked := coalesce(cardinality(ids), 0);
        SELECT d.deleted, d.reason INTO purged, reason FROM qsessions._delete_deletable(ids) AS d;
    END;
    kept := locked - purged;
    PERFORM qsessions._count('purged', purged);
    IF deferred IS NOT NULL THEN
        EXECUTE format('SET CONSTRAINTS %s DEFERRED', deferred);
    END IF;
    IF kept > 0 THEN
        RAISE WARNING 'could not delete expired sessions: %', kept
            USING DETAIL = coalesce(reason, 'A trigger of the table has kept them.'),
                  HINT = 'A foreign key that refers to qsessions.session needs ON DELETE CASCADE or ON DELETE SET NULL.';
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions._purge_batch(integer, timestamptz, uuid, double precision) IS
    'Internal: deletes up to batch_size expired sessions after a position, and pauses for this share of the time that it works; returns where the batch has ended, and how many sessions could not be deleted, for which it also warns';

-- The index has the rows in this order, and one batch needs few of them. The planner must not read
-- and sort all that have expired instead: it would, where the statistics are older than the last
-- purges, or where it takes a batch for a large part of the table. There is one such plan, so it is
-- not made anew for each slice.
--
-- Only rows of the table itself have places here. Whether tables inherit from it is read from the
-- rows: the catalogue can change after it was read.
CREATE OR REPLACE FUNCTION qsessions._lock_expired(
    batch_size integer, after_hour timestamptz, after_id uuid,
    OUT ids uuid[], OUT places tid[], OUT last_hour timestamptz, OUT last_id uuid)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_variable
BEGIN
    SELECT array_agg(d.id),
           CASE WHEN bool_and(d.tableoid = 'qsessions.session'::regclass) THEN array_agg(d.ctid) END,
           max(d.expires_hour), (array_agg(d.id))[count(*)]
    INTO ids, places, last_hour, last_id
    FROM (SELECT s.id, s.ctid, s.tableoid, s.expires_hour FROM qsessions.session AS s
          WHERE s.expires_hour <= now() AND (s.expires_hour, s.id) > (after_hour, after_id) AND s.expires_at <= now()
          ORDER BY s.expires_hour, s.id
          LIMIT batch_size
          FOR UPDATE SKIP LOCKED) AS d;
END
$$;

COMMENT ON FUNCTION qsessions._lock_expired(integer, timestamptz, uuid) IS
    'Internal: locks up to batch_size expired sessions after a position, except those that are locked already; places is null if one of them is a row of a table that inherits';

-- The rows of live sessions that a purge has come to: their hour has passed, because an expiry that
-- slides leaves it as it is.
CREATE OR REPLACE FUNCTION qsessions._lock_passed(
    batch_size integer, after_hour timestamptz, after_id uuid,
    OUT ids uuid[], OUT last_hour timestamptz, OUT last_id uuid)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET jit = off
AS $$
#variable_conflict use_variable
BEGIN
    SELECT array_agg(d.id), max(d.expires_hour), (array_agg(d.id))[count(*)] INTO ids, last_hour, last_id
    FROM (SELECT s.id, s.expires_hour FROM qsessions.session AS s
          WHERE s.expires_hour <= now() - interval '1 hour' AND (s.expires_hour, s.id) > (after_hour, after_id)
            AND s.expires_at > now()
          ORDER BY s.expires_hour, s.id
          LIMIT batch_size
          FOR NO KEY UPDATE SKIP LOCKED) AS d;
END
$$;

COMMENT ON FUNCTION qsessions._lock_passed(integer, timestamptz, uuid) IS
    'Internal: locks up to batch_size live sessions after a position whose expires_hour has passed, except those that are locked already';

-- Otherwise, each purge would look at these rows again. A role that may only delete leaves them to
-- the purges of others.
CREATE OR REPLACE FUNCTION qsessions._move_on(
    batch_size integer, after_hour timestamptz, after_id uuid,
    OUT moved bigint, OUT last_hour timestamptz, OUT last_id uuid)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    ids uuid[];
BEGIN
    moved := 0;
    IF NOT has_column_privilege('qsessions.session', 'purge_after', 'UPDATE') THEN
        RETURN;
    END IF;
    -- A trigger of the user's own may refuse the change. What was deleted stays deleted.
    BEGIN
        SELECT l.ids, l.last_hour, l.last_id INTO ids, last_hour, last_id
        FROM qsessions._lock_passed(batch_size, after_hour, after_id) AS l;
        UPDATE qsessions.session AS s SET purge_after = NULL
        WHERE s.id = ANY (ARRAY(SELECT i.id FROM unnest(ids) AS i (id)));
        moved := coalesce(cardinality(ids), 0);
    EXCEPTION WHEN integrity_constraint_violation OR raise_exception THEN
        RAISE WARNING 'could not update column "purge_after" of live sessions'
            USING DETAIL = initcap(left(SQLERRM, 1)) || substr(SQLERRM, 2) || '. Each purge will look at these sessions again.',
                  HINT = 'Let the triggers of table qsessions.session allow the change.';
    END;
END
$$;

COMMENT ON FUNCTION qsessions._move_on(integer, timestamptz, uuid) IS
    'Internal: gives up to batch_size live sessions after a position, whose expires_hour has passed, the hour of their expires_at; returns where the batch has ended';

-- Halves the batch until what is left can be deleted. A few rows that stay cost a few statements
-- more, rather than one for each row.
CREATE OR REPLACE FUNCTION qsessions._delete_deletable(ids uuid[], OUT deleted bigint, OUT reason text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    half integer := coalesce(cardinality(ids), 0) / 2;
    is_begun boolean;
BEGIN
    BEGIN
        is_begun := qsessions._begin_event_reason('expired');
        DELETE FROM qsessions.session AS s WHERE s.id = ANY (ids);
        GET DIAGNOSTICS deleted = ROW_COUNT;
        is_begun := qsessions._end_event_reason();
        RETURN;
    EXCEPTION WHEN integrity_constraint_violation OR raise_exception THEN
        deleted := 0;
        reason := SQLERRM;
    END;
    IF half > 0 THEN
        SELECT one.deleted + two.deleted INTO deleted
        FROM qsessions._delete_deletable(ids[:half]) AS one, qsessions._delete_deletable(ids[half + 1:]) AS two;
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions._delete_deletable(uuid[]) IS
    'Internal: deletes those of the sessions that can be deleted; returns their number, and why others could not be deleted';

CREATE OR REPLACE FUNCTION qsessions.purge_expired(batch_size integer DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    batch record;
    after_hour timestamptz := '-infinity';
    after_id uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    IF qsessions._is_distributed() THEN
        RETURN qsessions._purge_shards(batch_size);
    END IF;
    -- A batch in which nothing could be deleted does not count: such rows are the oldest for ever.
    LOOP
        SELECT b.* INTO batch FROM qsessions._purge_batch(batch_size, after_hour, after_id, 0) AS b;
        EXIT WHEN batch.purged > 0 OR batch.kept < batch_size;
        after_hour := batch.last_hour;
        after_id := batch.last_id;
    END LOOP;
    -- With the last batch, so that a caller who commits after each does this once.
    IF batch.purged + batch.kept < batch_size THEN
        PERFORM FROM qsessions._move_on(
            batch_size, '-infinity', '00000000-0000-0000-0000-000000000000');
        IF qsessions._has_events() THEN
            PERFORM qsessions._maintain_event_table();
        END IF;
    END IF;
    RETURN batch.purged;
END
$$;

COMMENT ON FUNCTION qsessions.purge_expired(integer) IS
    'Deletes up to batch_size expired sessions, except those that are locked, and returns their number. If no more are left and the caller owns the event table, adds months to it and drops old ones. Warns of sessions that could not be deleted';

-- PostgreSQL lets no procedure with a SET clause commit, so every name and operator has its schema.
CREATE OR REPLACE PROCEDURE qsessions.purge(batch_size integer DEFAULT 10000, max_batches integer DEFAULT NULL)
LANGUAGE plpgsql
AS $$
#variable_conflict use_variable
DECLARE
    batch pg_catalog.record;
    batches pg_catalog.int4 := 0;
    purged pg_catalog.int8 := 0;
    pause CONSTANT pg_catalog.float8 := qsessions._purge_pause();
    begin_at pg_catalog.timestamptz;
    due pg_catalog.float8 := 0;
    after_hour pg_catalog.timestamptz := '-infinity';
    after_id pg_catalog.uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    IF max_batches OPERATOR(pg_catalog.<) 1 THEN
        RAISE EXCEPTION 'argument "max_batches" must be at least 1, but is %', max_batches
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out to delete all expired sessions.';
    END IF;
    IF qsessions._has_events() THEN
        PERFORM qsessions._maintain_event_table();
        COMMIT;
    END IF;
    IF qsessions._is_distributed() THEN
        LOOP
            SELECT qsessions._purge_shards(batch_size) AS purged INTO batch;
            COMMIT;
            purged := purged OPERATOR(pg_catalog.+) batch.purged;
            batches := batches OPERATOR(pg_catalog.+) 1;
            EXIT WHEN batch.purged OPERATOR(pg_catalog.=) 0 OR batches OPERATOR(pg_catalog.>=) max_batches;
        END LOOP;
        RAISE NOTICE 'expired sessions purged: % (batches: %)', purged, batches;
        RETURN;
    END IF;
    LOOP
        begin_at := pg_catalog.clock_timestamp();
        SELECT b.purged, b.kept, b.last_hour, b.last_id INTO batch
        FROM qsessions._purge_batch(batch_size, after_hour, after_id, pause) AS b;
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
        -- The batch has paused after each slice but its last one.
        due := due OPERATOR(pg_catalog.+) pause OPERATOR(pg_catalog.*) least(200.0 OPERATOR(pg_catalog./) batch_size, 1)
            OPERATOR(pg_catalog.*) pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) begin_at);
        IF due OPERATOR(pg_catalog.>=) 0.001 THEN
            PERFORM pg_catalog.pg_sleep(due);
            due := 0;
        END IF;
    END LOOP;
    -- In small batches, because requests of these sessions may wait for one.
    after_hour := '-infinity';
    after_id := '00000000-0000-0000-0000-000000000000';
    LOOP
        EXIT WHEN batches OPERATOR(pg_catalog.>=) max_batches;
        SELECT m.moved, m.last_hour, m.last_id INTO batch FROM qsessions._move_on(1000, after_hour, after_id) AS m;
        COMMIT;
        EXIT WHEN batch.moved OPERATOR(pg_catalog.<) 1000;
        after_hour := batch.last_hour;
        after_id := batch.last_id;
    END LOOP;
    -- Marks the index entries of the rows that are gone, so that the next search for the oldest row
    -- skips them.
    PERFORM FROM qsessions._oldest_expired(1);
    RAISE NOTICE 'expired sessions purged: % (batches: %)', purged, batches;
END
$$;

COMMENT ON PROCEDURE qsessions.purge(integer, integer) IS
    'Deletes all expired sessions, or max_batches batches of them, and commits after each batch. Pauses as qsessions.purge_pause says. If the caller owns the event table, adds months to it and drops old ones first. A notice says how many, and warnings say how many could not be deleted. Cannot run in a transaction block';

-- Scheduling. pg_cron may live in another database; extension/src/pg_cron.rs says how its jobs are
-- changed from here.

CREATE OR REPLACE FUNCTION qsessions._check_cron() RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- The other database would not notice that this transaction is read-only.
    IF current_setting('transaction_read_only')::boolean THEN
        RAISE EXCEPTION 'cannot change the schedule of purges in a read-only transaction'
            USING ERRCODE = 'read_only_sql_transaction', HINT = 'If this is a standby, call the function on the primary.';
    END IF;
    IF NOT pg_has_role('pg_read_all_settings', 'USAGE') THEN
        PERFORM qsessions._raise_cron_denied('The role is not a member of pg_read_all_settings.');
    END IF;
    -- Unlike current_setting, the view omits settings of a library that is not loaded.
    IF NOT EXISTS (SELECT FROM pg_settings AS s WHERE s.name = 'cron.database_name') THEN
        RAISE EXCEPTION 'pg_cron is not loaded in this server'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Install pg_cron (Debian: postgresql-NN-cron), add pg_cron to shared_preload_libraries, restart, '
                         'and run CREATE EXTENSION pg_cron in database "postgres" or the one that cron.database_name names.';
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions._check_cron() IS 'Internal: raises an error if the jobs of pg_cron cannot be changed from here';

CREATE OR REPLACE FUNCTION qsessions._raise_cron_denied(reason text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'permission denied to schedule purges'
        USING ERRCODE = 'insufficient_privilege', DETAIL = reason,
              HINT = 'Have a superuser call the function, or grant the role pg_read_all_settings and, in the database of pg_cron, '
                     'USAGE on schema cron and EXECUTE on function cron.schedule_in_database.';
END
$$;

COMMENT ON FUNCTION qsessions._raise_cron_denied(text) IS 'Internal: raises 42501 for a privilege that pg_cron requires';

CREATE OR REPLACE FUNCTION qsessions.schedule_purge(schedule text DEFAULT '*/5 * * * *', batch_size integer DEFAULT 10000)
RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    table_owner name;
BEGIN
    IF schedule IS NULL THEN
        PERFORM qsessions._raise_null('schedule');
    END IF;
    PERFORM qsessions._check_batch_size(batch_size);
    PERFORM qsessions._check_cron();
    -- The job runs as the owner of the table, whichever role schedules it: triggers that the owner
    -- has put on the table run with the rights of the job.
    SELECT pg_get_userbyid(c.relowner) INTO table_owner FROM pg_class AS c WHERE c.oid = to_regclass('qsessions.session');
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table "qsessions.session" does not exist'
            USING ERRCODE = 'undefined_table', HINT = 'Call qsessions.create_session_table(users) first.';
    END IF;
    IF table_owner <> current_user AND NOT (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user) THEN
        RAISE EXCEPTION 'permission denied to schedule purges'
            USING ERRCODE = 'insufficient_privilege', DETAIL = format('The session table belongs to role "%s".', table_owner),
                  HINT = 'Have a superuser or the owner of the session table call the function.';
    END IF;
    BEGIN
        RETURN qsessions._schedule_purge(schedule, batch_size, table_owner::text);
    EXCEPTION WHEN insufficient_privilege THEN
        PERFORM qsessions._raise_cron_denied(initcap(left(SQLERRM, 1)) || substr(SQLERRM, 2) || '.');
    END;
END
$$;

COMMENT ON FUNCTION qsessions.schedule_purge(text, integer) IS
    'Schedules purges of this database with pg_cron, which run as the owner of the session table. Replaces a job that was scheduled before, also under a former name of the database or owner of the table. Returns the id of the job';
COMMENT ON FUNCTION qsessions._schedule_purge(text, integer, text) IS
    'Internal: makes the pg_cron job that purges this database, in place of any there was, and returns its id';

CREATE OR REPLACE FUNCTION qsessions.unschedule_purge() RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM qsessions._check_cron();
    BEGIN
        RETURN qsessions._unschedule_purge() > 0;
    EXCEPTION WHEN insufficient_privilege THEN
        PERFORM qsessions._raise_cron_denied(initcap(left(SQLERRM, 1)) || substr(SQLERRM, 2) || '.');
    END;
END
$$;

COMMENT ON FUNCTION qsessions.unschedule_purge() IS
    'Removes the pg_cron job that purges this database. Returns whether there was one';
COMMENT ON FUNCTION qsessions._unschedule_purge() IS
    'Internal: removes the pg_cron jobs that purge this database, and returns their number';
