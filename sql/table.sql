-- The session table is made on request and belongs to the caller. It is not a member of the extension, so that
-- pg_dump, ALTER TABLE, policies and replication treat it as any other table.

CREATE FUNCTION qsessions.collation_clause(attribute pg_attribute) RETURNS text
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

COMMENT ON FUNCTION qsessions.collation_clause(pg_attribute) IS
    'Internal: the COLLATE clause of a column, empty where its base type has that collation anyway';

-- A domain's base type, and the length that it or a domain below it has.
CREATE FUNCTION qsessions._base_type(declared oid, declared_typmod integer, OUT type oid, OUT typmod integer)
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

COMMENT ON FUNCTION qsessions._base_type(oid, integer) IS 'Internal: the type that a domain is made of';

-- Types that keep a text as it is, or refuse it. Others would make another user's id of one: real rounds, "char" and
-- name cut, date leaves out the hour, oid wraps around, regclass looks names up. Those of extensions bring
-- operators of their own, which functions with a pinned search_path would not find.
CREATE FUNCTION qsessions._is_user_key_type(type oid) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN type IN ('bigint'::regtype, 'integer'::regtype, 'smallint'::regtype, 'numeric'::regtype, 'uuid'::regtype,
                'text'::regtype, 'varchar'::regtype, 'bpchar'::regtype, 'bytea'::regtype);

COMMENT ON FUNCTION qsessions._is_user_key_type(oid) IS 'Internal: whether user_id may have this type';

-- As SQL text, and without a length: converting to varchar(5) would cut a longer text, and make it another user's id.
-- format_type says "character" where it is given no length at all, which SQL reads as character(1); of -1 it says bpchar.
CREATE FUNCTION qsessions._conversion_type(attribute pg_attribute) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    base oid;
BEGIN
    SELECT b.type INTO base FROM qsessions._base_type(attribute.atttypid, -1) AS b;
    RETURN format_type(base, -1) || qsessions.collation_clause(attribute);
END
$$;

COMMENT ON FUNCTION qsessions._conversion_type(pg_attribute) IS
    'Internal: the type by which user ids are converted for a column';

