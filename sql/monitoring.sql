-- What is monitored: numbers of sessions, and counters of what has happened.
--
-- No function here is SECURITY DEFINER: the table belongs to another role than the extension, and
-- its owner could have policies, indexes and triggers run with the rights of such a function. So
-- pg_monitor and other roles that monitor may read three columns of the table.

CREATE OR REPLACE FUNCTION qsessions.stats(exact boolean DEFAULT true) RETURNS qsessions.session_stats
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    main_bytes bigint;
    table_bytes bigint;
    index_bytes bigint;
    total bigint;
    expired bigint;
    anonymous bigint;
    users bigint;
    oldest record;
    counted qsessions.session_stats;
BEGIN
    -- The table may have partitions, or tables that inherit from it.
    WITH RECURSIVE parts AS (
        SELECT 'qsessions.session'::regclass AS id
        UNION
        SELECT i.inhrelid::regclass FROM pg_inherits AS i JOIN parts AS p ON i.inhparent = p.id
    )
    SELECT sum(pg_relation_size(p.id)), sum(pg_table_size(p.id)), sum(pg_indexes_size(p.id))
    INTO main_bytes, table_bytes, index_bytes
    FROM parts AS p;
    IF qsessions._is_distributed() THEN
        EXECUTE 'SELECT pg_catalog.citus_relation_size($1), pg_catalog.citus_table_size($1),
                        pg_catalog.citus_total_relation_size($1) - pg_catalog.citus_table_size($1)'
            INTO main_bytes, table_bytes, index_bytes USING 'qsessions.session'::regclass;
    END IF;

    -- A small table is counted in any case: that takes milliseconds, also if it was never analyzed.
    IF exact IS NOT FALSE OR main_bytes < 4 * 1024 * 1024 THEN
        SELECT count(*),
               count(*) FILTER (WHERE s.expires_at > now()),
               count(*) FILTER (WHERE s.expires_at <= now()),
               count(*) - count(s.user_id),
               count(s.user_id),
               count(DISTINCT s.user_id),
               min(s.expires_at) FILTER (WHERE s.expires_at <= now()),
               table_bytes,
               index_bytes
        INTO counted
        FROM qsessions.session AS s;
        RETURN counted;
    END IF;

    total := qsessions._estimate('SELECT FROM qsessions.session AS s');
    anonymous := least(total, qsessions._estimate('SELECT FROM qsessions.session AS s WHERE s.user_id IS NULL'));
    users := least(total - anonymous, qsessions._estimate(
        'SELECT FROM qsessions.session AS s WHERE s.user_id IS NOT NULL GROUP BY s.user_id'));
    SELECT o.* INTO oldest FROM qsessions._oldest_expired(1000) AS o;
    expired := oldest.expired;
    IF oldest.has_more THEN
        -- From the oldest expired row on. The statistics may be older than many purges, and then
        -- say that many rows have expired that are gone.
        expired := greatest(expired, qsessions._estimate(format(
            'SELECT FROM qsessions.session AS s WHERE s.expires_at >= %L AND s.expires_at <= now()',
            coalesce(oldest.expires_at, date_bin('1 hour', now(), '2000-01-01 00:00:00+00')))));
    END IF;
    expired := least(total, expired);
    RETURN ROW(total, total - expired, expired, anonymous, total - anonymous, users, oldest.expires_at,
               table_bytes, index_bytes);
END
$$;

COMMENT ON FUNCTION qsessions.stats(boolean) IS
    'Counts the sessions of each kind, and returns the size of the table and its indexes. Reads the whole table; with exact false, returns estimates of the planner in milliseconds, and oldest_expired_at to the hour';

CREATE OR REPLACE FUNCTION qsessions._estimate(query text) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    plan json;
    estimate numeric;
BEGIN
    -- The plan of the whole says nothing, because each shard has statistics of its own.
    IF strpos(query, 'qsessions.session ') > 0 AND qsessions._is_distributed() THEN
        RETURN (SELECT sum(r.estimate::bigint) FROM qsessions._run_on_shards(format(
            'SELECT qsessions._estimate(%L)', replace(replace(query, '%', '%%'), 'qsessions.session ', '%1$s '))) AS r (estimate));
    END IF;
    EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO plan;
    estimate := plan -> 0 -> 'Plan' ->> 'Plan Rows';
    -- The planner never says 0.
    RETURN CASE WHEN estimate > 1 THEN estimate ELSE 0 END;
