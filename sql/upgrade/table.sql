
-- The last part of each upgrade. scripts/upgrade-scripts adds it.
DO $$
BEGIN
    -- Citus repeats the update on each server, but each change of the table must be made once, and the
    -- bodies for a distributed table have just been replaced by the plain ones.
    IF qsessions._is_distributed() THEN
        RAISE WARNING 'functions do not work with the distributed session table until it is distributed again'
            USING HINT = 'Call qsessions.distribute_session_table() on the coordinator.';
    ELSIF pg_catalog.to_regclass('qsessions.session') IS NOT NULL THEN
        PERFORM qsessions.update_session_table();
        -- PostgreSQL takes privileges that are granted during an upgrade for a part of the
        -- extension, and pg_dump would leave them out. The table is no member of the extension.
        DELETE FROM pg_catalog.pg_init_privs AS p
        WHERE p.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
          AND p.objoid OPERATOR(pg_catalog.=) 'qsessions.session'::pg_catalog.regclass;
    END IF;
END
$$;
