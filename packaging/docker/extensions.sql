-- Runs once, in the new database of POSTGRES_DB. pg_cron can only be created in the database that
-- cron.database_name names; qsessions finds it there.
CREATE EXTENSION qsessions;
SELECT current_setting('cron.database_name', true) AS cron_database,
       current_setting('cron.database_name', true) IS NOT NULL AS has_cron \gset
\if :has_cron
    \connect :"cron_database"
    CREATE EXTENSION pg_cron;
\endif
