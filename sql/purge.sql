-- One batch, from a position on: purges that always began at the oldest row would wade through the index entries
-- of what they have just deleted. Rows that somebody has locked are left to the next purge.
--
-- A row that can't be deleted, because a foreign key of the user's own refers to it or a trigger refuses or skips it, is
-- passed over and counted as kept: one such row must not keep all others.
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
        SELECT n.gone, (SELECT count(*) FROM doomed) - n.gone, final.expires_hour, final.id
        INTO purged, kept, last_hour, last_id
        FROM (SELECT count(*) FROM gone) AS n (gone)
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
            USING DETAIL = coalesce(reason, 'A trigger of the table has kept them.'),
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