END
$$;

COMMENT ON FUNCTION qsessions._estimate(text) IS
    'Internal: the number of rows that the planner expects of a query';

-- Reads no more than max_rows rows, in the order of the index, whatever the statistics of the table
-- say. In the present hour, there may be millions of rows that have not expired yet.
CREATE OR REPLACE FUNCTION qsessions._oldest_expired(
    max_rows integer, OUT expired bigint, OUT has_more boolean, OUT expires_at timestamptz)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
AS $$
#variable_conflict use_variable
BEGIN
    SELECT count(*) FILTER (WHERE o.expires_at <= now()), count(*) = max_rows,
           min(o.expires_at) FILTER (WHERE o.expires_at <= now())
    INTO expired, has_more, expires_at
    FROM (SELECT s.expires_at FROM qsessions.session AS s
          WHERE s.expires_hour <= now() ORDER BY s.expires_hour LIMIT max_rows) AS o;
END
$$;

COMMENT ON FUNCTION qsessions._oldest_expired(integer) IS
    'Internal: counts the expired sessions among the max_rows that expire first; has_more says that there may be more';

COMMENT ON FUNCTION qsessions.metrics() IS
    'Returns counters of what has happened in this database since the server started: committed changes, and every use of a key without a live session. Null if the library is not preloaded';
COMMENT ON FUNCTION qsessions._count(text, bigint) IS
    'Internal: adds to a counter of metrics, when the transaction commits or, for what ends in an error, at once; returns whether there are counters';

CREATE OR REPLACE FUNCTION qsessions._count_load_of_nothing(key text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    IF key IS NULL OR NOT qsessions._count('loads_of_nothing') THEN
        RETURN;
    END IF;
    PERFORM FROM qsessions.session AS s
    WHERE s.id = qsessions._find_session_id(key) AND s.digest = qsessions._key_digest(key) AND s.expires_at <= now();
    IF FOUND THEN
        PERFORM qsessions._count('expired');
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions._count_load_of_nothing(text) IS
    'Internal: counts that a key without a live session was used, and whether it was that of an expired one';

CREATE OR REPLACE FUNCTION qsessions._monitored_columns() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 'user_id, expires_at, expires_hour';

COMMENT ON FUNCTION qsessions._monitored_columns() IS 'Internal: the columns of the session table that stats reads';

-- Not with a standard body: pg_upgrade would create this function before those that it names.
CREATE OR REPLACE FUNCTION qsessions._monitoring_functions() RETURNS regprocedure[]
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT '{qsessions.metrics(), qsessions.invalidation_status(), qsessions.geoip_databases()}'::regprocedure[]
$$;

COMMENT ON FUNCTION qsessions._monitoring_functions() IS
    'Internal: the functions that monitoring needs and PUBLIC may not execute';

CREATE OR REPLACE FUNCTION qsessions.grant_monitoring(role regrole) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM qsessions._check_access_change(role);
    PERFORM qsessions._repeat_on_workers(format('qsessions.grant_monitoring(%L)', role::text));
    EXECUTE format('GRANT SELECT (%s) ON qsessions.session TO %s', qsessions._monitored_columns(), role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', array_to_string(qsessions._monitoring_functions(), ', '), role);
END
$$;

COMMENT ON FUNCTION qsessions.grant_monitoring(regrole) IS
    'Lets a role call stats, metrics, invalidation_status and geoip_databases, as members of pg_monitor can';

CREATE OR REPLACE FUNCTION qsessions.revoke_monitoring(role regrole) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM qsessions._check_access_change(role);
    PERFORM qsessions._repeat_on_workers(format('qsessions.revoke_monitoring(%L)', role::text));
    EXECUTE format('REVOKE SELECT (%s) ON qsessions.session FROM %s', qsessions._monitored_columns(), role);
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM %s', array_to_string(qsessions._monitoring_functions(), ', '), role);
END
$$;

COMMENT ON FUNCTION qsessions.revoke_monitoring(regrole) IS 'Revokes what grant_monitoring has granted';
