-- The first part of each upgrade. scripts/upgrade-scripts adds it.
--
-- The upgrade takes the strongest of its locks first. It waits here for transactions that have used
-- the session table, and holds nothing yet that one of them could wait for. Calls that begin from
-- now on wait until the upgrade has committed.
DO $$
BEGIN
    IF pg_catalog.to_regclass('qsessions.session') IS NOT NULL THEN
        LOCK TABLE qsessions.session IN ACCESS EXCLUSIVE MODE;
    END IF;
END
$$;

