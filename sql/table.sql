-- The session table and its link to the users. create_session_table makes it for the role that
-- calls, and it is no member of the extension, so that pg_dump, ALTER TABLE, policies and
-- replication treat it as any other table.

CREATE OR REPLACE FUNCTION qsessions._collation_clause(attribute pg_attribute) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN coalesce((
        SELECT format(' COLLATE %I.%I', n.nspname, c.collname)
        FROM pg_type AS t
        JOIN pg_collation AS c ON c.oid = attribute.attcollation
        JOIN pg_namespace AS n ON n.oid = c.collnamespace
        WHERE t.oid = (qsessions._base_type(attribute.atttypid, -1)).type
          AND t.typcollation <> attribute.attcollation), '');
END
$$;

COMMENT ON FUNCTION qsessions._collation_clause(pg_attribute) IS
    'Internal: the COLLATE clause of a column; empty if the column has the collation of its base type';

CREATE OR REPLACE FUNCTION qsessions._base_type(declared oid, declared_typmod integer, OUT type oid, OUT typmod integer)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    domain pg_type;
BEGIN
    type := declared;
    typmod := declared_typmod;
    LOOP
        SELECT t.* INTO domain FROM pg_type AS t WHERE t.oid = type AND t.typtype = 'd';
        EXIT WHEN NOT FOUND;
        typmod := greatest(typmod, domain.typtypmod);
        type := domain.typbasetype;
    END LOOP;
END
$$;

COMMENT ON FUNCTION qsessions._base_type(oid, integer) IS
    'Internal: the type and length that a domain, or a domain of a domain, is made of; of any other type, the same';

-- These types keep a text as it is, or refuse it. Others would turn the id of one user into that of
-- another: real rounds, "char" and name cut, date drops the hour, oid wraps around, regclass looks
-- names up. Types of extensions have operators in other schemas, which functions with a pinned
-- search_path would not find.
CREATE OR REPLACE FUNCTION qsessions._is_user_key_type(type oid) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN type IN ('bigint'::regtype, 'integer'::regtype, 'smallint'::regtype, 'numeric'::regtype, 'uuid'::regtype,
                'text'::regtype, 'varchar'::regtype, 'bpchar'::regtype, 'bytea'::regtype);

COMMENT ON FUNCTION qsessions._is_user_key_type(oid) IS 'Internal: whether column user_id may have this type';

-- The type has no length: a conversion to varchar(5) would cut a longer text, and turn it into the
-- id of another user. format_type is given -1, since without a typmod it calls bpchar "character",
-- which SQL reads as character(1).
CREATE OR REPLACE FUNCTION qsessions._conversion_type(attribute pg_attribute) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    base oid;
BEGIN
    SELECT b.type INTO base FROM qsessions._base_type(attribute.atttypid, -1) AS b;
    RETURN format_type(base, -1) || qsessions._collation_clause(attribute);
END
$$;

COMMENT ON FUNCTION qsessions._conversion_type(pg_attribute) IS
    'Internal: the type, as SQL text, to which user ids are converted for a column';

