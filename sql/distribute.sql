-- A session table that Citus distributes over several servers. docs/citus.md describes it.
--
-- Citus is no dependency of the extension, so whatever it brings is called by EXECUTE. The plain
-- functions work with a distributed table wherever that costs one machine nothing, which
-- scripts/check-citus checks. The functions _distributed_… are bodies that take the place of a plain
-- function in a distributed database.

CREATE OR REPLACE FUNCTION qsessions._is_distributed() RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    is_distributed boolean := false;
BEGIN
    IF to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM pg_catalog.pg_dist_partition AS p
                                WHERE p.logicalrelid = to_regclass(''qsessions.session'') AND p.partmethod = ''h'')'
            INTO is_distributed;
    END IF;
    RETURN is_distributed;
END
$$;

COMMENT ON FUNCTION qsessions._is_distributed() IS 'Internal: whether Citus has distributed the session table';

CREATE OR REPLACE FUNCTION qsessions._check_citus() RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    version text;
    is_coordinator boolean;
BEGIN
    SELECT e.extversion INTO version FROM pg_extension AS e WHERE e.extname = 'citus';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'extension "citus" is not installed in this database'
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'Install Citus on all servers, run CREATE EXTENSION citus, and add the workers with citus_add_node. One server needs none of this.';
    END IF;
    IF substring(version FROM '^\d+')::integer < 13 THEN
        RAISE EXCEPTION 'qsessions needs version 13 of extension "citus" or later, but the database has version %', version
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'Update Citus on all servers, then run ALTER EXTENSION citus UPDATE.';
    END IF;
    EXECUTE 'SELECT l.groupid = 0 FROM pg_catalog.pg_dist_local_group AS l' INTO is_coordinator;
    IF is_coordinator IS NOT TRUE THEN
        RAISE EXCEPTION 'this server is not the coordinator'
            USING ERRCODE = 'feature_not_supported', HINT = 'Connect to the coordinator, and call the function there.';
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions._check_citus() IS
    'Internal: raises an error unless this server is the coordinator of a version of Citus that qsessions can work with';

CREATE OR REPLACE FUNCTION qsessions._run_on_workers(command text) RETURNS SETOF text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    node record;
BEGIN
    FOR node IN EXECUTE 'SELECT r.nodename, r.nodeport, r.success, r.result FROM pg_catalog.run_command_on_workers($1) AS r'
        USING command
    LOOP
        IF NOT node.success THEN
            RAISE EXCEPTION 'a command failed on server %:%', node.nodename, node.nodeport
                USING DETAIL = node.result, HINT = 'Correct this there, then call the function again, in a transaction of its own.';
        END IF;
        RETURN QUERY SELECT node.result;
    END LOOP;
END
$$;

COMMENT ON FUNCTION qsessions._run_on_workers(text) IS
    'Internal: executes a statement on each worker of Citus, in transactions of their own, and returns what it has returned';

CREATE OR REPLACE FUNCTION qsessions._run_on_shards(command text) RETURNS SETOF text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    shard record;
BEGIN
    FOR shard IN EXECUTE 'SELECT r.shardid, r.success, r.result FROM pg_catalog.run_command_on_shards($1, $2) AS r'
        USING 'qsessions.session'::regclass, command
    LOOP
        IF NOT shard.success THEN
            RAISE EXCEPTION 'a command failed on shard % of table "qsessions.session"', shard.shardid
                USING DETAIL = shard.result;
        END IF;
        RETURN QUERY SELECT shard.result;
    END LOOP;
END
$$;

COMMENT ON FUNCTION qsessions._run_on_shards(text) IS
    'Internal: executes a statement for each shard of the session table, with the name of the shard in place of %s, and returns what it has returned';

-- Only members of the extension count: another role may be allowed to create functions in the
-- schema, and this runs with the rights of a superuser.
CREATE OR REPLACE FUNCTION qsessions._use_distributed_bodies() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    body record;
    head text;
    propagation text := current_setting('citus.enable_ddl_propagation', true);