-- The column that user_id will refer to, its type as SQL text, and the type that user ids are converted by; raises
-- where the table has no single such column.
CREATE FUNCTION qsessions.user_key_column(
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
        RAISE EXCEPTION 'users: there is no table with OID %', users::oid
            USING ERRCODE = 'undefined_table', HINT = 'Pass the name of the table, for example ''public.users''.';
    END IF;
    IF relation.relkind NOT IN ('r', 'p') THEN
        RAISE EXCEPTION 'users: "%" is not a table', relation.relname
            USING ERRCODE = 'wrong_object_type',
                  HINT = 'A foreign key needs an ordinary or partitioned table; name the table behind the view.';
    END IF;
    IF relation.relpersistence <> 'p' THEN
        RAISE EXCEPTION 'users: "%" is a temporary or unlogged table', relation.relname
            USING ERRCODE = 'wrong_object_type', HINT = 'A foreign key of a permanent table needs a permanent table.';
    END IF;

    IF user_key IS NULL THEN
        SELECT conkey INTO primary_key FROM pg_constraint WHERE conrelid = users AND contype = 'p';
        IF NOT FOUND THEN
            RAISE EXCEPTION 'users: table "%" has no primary key', relation.relname
                USING ERRCODE = 'invalid_table_definition',
                      HINT = 'Add a primary key, or name a unique column with user_key => ''column''.';
        END IF;
        IF cardinality(primary_key) > 1 THEN
            RAISE EXCEPTION 'users: the primary key of table "%" has % columns', relation.relname, cardinality(primary_key)
                USING ERRCODE = 'invalid_table_definition',
                      HINT = 'A session belongs to a user by one column; name a unique column with user_key => ''column''.';
        END IF;
        SELECT * INTO attribute FROM pg_attribute WHERE attrelid = users AND attnum = primary_key[1];
    ELSE
        SELECT * INTO attribute FROM pg_attribute
        WHERE attrelid = users AND attname = user_key AND attnum > 0 AND NOT attisdropped;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'user_key: table "%" has no column "%"', relation.relname, user_key
                USING ERRCODE = 'undefined_column', HINT = 'Name a column with a unique constraint, or leave user_key out for the primary key.';
        END IF;
        PERFORM FROM pg_index
        WHERE indrelid = users AND indisunique AND indisvalid AND indimmediate AND indnkeyatts = 1
          AND indkey[0] = attribute.attnum AND indpred IS NULL AND indexprs IS NULL;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'user_key: column "%" of table "%" is not unique', user_key, relation.relname
                USING ERRCODE = 'invalid_foreign_key', HINT = 'Add a UNIQUE constraint on it, or leave user_key out for the primary key.';
        END IF;
    END IF;

    SELECT b.type, b.typmod INTO base, typmod FROM qsessions._base_type(attribute.atttypid, attribute.atttypmod) AS b;
    IF NOT qsessions._is_user_key_type(base) THEN
        RAISE EXCEPTION 'user_key: column "%" of table "%" has type %, by which sessions can''t be found',
                attribute.attname, relation.relname, format_type(attribute.atttypid, NULL)
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'Name a unique column of type bigint, integer, smallint, numeric, uuid, text, varchar, char(n) or bytea with user_key => ''column''.';
    END IF;
    IF base = 'numeric'::regtype AND typmod >= 0 THEN
        RAISE EXCEPTION 'user_key: column "%" of table "%" rounds what is written to it', attribute.attname, relation.relname
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'Name a unique column of type bigint, or of numeric without a precision, with user_key => ''column''.';
    END IF;

    -- Of a domain its base type: a domain's checks would run as whoever writes a session, and its owner may change them.
    column_name := attribute.attname;
    column_type := format_type(base, typmod) || qsessions.collation_clause(attribute);
    conversion_type := qsessions._conversion_type(attribute);
END
$$;

COMMENT ON FUNCTION qsessions.user_key_column(regclass, name) IS
    'Internal: the column of the users table that sessions refer to, and its type';

-- The functions take user_id as text and must compare it as what the column is, or no index serves them. A domain,
-- qsessions.user_key, gives that type a name that does not change: WHERE user_id = $1::qsessions.user_key.
--
-- Whoever owns a domain can add checks to it, which run as whoever calls a function; were this the caller's of
-- create_session_table, he would have superusers run what he wrote. So it is made with the rights of the extension's
-- owner, from nothing but the type that the column has: all may call this, and nobody gains by it.
CREATE FUNCTION qsessions._sync_user_key_type() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    attribute pg_attribute;
    present pg_type;
BEGIN
    SELECT a.* INTO attribute FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
    WHERE c.relnamespace = 'qsessions'::regnamespace AND c.relname = 'session' AND c.relkind IN ('r', 'p')
      AND a.attname = 'user_id' AND NOT a.attisdropped;
    IF NOT FOUND OR NOT qsessions._is_user_key_type((qsessions._base_type(attribute.atttypid, attribute.atttypmod)).type) THEN
        RAISE EXCEPTION 'table "qsessions.session" has no column "user_id" of a type by which sessions can be found'
            USING ERRCODE = 'invalid_table_definition', HINT = 'Call qsessions.create_session_table(users) to make the table.';
    END IF;
    SELECT * INTO present FROM pg_type WHERE oid = to_regtype('qsessions.user_key');
    IF FOUND THEN
        EXECUTE format('DROP %s qsessions.user_key', CASE present.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END);
    END IF;
    EXECUTE 'CREATE DOMAIN qsessions.user_key AS ' || qsessions._conversion_type(attribute);
    COMMENT ON DOMAIN qsessions.user_key IS
        'The type of qsessions.session.user_id; the functions of qsessions convert user ids by it';
END
$$;

COMMENT ON FUNCTION qsessions._sync_user_key_type() IS
    'Internal: makes the domain qsessions.user_key of the type of qsessions.session.user_id';

CREATE FUNCTION qsessions.create_session_table(users regclass DEFAULT NULL, user_key name DEFAULT NULL) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    key_column name;
    key_type text := 'text';
BEGIN
    IF to_regclass('qsessions.session') IS NOT NULL THEN
        RAISE EXCEPTION 'table "qsessions.session" already exists'
            USING ERRCODE = 'duplicate_table',
                  HINT = 'Call qsessions.link_users(users) to give it another users table.';
    END IF;
    IF NOT has_schema_privilege('qsessions', 'CREATE') THEN
        RAISE EXCEPTION 'permission denied to create the session table in schema qsessions'
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('A superuser can allow it: GRANT USAGE, CREATE ON SCHEMA qsessions TO %I;', current_user);
    END IF;
    IF users IS NULL AND user_key IS NOT NULL THEN
        RAISE EXCEPTION 'user_key: given without users'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass the users table as well.';
    END IF;
    IF users IS NOT NULL THEN
        SELECT k.column_name, k.column_type INTO key_column, key_type
        FROM qsessions.user_key_column(users, user_key) AS k;
    END IF;

    -- expires_hour is what purges search by. An index on expires_at itself would make every slide of the expiry write
    -- all indexes; the hour changes rarely, and an update that leaves it alone stays HOT, as the
    -- fillfactor leaves it room to.
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
            expires_hour     timestamptz NOT NULL GENERATED ALWAYS AS
                             (date_bin('1 hour', expires_at, '2000-01-01 00:00:00+00')) STORED,
            CONSTRAINT session_pkey PRIMARY KEY (id)
        ) WITH (fillfactor = 85)
        $ddl$, key_type);
    CREATE INDEX session_user_id_idx ON qsessions.session (user_id) WHERE user_id IS NOT NULL;
    CREATE INDEX session_expires_hour_id_idx ON qsessions.session (expires_hour, id);
    CREATE INDEX session_created_at_id_idx ON qsessions.session (created_at, id);
    PERFORM qsessions._sync_user_key_type();
    CREATE TRIGGER session_announce_row AFTER UPDATE OR DELETE ON qsessions.session
        FOR EACH ROW EXECUTE FUNCTION qsessions.announce();
    CREATE TRIGGER session_announce_truncate AFTER TRUNCATE ON qsessions.session
        FOR EACH STATEMENT EXECUTE FUNCTION qsessions.announce();
    -- ALWAYS: what logical replication applies changes sessions too.
    ALTER TABLE qsessions.session ENABLE ALWAYS TRIGGER session_announce_row;
    ALTER TABLE qsessions.session ENABLE ALWAYS TRIGGER session_announce_truncate;

    COMMENT ON TABLE qsessions.session IS 'Sessions of an application; made by qsessions.create_session_table';
    COMMENT ON COLUMN qsessions.session.id IS 'public; safe in a URL or a log';
    COMMENT ON COLUMN qsessions.session.digest IS 'SHA-256 of the key, which is kept nowhere';
    COMMENT ON COLUMN qsessions.session.user_id IS 'whose session it is; null = anonymous';
    COMMENT ON COLUMN qsessions.session.data IS 'what the application keeps';
    COMMENT ON COLUMN qsessions.session.ip IS 'last address seen';
    COMMENT ON COLUMN qsessions.session.user_agent IS 'last User-Agent seen, cut to qsessions.user_agent_max_length characters';
    COMMENT ON COLUMN qsessions.session.created_at IS 'never changes';
    COMMENT ON COLUMN qsessions.session.authenticated_at IS 'last login';
    COMMENT ON COLUMN qsessions.session.updated_at IS 'last save of data or user';
    COMMENT ON COLUMN qsessions.session.last_seen_at IS 'last activity, at the grain of qsessions.touch_interval';
    COMMENT ON COLUMN qsessions.session.expires_at IS 'dead from this instant on';
    COMMENT ON COLUMN qsessions.session.idle_timeout IS 'activity moves expires_at to now + this; null = fixed expiry';
    COMMENT ON COLUMN qsessions.session.deadline IS 'expires_at never passes it';
    COMMENT ON COLUMN qsessions.session.version IS '+1 at every save';
    COMMENT ON COLUMN qsessions.session.expires_hour IS 'the hour of expires_at, for purges';

    IF users IS NOT NULL THEN
        PERFORM qsessions.add_user_foreign_key(users, key_column);
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions.create_session_table(regclass, name) IS
    'Creates qsessions.session, owned by the caller; with users, user_id has the type of its key and a foreign key ON UPDATE CASCADE ON DELETE CASCADE';