CREATE OR REPLACE FUNCTION qsessions._user_key_column(
    users regclass, user_key name, OUT column_name name, OUT column_type text, OUT conversion_type text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    relation pg_class;
    primary_key smallint[];
    attribute pg_attribute;
    base oid;
    typmod integer;
BEGIN
    SELECT * INTO relation FROM pg_class WHERE oid = users;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'argument "users": there is no table with OID %', users::oid
            USING ERRCODE = 'undefined_table', HINT = 'Pass the name of the table, for example ''public.users''.';
    END IF;
    IF relation.relkind NOT IN ('r', 'p') THEN
        RAISE EXCEPTION 'argument "users": "%" is not a table', relation.relname
            USING ERRCODE = 'wrong_object_type',
                  HINT = 'A foreign key needs an ordinary or partitioned table. Pass the table behind the view.';
    END IF;
    IF relation.relpersistence <> 'p' THEN
        RAISE EXCEPTION 'argument "users": "%" is a temporary or unlogged table', relation.relname
            USING ERRCODE = 'wrong_object_type', HINT = 'A foreign key of a permanent table needs a permanent table.';
    END IF;

    IF user_key IS NULL THEN
        SELECT conkey INTO primary_key FROM pg_constraint WHERE conrelid = users AND contype = 'p';
        IF NOT FOUND THEN
            RAISE EXCEPTION 'argument "users": table "%" has no primary key', relation.relname
                USING ERRCODE = 'invalid_table_definition',
                      HINT = 'Add a primary key, or name a unique column with user_key => ''column''.';
        END IF;
        IF cardinality(primary_key) > 1 THEN
            RAISE EXCEPTION 'argument "users": the primary key of table "%" has % columns',
                    relation.relname, cardinality(primary_key)
                USING ERRCODE = 'invalid_table_definition',
                      HINT = 'Sessions refer to a user by one column. Name a unique column with user_key => ''column''.';
        END IF;
        SELECT * INTO attribute FROM pg_attribute WHERE attrelid = users AND attnum = primary_key[1];
    ELSE
        SELECT * INTO attribute FROM pg_attribute
        WHERE attrelid = users AND attname = user_key AND attnum > 0 AND NOT attisdropped;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'argument "user_key": table "%" has no column "%"', relation.relname, user_key
                USING ERRCODE = 'undefined_column', HINT = 'Name a column with a unique constraint, or leave user_key out for the primary key.';
        END IF;
        PERFORM FROM pg_index
        WHERE indrelid = users AND indisunique AND indisvalid AND indimmediate AND indnkeyatts = 1
          AND indkey[0] = attribute.attnum AND indpred IS NULL AND indexprs IS NULL;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'argument "user_key": column "%" of table "%" is not unique', user_key, relation.relname
                USING ERRCODE = 'invalid_foreign_key', HINT = 'Add a UNIQUE constraint, or leave user_key out for the primary key.';
        END IF;
    END IF;

    SELECT b.type, b.typmod INTO base, typmod FROM qsessions._base_type(attribute.atttypid, attribute.atttypmod) AS b;
    IF NOT qsessions._is_user_key_type(base) THEN
        RAISE EXCEPTION 'argument "user_key": column "%" of table "%" has type %, which user ids cannot be converted to exactly',
                attribute.attname, relation.relname, format_type(attribute.atttypid, NULL)
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'Name a unique column of type bigint, integer, smallint, numeric, uuid, text, varchar, char(n) or bytea with user_key => ''column''.';
    END IF;
    IF base = 'numeric'::regtype AND typmod >= 0 THEN
        RAISE EXCEPTION 'argument "user_key": column "%" of table "%" rounds what is written to it',
                attribute.attname, relation.relname
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'Name a unique column of type bigint, or of numeric without a precision, with user_key => ''column''.';
    END IF;

    -- Of a domain, the base type: the checks of a domain run with the rights of the role that
    -- writes a session, and the owner of the domain may change them.
    column_name := attribute.attname;
    column_type := format_type(base, typmod) || qsessions._collation_clause(attribute);
    conversion_type := qsessions._conversion_type(attribute);
END
$$;

COMMENT ON FUNCTION qsessions._user_key_column(regclass, name) IS
    'Internal: the column that sessions of a users table refer to, its type, and the type to which user ids are converted; raises an error if there is no suitable column';

-- The functions take user_id as text, and must compare it as the type of the column, or no index
-- serves them. The domain qsessions.user_key is a name for this type that does not change: WHERE
-- user_id = $1::qsessions.user_key.
--
-- The owner of a domain can add checks to it, which run with the rights of the role that converts a
-- value. If the domain belonged to the owner of the table, that role could have a superuser run its
-- code. So this function, which makes the domain, runs with the rights of the owner of the
-- extension. Any role may call it: it takes no argument, and it changes nothing as long as the
-- domain is what the column needs. One statement reads the column and the domain. Otherwise
-- link_users could commit in between, and the function would put the former domain back.
CREATE OR REPLACE FUNCTION qsessions._sync_user_key_type() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    present record;
BEGIN
    SELECT a AS attribute, b.type AS base, t.oid, t.typtype,
           t.typtype = 'd' AND t.typbasetype = b.type AND t.typcollation = a.attcollation
               AND t.typtypmod = -1 AND t.typowner = current_user::regrole AND NOT t.typnotnull
               AND t.typdefault IS NULL
               AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.contypid = t.oid) AS is_right
    INTO present
    FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'user_id' AND NOT a.attisdropped
    CROSS JOIN LATERAL qsessions._base_type(a.atttypid, -1) AS b
    LEFT JOIN pg_type AS t ON t.typnamespace = c.relnamespace AND t.typname = 'user_key'
    WHERE c.relnamespace = 'qsessions'::regnamespace AND c.relname = 'session' AND c.relkind IN ('r', 'p');
    IF present.base IS NULL OR NOT qsessions._is_user_key_type(present.base) THEN
        RAISE EXCEPTION 'table "qsessions.session" has no column "user_id" of a type to which user ids can be converted'
            USING ERRCODE = 'invalid_table_definition', HINT = 'Call qsessions.create_session_table(users) to make the table.';
    END IF;
    IF present.is_right THEN
        RETURN;
    END IF;
    IF present.oid IS NOT NULL THEN
        BEGIN
            EXECUTE format('DROP %s qsessions.user_key', CASE present.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END);
        EXCEPTION WHEN dependent_objects_still_exist THEN
            -- A view of any role can use the domain, and must not keep the table from getting
            -- another type. It keeps the former domain under another name.
            EXECUTE format('ALTER TYPE qsessions.user_key RENAME TO %I', 'former_user_key_' || present.oid);
        END;
    END IF;
    EXECUTE 'CREATE DOMAIN qsessions.user_key AS ' || qsessions._conversion_type(present.attribute);
    COMMENT ON DOMAIN qsessions.user_key IS
        'The type of qsessions.session.user_id; the functions of qsessions convert user ids by it';