BEGIN
    IF propagation IS NOT NULL THEN
        PERFORM set_config('citus.enable_ddl_propagation', 'off', true);
    END IF;
    FOR body IN
        SELECT p.proname, pg_get_functiondef(p.oid) AS definition
        FROM pg_proc AS p
        JOIN pg_depend AS d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass
             AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
        JOIN pg_extension AS e ON e.oid = d.refobjid
        WHERE p.pronamespace = 'qsessions'::regnamespace AND starts_with(p.proname, '_distributed_')
          AND e.extname = 'qsessions'
    LOOP
        head := format('CREATE OR REPLACE FUNCTION qsessions.%I(', body.proname);
        IF NOT starts_with(body.definition, head) THEN
            RAISE EXCEPTION 'function "%" has an unknown form', body.proname;
        END IF;
        EXECUTE format('CREATE OR REPLACE FUNCTION qsessions.%I(', substr(body.proname, length('_distributed_') + 1))
                || substr(body.definition, length(head) + 1);
    END LOOP;
    IF propagation IS NOT NULL THEN
        PERFORM set_config('citus.enable_ddl_propagation', propagation, true);
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions._use_distributed_bodies() IS
    'Internal: replaces the bodies of functions by those for a distributed table, in this server';

-- The domain is no member of the extension, and no column has it, so Citus need not have created it
-- on a server that was added later.
CREATE OR REPLACE FUNCTION qsessions._prepare_worker(key_type regtype, key_collation regcollation) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '10s'
AS $$
#variable_conflict use_variable
DECLARE
    propagation text := current_setting('citus.enable_ddl_propagation', true);
BEGIN
    IF propagation IS NOT NULL THEN
        PERFORM set_config('citus.enable_ddl_propagation', 'off', true);
    END IF;
    IF to_regtype('qsessions.user_key') IS NULL THEN
        EXECUTE concat('CREATE DOMAIN qsessions.user_key AS ', format_type(key_type, -1), ' COLLATE ' || key_collation::text);
    END IF;
    PERFORM qsessions._use_distributed_bodies();
    IF propagation IS NOT NULL THEN
        PERFORM set_config('citus.enable_ddl_propagation', propagation, true);
    END IF;
    RETURN format_type((SELECT t.typbasetype FROM pg_type AS t WHERE t.oid = to_regtype('qsessions.user_key')), -1);
END
$$;

COMMENT ON FUNCTION qsessions._prepare_worker(regtype, regcollation) IS
    'Internal: what distribute_session_table does on each worker; returns the base type of the domain qsessions.user_key there';

CREATE OR REPLACE FUNCTION qsessions._check_workers() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    version text;
    of_workers text;
BEGIN
    SELECT e.extversion INTO version FROM pg_extension AS e WHERE e.extname = 'qsessions';
    SELECT string_agg(DISTINCT coalesce(nullif(w.version, ''), 'none'), ', ') INTO of_workers
    FROM qsessions._run_on_workers(
        'SELECT coalesce(max(e.extversion), '''') FROM pg_catalog.pg_extension AS e WHERE e.extname = ''qsessions''') AS w (version);
    IF of_workers IS NULL THEN
        RAISE EXCEPTION 'there are no workers of Citus'
            USING ERRCODE = 'feature_not_supported', HINT = 'Add them with citus_add_node.';
    END IF;
    IF of_workers <> version THEN
        RAISE EXCEPTION 'the workers do not all have version % of extension "qsessions", but: %', version, of_workers
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'Install this version of qsessions on all servers. Citus creates and updates the extension on them when that is done on the coordinator.';
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions._check_workers() IS
    'Internal: raises an error unless there are workers and each has the version of the extension that this server has';

CREATE OR REPLACE FUNCTION qsessions.distribute_session_table(shard_count integer DEFAULT NULL) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    key_type text;
    key_collation regcollation;
    other_type text;
