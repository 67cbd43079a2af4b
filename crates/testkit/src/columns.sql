-- Adds a column to the session table for every name of an argument, a result column or a local
-- variable of the functions, with its type. Such columns must not affect the functions.
DO $columns$
DECLARE
    found pg_catalog.record;
BEGIN
    FOR found IN
        WITH functions AS (
            SELECT p.prosrc, p.proargnames, coalesce(p.proallargtypes, p.proargtypes::oid[]) AS types
            FROM pg_proc AS p WHERE p.pronamespace = 'qsessions'::regnamespace
        ), arguments AS (
            SELECT a.name, format_type(a.type, NULL) AS type
            FROM functions AS f, unnest(f.proargnames, f.types) AS a (name, type)
        ), locals AS (
            SELECT l.found[1] AS name, l.found[2] AS type
            FROM functions AS f,
                 substring(f.prosrc FROM 'DECLARE(.*?)\nBEGIN') AS declared,
                 regexp_matches(declared, '^\s+(\w+) (?:CONSTANT )?([\w.]+(?:\[\])?)(?:;| :=.*$)', 'gn') AS l (found)
        )
        SELECT n.name, max(n.type) AS type
        FROM (SELECT * FROM arguments UNION SELECT * FROM locals) AS n
        WHERE n.name <> ''
        GROUP BY n.name
    LOOP
        BEGIN
            EXECUTE format('ALTER TABLE qsessions.session ADD COLUMN IF NOT EXISTS %I %s', found.name, found.type);
        EXCEPTION WHEN invalid_table_definition OR syntax_error OR undefined_object THEN
            -- A column cannot have some types, such as record.
            EXECUTE format('ALTER TABLE qsessions.session ADD COLUMN %I text', found.name);
        END;
    END LOOP;
END
$columns$;