END
$$;

COMMENT ON FUNCTION qsessions._sync_user_key_type() IS
    'Internal: gives the domain qsessions.user_key the type of column user_id of qsessions.session';

CREATE OR REPLACE FUNCTION qsessions.create_session_table(users regclass DEFAULT NULL, user_key name DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    key_column name;
    key_type text := 'text';
BEGIN
    IF NOT has_schema_privilege('qsessions', 'CREATE') THEN
        RAISE EXCEPTION 'permission denied to create the session table in schema qsessions'
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('A superuser can allow it: GRANT USAGE, CREATE ON SCHEMA qsessions TO %1$I; '
                                'GRANT EXECUTE ON FUNCTION qsessions._announce TO %1$I;', current_user);
    END IF;
    IF to_regclass('qsessions.session') IS NOT NULL THEN
        RAISE EXCEPTION 'table "qsessions.session" already exists'
            USING ERRCODE = 'duplicate_table',
                  HINT = 'Call qsessions.link_users(users) to link it to another users table.';
    END IF;
    IF users IS NULL AND user_key IS NOT NULL THEN
        RAISE EXCEPTION 'argument "user_key" must not be given without argument "users"'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass the users table as well.';
    END IF;
    IF users IS NOT NULL THEN
        SELECT k.column_name, k.column_type INTO key_column, key_type
        FROM qsessions._user_key_column(users, user_key) AS k;
    END IF;

    -- The fillfactor leaves room in the page for the next version of a row: an UPDATE that finds
    -- room, and changes no indexed column, stays HOT. Autovacuum removes what visits and purges
    -- leave, at 5 % of the table: by default it would wait until a fifth of it is dead.
    EXECUTE format($ddl$
        CREATE TABLE qsessions.session (
            id               uuid NOT NULL,
            digest           bytea NOT NULL,
            user_id          %s,
            data             jsonb NOT NULL DEFAULT '{}',
            ip               inet,
            user_agent       text,
            created_at       timestamptz NOT NULL DEFAULT now(),
            authenticated_at timestamptz,
            updated_at       timestamptz NOT NULL DEFAULT now(),
            last_seen_at     timestamptz NOT NULL DEFAULT now(),
            expires_at       timestamptz NOT NULL,
            idle_timeout     interval,
            deadline         timestamptz NOT NULL DEFAULT 'infinity',
            version          bigint NOT NULL DEFAULT 1,
            CONSTRAINT session_pkey PRIMARY KEY (id)
        ) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05)
        $ddl$, key_type);
    CREATE INDEX session_user_id_idx ON qsessions.session (user_id) WHERE user_id IS NOT NULL;
    CREATE INDEX session_created_at_id_idx ON qsessions.session (created_at, id);
    PERFORM qsessions._sync_user_key_type();
    CREATE TRIGGER session_announce_row AFTER UPDATE OR DELETE ON qsessions.session
        FOR EACH ROW EXECUTE FUNCTION qsessions._announce();
    CREATE TRIGGER session_announce_truncate AFTER TRUNCATE ON qsessions.session
        FOR EACH STATEMENT EXECUTE FUNCTION qsessions._announce();
    -- ALWAYS, because changes that logical replication applies change sessions too.
    ALTER TABLE qsessions.session ENABLE ALWAYS TRIGGER session_announce_row;
    ALTER TABLE qsessions.session ENABLE ALWAYS TRIGGER session_announce_truncate;
    PERFORM qsessions.update_session_table(rewrite => true);

    IF users IS NOT NULL THEN
        PERFORM qsessions._add_user_foreign_key(users, key_column);
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions.create_session_table(regclass, name) IS
    'Creates the table qsessions.session, owned by the caller. With users, column user_id has the type of the primary key of that table, or of its column user_key, and a foreign key ON UPDATE CASCADE ON DELETE CASCADE';