BEGIN
    IF NOT pg_has_role((SELECT e.extowner FROM pg_extension AS e WHERE e.extname = 'qsessions'), 'USAGE') THEN
        RAISE EXCEPTION 'permission denied to distribute the session table'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Have the owner of the extension call the function.';
    END IF;
    PERFORM qsessions._check_citus();
    IF to_regclass('qsessions.session') IS NULL THEN
        RAISE EXCEPTION 'table "qsessions.session" does not exist'
            USING ERRCODE = 'undefined_table', HINT = 'Call qsessions.create_session_table(users) first.';
    END IF;
    IF to_regclass('qsessions.session_event') IS NOT NULL THEN
        RAISE EXCEPTION 'the session table cannot be distributed while there is a table of events'
            USING ERRCODE = 'feature_not_supported', HINT = 'Drop table qsessions.session_event first, or use one server.';
    END IF;
    PERFORM qsessions._check_workers();

    -- First, because commands on the workers run in transactions of their own, which would not see
    -- what this one has not committed.
    SELECT format_type(b.type, -1), nullif(a.attcollation, t.typcollation) INTO key_type, key_collation
    FROM pg_attribute AS a
    CROSS JOIN LATERAL qsessions._base_type(a.atttypid, -1) AS b
    JOIN pg_type AS t ON t.oid = b.type
    WHERE a.attrelid = 'qsessions.session'::regclass AND a.attname = 'user_id';
    SELECT w.type INTO other_type
    FROM qsessions._run_on_workers(format('SELECT qsessions._prepare_worker(%L, %L)', key_type, key_collation::text)) AS w (type)
    WHERE w.type <> key_type;
    IF FOUND THEN
        RAISE EXCEPTION 'domain "qsessions.user_key" has type % on a worker, but column "user_id" has type %', other_type, key_type
            USING ERRCODE = 'datatype_mismatch', HINT = 'Drop the domain on that worker, then call the function again.';
    END IF;
    PERFORM qsessions._use_distributed_bodies();

    IF qsessions._is_distributed() THEN
        PERFORM set_config('citus.multi_shard_modify_mode', 'sequential', true);
        PERFORM qsessions.update_session_table();
    ELSE
        PERFORM qsessions._distribute(shard_count);
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions.distribute_session_table(integer) IS
    'Distributes the session table over the workers of Citus, by id, and makes the users table a reference table. Call it on the coordinator, and again after each update of the extension and after a worker was added';

-- The foreign key is dropped and added again, because a users table to which a local table refers
-- cannot become a reference table.
CREATE OR REPLACE FUNCTION qsessions._distribute(shard_count integer) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    users regclass;
    key_column name;
    method "char";
BEGIN
    PERFORM set_config('citus.enable_unsafe_triggers', 'on', true);
    PERFORM set_config('citus.multi_shard_modify_mode', 'sequential', true);
    SELECT k.confrelid, a.attname INTO users, key_column
    FROM pg_constraint AS k JOIN pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = k.confkey[1]
    WHERE k.conrelid = 'qsessions.session'::regclass AND k.conname = 'session_user_id_fkey' AND k.contype = 'f';
    IF users IS NOT NULL THEN
        EXECUTE 'SELECT p.partmethod FROM pg_catalog.pg_dist_partition AS p WHERE p.logicalrelid = $1' INTO method USING users;
        IF method <> 'n' THEN
            RAISE EXCEPTION 'table "%" is distributed, but sessions can refer only to a reference table', users
                USING ERRCODE = 'feature_not_supported',
                      HINT = 'Call undistribute_table and create_reference_table for it, or drop the foreign key "session_user_id_fkey".';
        END IF;
        ALTER TABLE qsessions.session DROP CONSTRAINT session_user_id_fkey;
        IF method IS NULL THEN
            EXECUTE 'SELECT pg_catalog.create_reference_table($1)' USING users;
        END IF;
    END IF;
    EXECUTE 'SELECT pg_catalog.create_distributed_table($1, ''id'', colocate_with => ''none'', shard_count => $2)'
        USING 'qsessions.session'::regclass, shard_count;
    IF users IS NOT NULL THEN
        PERFORM qsessions._add_user_foreign_key(users, key_column);
    END IF;
    -- From now on, other servers announce changes. A cache that has listened to this one drops all.
    PERFORM pg_notify(qsessions.invalidation_channel(), '*');