CREATE FUNCTION qsessions.add_user_foreign_key(users regclass, key_column name) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format(
        'ALTER TABLE qsessions.session ADD CONSTRAINT session_user_id_fkey
         FOREIGN KEY (user_id) REFERENCES %s (%I) ON UPDATE CASCADE ON DELETE CASCADE', users, key_column);
END
$$;

COMMENT ON FUNCTION qsessions.add_user_foreign_key(regclass, name) IS 'Internal: the foreign key of session.user_id';

CREATE FUNCTION qsessions.link_users(users regclass, user_key name DEFAULT NULL) RETURNS void
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
        RAISE EXCEPTION 'users: must not be null'
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Pass the name of the users table.';
    END IF;
    SELECT k.column_name, k.column_type, k.conversion_type INTO key_column, key_type, conversion_type
    FROM qsessions.user_key_column(users, user_key) AS k;
    SELECT format_type(a.atttypid, a.atttypmod) || qsessions.collation_clause(a) INTO present_type
    FROM pg_attribute AS a WHERE a.attrelid = 'qsessions.session'::regclass AND a.attname = 'user_id';

    -- Only the one that was made here; a foreign key under another name is the user's own.
    ALTER TABLE qsessions.session DROP CONSTRAINT IF EXISTS session_user_id_fkey;

    -- The same type needs no rewrite of the table, and policies and views may stay.
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
            RAISE EXCEPTION 'users: a user_id of an existing session can''t become %', key_type
                USING ERRCODE = SQLSTATE, DETAIL = SQLERRM,
                      HINT = 'Revoke or delete the sessions of users that the new table does not know, then call again.';
        END;
        PERFORM qsessions._sync_user_key_type();
    END IF;
    BEGIN
        PERFORM qsessions.add_user_foreign_key(users, key_column);
    EXCEPTION WHEN foreign_key_violation THEN
        RAISE EXCEPTION 'users: a session belongs to a user that table "%" does not have', users
            USING ERRCODE = 'foreign_key_violation', DETAIL = SQLERRM,
                  HINT = 'Delete the sessions of such users, then call again.';
    END;
END
$$;

COMMENT ON FUNCTION qsessions.link_users(regclass, name) IS
    'Adds or replaces the foreign key of sessions to the users table, converting user_id to the type of its key';