-- The columns that versions after 0.1.0 have added. A dump of an older version is restored with the
-- table as it was then, so this is a function and not only a part of the upgrade.
--
-- expires_hour of 0.1.0 is the hour of expires_at alone. All functions work with it too, only more
-- visits write indexes. A generated column cannot be changed without writing the table anew, and a
-- call that waits meanwhile would then find no session. So updates leave it as it is.
CREATE OR REPLACE FUNCTION qsessions.update_session_table(rewrite boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    taken text;
    grantee text;
    setting text;
BEGIN
    IF to_regclass('qsessions.session') IS NULL THEN
        RAISE EXCEPTION 'table "qsessions.session" does not exist'
            USING ERRCODE = 'undefined_table', HINT = 'Call qsessions.create_session_table(users) first.';
    END IF;
    SELECT a.attname INTO taken
    FROM pg_attribute AS a
    JOIN (VALUES ('client_hints', 'jsonb'::regtype), ('former_digest', 'bytea'), ('former_digest_until', 'timestamptz'),
                 ('purge_after', 'timestamptz'))
        AS added (name, type) ON a.attname = added.name
    WHERE a.attrelid = 'qsessions.session'::regclass AND NOT a.attisdropped AND a.atttypid <> added.type
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'column "%" of table "qsessions.session" has another type than qsessions needs', taken
            USING ERRCODE = 'duplicate_column',
                  HINT = format('Rename your column: ALTER TABLE qsessions.session RENAME COLUMN %1$I TO my_%1$I;', taken);
    END IF;
    ALTER TABLE qsessions.session
        ADD COLUMN IF NOT EXISTS client_hints jsonb,
        ADD COLUMN IF NOT EXISTS former_digest bytea,
        ADD COLUMN IF NOT EXISTS former_digest_until timestamptz,
        ADD COLUMN IF NOT EXISTS purge_after timestamptz;
    IF rewrite AND NOT EXISTS (
        SELECT FROM pg_attrdef AS d JOIN pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
        WHERE d.adrelid = 'qsessions.session'::regclass AND a.attname = 'expires_hour'
          AND pg_get_expr(d.adbin, d.adrelid) LIKE '%purge_after%')
    THEN
        PERFORM qsessions._add_expires_hour();
    END IF;
    -- As create_session_table does, unless the owner has chosen another value.
    FOR setting IN
        SELECT w.name FROM pg_class AS c
        CROSS JOIN unnest('{autovacuum_vacuum_scale_factor, autovacuum_analyze_scale_factor}'::text[]) AS w (name)
        WHERE c.oid = 'qsessions.session'::regclass AND c.relkind = 'r'
          AND NOT EXISTS (SELECT FROM pg_options_to_table(c.reloptions) AS o WHERE o.option_name = w.name)
    LOOP
        EXECUTE format('ALTER TABLE qsessions.session SET (%I = 0.05)', setting);
    END LOOP;

    COMMENT ON TABLE qsessions.session IS 'Sessions of an application, made by qsessions.create_session_table';
    COMMENT ON COLUMN qsessions.session.id IS 'Public id, safe in a URL or a log';
    COMMENT ON COLUMN qsessions.session.digest IS 'SHA-256 of the key; the key itself is not kept';
    COMMENT ON COLUMN qsessions.session.user_id IS 'User of the session; null if it is anonymous';
    COMMENT ON COLUMN qsessions.session.data IS 'Data of the application';
    COMMENT ON COLUMN qsessions.session.ip IS 'Last address seen';
    COMMENT ON COLUMN qsessions.session.user_agent IS
        'Last User-Agent seen, cut to qsessions.user_agent_max_length characters';
    COMMENT ON COLUMN qsessions.session.created_at IS 'Time of creation; never changes';
    COMMENT ON COLUMN qsessions.session.authenticated_at IS 'Time of the last login';
    COMMENT ON COLUMN qsessions.session.updated_at IS 'Time of the last change of data or user';
    COMMENT ON COLUMN qsessions.session.last_seen_at IS
        'Time of the last activity, as exact as qsessions.touch_interval';
    COMMENT ON COLUMN qsessions.session.expires_at IS 'From this time on, the session has expired';
    COMMENT ON COLUMN qsessions.session.idle_timeout IS
        'Each activity moves expires_at to this long after it; null for a fixed expiry';
    COMMENT ON COLUMN qsessions.session.deadline IS 'Latest possible expires_at';
    COMMENT ON COLUMN qsessions.session.version IS 'Increases by one with every change of data or user';
    COMMENT ON COLUMN qsessions.session.purge_after IS
        'An expires_at that the session had before; null if it has not moved since the last purge has looked';
    COMMENT ON COLUMN qsessions.session.expires_hour IS
        'Hour of expires_at or an earlier one, by which purges search';
    COMMENT ON COLUMN qsessions.session.client_hints IS 'Last client hints seen: the headers Sec-CH-UA-* by name';
    COMMENT ON COLUMN qsessions.session.former_digest IS
        'SHA-256 of the key before the last rotation, if that was with a grace';
    COMMENT ON COLUMN qsessions.session.former_digest_until IS 'Until then, the former key opens the session too';

    -- Roles that may write the columns of the older table.
    FOR grantee IN
        SELECT CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END
        FROM pg_attribute AS a, aclexplode(a.attacl) AS g
        WHERE a.attrelid = 'qsessions.session'::regclass AND a.attname = 'digest' AND g.privilege_type = 'UPDATE'
    LOOP
        EXECUTE format('GRANT UPDATE (client_hints, former_digest, former_digest_until, purge_after) ON qsessions.session TO %s', grantee);
    END LOOP;
    EXECUTE format('GRANT SELECT (%s) ON qsessions.session TO pg_monitor', qsessions._monitored_columns());
END
$$;

COMMENT ON FUNCTION qsessions.update_session_table(boolean) IS
    'Adds to the session table the columns that this version needs and an older version did not have. Updates of the extension call it; call it after a dump of an older version was restored. With rewrite, also replaces column expires_hour of an older version, after which fewer visits write indexes: this writes the table anew, and calls that wait meanwhile find no session';

-- Purges search by expires_hour. An index on expires_at would have every slide of the expiry write
-- all indexes. So would the hour of expires_at, for a session that is used once a day. But the row
-- of a session need not be found when it has not expired. So purge_after keeps the expires_at that a
-- purge has found last, and slides leave expires_hour as it is, until a purge comes to that hour and
-- moves the row on: once in an idle timeout. Whatever changes expires_at, an expired row has an
-- expires_hour that has passed.
CREATE OR REPLACE FUNCTION qsessions._add_expires_hour() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    grants text[];
    one text;
BEGIN
    SELECT array_agg(format('GRANT %s (expires_hour) ON qsessions.session TO %s%s', g.privilege_type,
                            CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END,
                            CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' END))
    INTO grants
    FROM pg_attribute AS a, aclexplode(a.attacl) AS g
    WHERE a.attrelid = 'qsessions.session'::regclass AND a.attname = 'expires_hour';
    -- IF EXISTS would print a notice for a new table.
    IF EXISTS (
        SELECT FROM pg_attribute AS a
        WHERE a.attrelid = 'qsessions.session'::regclass AND a.attname = 'expires_hour' AND NOT a.attisdropped)
    THEN
        ALTER TABLE qsessions.session DROP COLUMN expires_hour;
    END IF;
    ALTER TABLE qsessions.session ADD COLUMN expires_hour timestamptz NOT NULL GENERATED ALWAYS AS
        (date_bin('1 hour', LEAST(purge_after, expires_at), '2000-01-01 00:00:00+00')) STORED;
    CREATE INDEX session_expires_hour_id_idx ON qsessions.session (expires_hour, id);
    FOREACH one IN ARRAY coalesce(grants, '{}') LOOP
        EXECUTE one;
    END LOOP;
END
$$;

COMMENT ON FUNCTION qsessions._add_expires_hour() IS
    'Internal: adds column expires_hour to the session table, in place of that of an older version';

CREATE OR REPLACE FUNCTION qsessions._add_user_foreign_key(users regclass, key_column name) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format(
        'ALTER TABLE qsessions.session ADD CONSTRAINT session_user_id_fkey
         FOREIGN KEY (user_id) REFERENCES %s (%I) ON UPDATE CASCADE ON DELETE CASCADE', users, key_column);
END
$$;

COMMENT ON FUNCTION qsessions._add_user_foreign_key(regclass, name) IS
    'Internal: adds the foreign key of sessions to the users table';

CREATE OR REPLACE FUNCTION qsessions.link_users(users regclass, user_key name DEFAULT NULL) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    key_column name;
    key_type text;
    conversion_type text;
    present_type text;
    loses_something boolean;
BEGIN
    IF to_regclass('qsessions.session') IS NULL THEN
        RAISE EXCEPTION 'table "qsessions.session" does not exist'
            USING ERRCODE = 'undefined_table', HINT = 'Call qsessions.create_session_table(users) instead.';
    END IF;
    IF users IS NULL THEN
        PERFORM qsessions._raise_null('users');
    END IF;
    SELECT k.column_name, k.column_type, k.conversion_type INTO key_column, key_type, conversion_type
    FROM qsessions._user_key_column(users, user_key) AS k;
    SELECT format_type(a.atttypid, a.atttypmod) || qsessions._collation_clause(a) INTO present_type
    FROM pg_attribute AS a WHERE a.attrelid = 'qsessions.session'::regclass AND a.attname = 'user_id';

    -- Only the foreign key that these functions make. A foreign key of another name is the user's
    -- own.
    ALTER TABLE qsessions.session DROP CONSTRAINT IF EXISTS session_user_id_fkey;

    -- With the same type, the table needs no rewrite, and policies and views that use the column
    -- can stay.
    IF present_type <> key_type THEN
        BEGIN
            EXECUTE format(
                'SELECT EXISTS (SELECT FROM qsessions.session AS s WHERE s.user_id::text::%s <> s.user_id::text::%s::%s)',
                conversion_type, conversion_type, key_type) INTO loses_something;
            IF loses_something THEN
                RAISE EXCEPTION 'value too long for type %', key_type USING ERRCODE = 'string_data_right_truncation';
            END IF;
            EXECUTE format('ALTER TABLE qsessions.session ALTER COLUMN user_id TYPE %s USING user_id::text::%s',
                           key_type, conversion_type);
        EXCEPTION WHEN data_exception OR undefined_function OR cannot_coerce THEN
            RAISE EXCEPTION 'argument "users": the user_id of an existing session cannot be converted to %', key_type
                USING ERRCODE = SQLSTATE, DETAIL = initcap(left(SQLERRM, 1)) || substr(SQLERRM, 2) || '.',
                      HINT = 'Revoke or delete the sessions of users that the new table does not have, then call again.';
        END;
    END IF;
    -- Also with the same type, which repairs a domain that does not fit the column.
    PERFORM qsessions._sync_user_key_type();
    BEGIN
        PERFORM qsessions._add_user_foreign_key(users, key_column);
    EXCEPTION WHEN foreign_key_violation THEN
        RAISE EXCEPTION 'argument "users": a session belongs to a user that table "%" does not have', users
            USING ERRCODE = 'foreign_key_violation', DETAIL = initcap(left(SQLERRM, 1)) || substr(SQLERRM, 2) || '.',
                  HINT = 'Delete the sessions of such users, then call again.';
    END;
END
$$;

COMMENT ON FUNCTION qsessions.link_users(regclass, name) IS
    'Adds a foreign key from sessions to a users table, or replaces the one there is, and converts column user_id to the type of its key';