END
$$;

COMMENT ON FUNCTION qsessions._distribute(integer) IS
    'Internal: has Citus distribute the session table, with the users table as a reference table';

-- Citus propagates privileges on tables, but those on functions of an extension stay in the server.
-- The caller has not changed privileges on the table yet: Citus would have changed them on the
-- workers in its transaction, for which these calls, in transactions of their own, would wait. If the
-- caller's transaction has changed the table before, they fail instead of waiting for ever.
CREATE OR REPLACE FUNCTION qsessions._repeat_on_workers(call text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    is_coordinator boolean;
BEGIN
    IF NOT qsessions._is_distributed() THEN
        RETURN;
    END IF;
    -- A worker executes the call too.
    EXECUTE 'SELECT l.groupid = 0 FROM pg_catalog.pg_dist_local_group AS l' INTO is_coordinator;
    IF is_coordinator THEN
        -- run_command_on_workers accepts one column.
        PERFORM FROM qsessions._run_on_workers(concat(
            'SELECT pg_catalog.concat(pg_catalog.set_config(''citus.enable_ddl_propagation'', ''off'', true),
                                      pg_catalog.set_config(''lock_timeout'', ''10s'', true), ', call, ')'));
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions._repeat_on_workers(text) IS
    'Internal: repeats a call that changes privileges on functions on each worker, if the session table is distributed';

-- Each shard is purged by itself, by its server. Plans are those of _lock_expired and _lock_passed in
-- purge.sql.
CREATE OR REPLACE FUNCTION qsessions._purge_relation(relation regclass, batch_size integer) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET jit = off
AS $$
#variable_conflict use_variable
DECLARE
    purged bigint;
BEGIN
    EXECUTE format(
        'DELETE FROM ONLY %1$s AS s WHERE s.ctid = ANY (ARRAY(
             SELECT e.ctid FROM ONLY %1$s AS e WHERE e.expires_hour <= now() AND e.expires_at <= now()
             ORDER BY e.expires_hour, e.id LIMIT $1 FOR UPDATE SKIP LOCKED))', relation)
        USING batch_size;
    GET DIAGNOSTICS purged = ROW_COUNT;
    IF purged < batch_size AND has_column_privilege(relation, 'purge_after', 'UPDATE') THEN
        EXECUTE format(
            'UPDATE ONLY %1$s AS s SET purge_after = NULL WHERE s.ctid = ANY (ARRAY(
                 SELECT e.ctid FROM ONLY %1$s AS e
                 WHERE e.expires_hour <= now() - interval ''1 hour'' AND e.expires_at > now()
                 ORDER BY e.expires_hour, e.id LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED))', relation)
            USING least(batch_size, 1000);
    END IF;
    RETURN purged;
END
$$;

COMMENT ON FUNCTION qsessions._purge_relation(regclass, integer) IS
    'Internal: deletes up to batch_size expired sessions of one shard, except those that are locked, and returns their number';

CREATE OR REPLACE FUNCTION qsessions._purge_shards(batch_size integer) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    shards bigint;
    purged bigint;
BEGIN
    PERFORM qsessions._check_batch_size(batch_size);
    EXECUTE 'SELECT count(*) FROM pg_catalog.pg_dist_shard AS d WHERE d.logicalrelid = $1'
        INTO shards USING 'qsessions.session'::regclass;
    SELECT coalesce(sum(r.purged::bigint), 0) INTO purged
    FROM qsessions._run_on_shards(format(
        'SELECT qsessions._purge_relation(''%%s'', %s)', greatest(1, batch_size / greatest(1, shards)))) AS r (purged);
    PERFORM qsessions._count('purged', purged);
    RETURN purged;
END
$$;

COMMENT ON FUNCTION qsessions._purge_shards(integer) IS
    'Internal: deletes up to batch_size expired sessions, with a part of the batch on each shard, in transactions of their own; returns their number';
