
-- The last part of each upgrade. scripts/upgrade-scripts adds it.
DO $$
DECLARE
    table_owner pg_catalog.regrole;
BEGIN
    SELECT c.relowner INTO table_owner
    FROM pg_catalog.pg_class AS c WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass('qsessions.session');
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF pg_catalog.pg_has_role(table_owner, 'USAGE') THEN
        PERFORM qsessions.update_session_table();
    ELSE
        RAISE WARNING 'table "qsessions.session" was not updated'
            USING HINT = pg_catalog.format('Have role %s call qsessions.update_session_table() before sessions are used.',
                                           table_owner);
    END IF;
END
$$;
