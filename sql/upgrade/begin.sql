-- The first part of each upgrade. scripts/upgrade-scripts adds it.

-- A backend keeps the library that it has loaded, even if the file is replaced. If the library is
-- preloaded, there are no such backends: schema.sql refuses the upgrade before the restart.
DO $$
DECLARE
    older pg_catalog.int8;
BEGIN
    SELECT pg_catalog.count(*) INTO older
    FROM pg_catalog.pg_config AS c
    CROSS JOIN LATERAL pg_catalog.pg_stat_file(pg_catalog.concat(c.setting, '/qsessions.so'), true) AS library
    JOIN pg_catalog.pg_stat_activity AS a ON a.backend_start OPERATOR(pg_catalog.<) library.change
    WHERE c.name OPERATOR(pg_catalog.=) 'PKGLIBDIR' AND a.backend_type OPERATOR(pg_catalog.=) 'client backend'
      AND a.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
      AND a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid();
    IF older OPERATOR(pg_catalog.>) 0 THEN
        RAISE WARNING 'number of connections to this database that are older than the file of the library of qsessions: %', older
            USING DETAIL = 'If such a connection has loaded the library of the former version, calls on it fail after the update.',
                  HINT = 'Close these connections, or restart the server.';
    END IF;
END
$$;

-- The upgrade takes the strongest of its locks first. It waits here for transactions that have used
-- the session table, and holds nothing yet that one of them could wait for. Calls that begin from
-- now on wait until the upgrade has committed.
DO $$
DECLARE
    is_distributed pg_catalog.bool := false;
BEGIN
    -- Citus executes the upgrade on each server, and would lock a table on all of them for each.
    IF pg_catalog.to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM pg_catalog.pg_dist_partition AS p
                                WHERE p.logicalrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(''qsessions.session''))'
            INTO is_distributed;
    END IF;
    IF pg_catalog.to_regclass('qsessions.session') IS NOT NULL AND NOT is_distributed THEN
        LOCK TABLE qsessions.session IN ACCESS EXCLUSIVE MODE;
    END IF;
END
$$;

