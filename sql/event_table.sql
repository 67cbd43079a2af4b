-- The table of events and its months. It is no member of the extension, like the session table.

CREATE OR REPLACE FUNCTION qsessions.create_event_table(retention interval DEFAULT '180 days') RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
#variable_conflict use_variable
DECLARE
    session_owner regrole;
    month timestamptz;
    grantee text;
BEGIN
    IF to_regclass('qsessions.session') IS NULL THEN
        RAISE EXCEPTION 'table "qsessions.session" does not exist'
            USING ERRCODE = 'undefined_table', HINT = 'Call qsessions.create_session_table(users) first.';
    END IF;
    SELECT c.relowner INTO session_owner FROM pg_class AS c WHERE c.oid = 'qsessions.session'::regclass;
    IF NOT pg_has_role(session_owner, 'USAGE') OR NOT has_schema_privilege('qsessions', 'CREATE') THEN
        RAISE EXCEPTION 'permission denied to create the event table'
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('Have role %s call the function, which owns the session table.', session_owner);
    END IF;
    IF qsessions._is_distributed() THEN
        RAISE EXCEPTION 'a distributed session table cannot have a table of events'
            USING ERRCODE = 'feature_not_supported', HINT = 'Record logins in the application.';
    END IF;
    IF to_regclass('qsessions.session_event') IS NOT NULL THEN
        RAISE EXCEPTION 'table "qsessions.session_event" already exists'
            USING ERRCODE = 'duplicate_table',
                  HINT = 'To change how long events are kept: UPDATE qsessions.session_event_retention SET retention = ''1 year'';';
    END IF;
    IF retention <= interval '0' OR retention > interval '1000 years' THEN
        RAISE EXCEPTION 'argument "retention" must be longer than zero and not longer than 1000 years'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Pass an interval such as ''180 days'', or null to keep events for ever.';
    END IF;

    -- No foreign keys: events outlive sessions and users. No CHECK of event and revoked_by:
    -- PostgreSQL reads such a constraint anew for each INSERT, which takes as long as all the rest
    -- of the INSERT.
    CREATE TABLE qsessions.session_event (
        at            timestamptz NOT NULL DEFAULT clock_timestamp(),
        event         text NOT NULL,
        revoked_by    text,
        session_id    uuid NOT NULL,
        user_id       text,
        ip            inet,
        user_agent    text,
        client_hints  jsonb,
        is_new_device boolean,
        is_new_place  boolean,
        device_key    text,
        place_key     text
    ) PARTITION BY RANGE (at);
    CREATE INDEX session_event_user_id_at_idx ON qsessions.session_event (user_id, at DESC) WHERE user_id IS NOT NULL;
    -- The table has no primary key, which a subscriber needs for what is deleted or moved here.
    ALTER TABLE qsessions.session_event REPLICA IDENTITY FULL;
    -- Events of months that have no partition.
    CREATE TABLE qsessions.session_event_default PARTITION OF qsessions.session_event DEFAULT;
    ALTER TABLE qsessions.session_event_default REPLICA IDENTITY FULL;
    COMMENT ON TABLE qsessions.session_event IS 'What has happened to sessions, made by qsessions.create_event_table';
    COMMENT ON TABLE qsessions.session_event_default IS 'Events of months that have no partition';
    COMMENT ON COLUMN qsessions.session_event.at IS 'Time of the event';
    COMMENT ON COLUMN qsessions.session_event.event IS
        'login, rotated (the key), logout, revoked, expired (and deleted by a purge), imported, or deleted by other means';
    COMMENT ON COLUMN qsessions.session_event.revoked_by IS
        'Of a revocation: user, administrator, or limit (max_sessions of a login)';
    COMMENT ON COLUMN qsessions.session_event.session_id IS 'Public id of the session';
    COMMENT ON COLUMN qsessions.session_event.user_id IS 'User of the session as text; null if it was anonymous';
    COMMENT ON COLUMN qsessions.session_event.ip IS 'Last address seen';
    COMMENT ON COLUMN qsessions.session_event.user_agent IS 'Last User-Agent seen';
    COMMENT ON COLUMN qsessions.session_event.client_hints IS 'Last client hints seen';
    COMMENT ON COLUMN qsessions.session_event.is_new_device IS
        'Of a login: whether the user had not logged in from this device before; null if the device is unknown';
    COMMENT ON COLUMN qsessions.session_event.is_new_place IS
        'Of a login: whether the user had not logged in from this place before; null if the place is unknown';
    COMMENT ON COLUMN qsessions.session_event.device_key IS
        'Of a login: what the same device is recognized by (browser, system and model without versions)';
    COMMENT ON COLUMN qsessions.session_event.place_key IS
        'Of a login: what the same place is recognized by (city and country)';

    CREATE TABLE qsessions.session_event_retention (
        retention interval CHECK (retention > interval '0' AND retention <= interval '1000 years'),
        is_only   boolean PRIMARY KEY DEFAULT true CHECK (is_only)
    );
    INSERT INTO qsessions.session_event_retention (retention) VALUES (retention);
    COMMENT ON TABLE qsessions.session_event_retention IS 'How long events are kept: one row';
    COMMENT ON COLUMN qsessions.session_event_retention.retention IS
        'CALL qsessions.purge() drops months that ended longer ago; null keeps events for ever';
    COMMENT ON COLUMN qsessions.session_event_retention.is_only IS 'Keeps the table at one row';

    -- Devices and places that users have logged in from. A login asks for two rows by the primary
    -- key, which costs less than a search in the partitions, and is exact under concurrent logins.
    CREATE TABLE qsessions.session_event_known (
        user_id text NOT NULL,
        key     text NOT NULL,
        last_on date NOT NULL DEFAULT current_date,
        PRIMARY KEY (user_id, key)
    ) WITH (fillfactor = 90);
    COMMENT ON TABLE qsessions.session_event_known IS 'Devices and places that users have logged in from';
    COMMENT ON COLUMN qsessions.session_event_known.user_id IS 'User, as text';
    COMMENT ON COLUMN qsessions.session_event_known.key IS 'device_key or place_key of a login';
    COMMENT ON COLUMN qsessions.session_event_known.last_on IS 'Day of the last such login, to 30 days';

    FOR month IN SELECT m FROM generate_series(date_trunc('month', now()), now() + interval '2 months', interval '1 month') AS m LOOP
        PERFORM qsessions._add_event_month(month);
    END LOOP;

    CREATE OR REPLACE TRIGGER session_record_deletions AFTER DELETE ON qsessions.session
        REFERENCING OLD TABLE AS deleted_sessions
        FOR EACH STATEMENT EXECUTE FUNCTION qsessions._record_deletions();

    -- Roles that may create sessions: those of grant_access, and the owner of the session table,
    -- whose rights cascades from the users table have.
    FOR grantee IN
        SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
        FROM pg_class AS c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) AS a
        WHERE c.oid = 'qsessions.session'::regclass AND a.privilege_type = 'INSERT' AND a.grantee <> current_user::regrole
    LOOP
        PERFORM qsessions._grant_events(grantee);
    END LOOP;
END
$$;

COMMENT ON FUNCTION qsessions.create_event_table(interval) IS
    'Creates the table qsessions.session_event, owned by the caller, in which logins and ends of sessions are recorded from then on. CALL qsessions.purge() drops events that are older than retention; null keeps them for ever';

CREATE OR REPLACE FUNCTION qsessions._grant_events(grantee text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format('GRANT SELECT, INSERT ON qsessions.session_event, qsessions.session_event_known TO %s', grantee);
    EXECUTE format('GRANT UPDATE (last_on) ON qsessions.session_event_known TO %s', grantee);
END
$$;

COMMENT ON FUNCTION qsessions._grant_events(text) IS 'Internal: grants a role, as SQL text, what recording events takes';

-- A partition that is made beside the table and attached to it does not hold up inserts into other
-- partitions. Rows of the month that are in the default partition move to it.
CREATE OR REPLACE FUNCTION qsessions._add_event_month(month timestamptz) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
#variable_conflict use_variable
DECLARE
    next_month timestamptz := month + interval '1 month';
    name text := format('session_event_%s', to_char(month, 'YYYY_MM'));
    table_owner regrole;
BEGIN
    SELECT c.relowner INTO table_owner FROM pg_class AS c WHERE c.oid = 'qsessions.session_event'::regclass;
    EXECUTE format('CREATE TABLE qsessions.%I (LIKE qsessions.session_event INCLUDING ALL)', name);
    EXECUTE format('ALTER TABLE qsessions.%I REPLICA IDENTITY FULL', name);
    IF table_owner <> current_user::regrole THEN
        EXECUTE format('ALTER TABLE qsessions.%I OWNER TO %s', name, table_owner);
    END IF;
    IF to_regclass('qsessions.session_event_default') IS NOT NULL THEN
        -- The lock that ATTACH takes, before the rows are read: no other row can come.
        LOCK TABLE qsessions.session_event_default IN ACCESS EXCLUSIVE MODE;
        EXECUTE format(
            'WITH moved AS (DELETE FROM qsessions.session_event_default AS e WHERE e.at >= %L AND e.at < %L RETURNING e.*)
             INSERT INTO qsessions.%I SELECT m.* FROM moved AS m', month, next_month, name);
    END IF;
    EXECUTE format('ALTER TABLE qsessions.session_event ATTACH PARTITION qsessions.%I FOR VALUES FROM (%L) TO (%L)',
                   name, month, next_month);
END
$$;

COMMENT ON FUNCTION qsessions._add_event_month(timestamptz) IS
    'Internal: adds the partition of a month to the event table';

-- Months are added and dropped under locks that logins wait for. The function waits for such a lock
-- for a moment only, and then leaves the rest to the next purge. It locks nothing if there is
-- nothing to do.
CREATE OR REPLACE FUNCTION qsessions._maintain_event_table() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
SET lock_timeout = '100ms'
AS $$
#variable_conflict use_variable
DECLARE
    table_owner regrole;
    oldest timestamptz := '-infinity';
    last_month timestamptz := date_trunc('month', now()) + interval '2 months';
    has_default boolean := to_regclass('qsessions.session_event_default') IS NOT NULL;
    has_forgotten boolean := false;
    months timestamptz[];
    month timestamptz;
    partition regclass;
BEGIN
    SELECT c.relowner INTO table_owner FROM pg_class AS c WHERE c.oid = to_regclass('qsessions.session_event');
    IF NOT FOUND OR NOT pg_has_role(table_owner, 'USAGE') THEN
        RETURN;
    END IF;
    IF to_regclass('qsessions.session_event_retention') IS NOT NULL THEN
        oldest := coalesce((SELECT now() - r.retention FROM qsessions.session_event_retention AS r), '-infinity');
    END IF;

    SELECT array_agg(m ORDER BY m) INTO months
    FROM generate_series(last_month - interval '2 months', last_month, interval '1 month') AS m;
    IF has_default THEN
        SELECT array_agg(DISTINCT m ORDER BY m) INTO months
        FROM (SELECT unnest(months) AS m
              UNION ALL
              SELECT date_trunc('month', e.at) FROM qsessions.session_event_default AS e
              WHERE e.at >= oldest AND e.at < last_month AND isfinite(e.at)) AS wanted;
    END IF;
    FOREACH month IN ARRAY months LOOP
        CONTINUE WHEN EXISTS (SELECT FROM qsessions._event_partitions() AS p
                              WHERE p.begins < month + interval '1 month' AND p.ends > month);
        BEGIN
            PERFORM qsessions._add_event_month(month);
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            RETURN;
        WHEN OTHERS THEN
            RAISE WARNING 'could not add partition % to the event table', to_char(month, 'YYYY-MM')
                USING DETAIL = SQLERRM, HINT = 'The next purge tries again.';
        END;
    END LOOP;

    FOR partition IN SELECT p.partition FROM qsessions._event_partitions() AS p WHERE p.ends <= oldest LOOP
        BEGIN
            EXECUTE format('DROP TABLE %s', partition);
            -- Once a month, with the month that goes. last_on is exact to 30 days.
            IF NOT has_forgotten THEN
                DELETE FROM qsessions.session_event_known AS k WHERE k.last_on < oldest - interval '30 days';
                has_forgotten := true;
            END IF;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            RETURN;
        WHEN OTHERS THEN
            RAISE WARNING 'could not drop partition "%" of the event table', partition
                USING DETAIL = SQLERRM, HINT = 'The next purge tries again.';
        END;
    END LOOP;
    IF has_default THEN
        DELETE FROM qsessions.session_event_default AS e WHERE e.at < oldest;
    END IF;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'could not maintain the event table'
        USING DETAIL = SQLERRM, HINT = 'The next purge tries again.';
END
$$;

COMMENT ON FUNCTION qsessions._maintain_event_table() IS
    'Internal: adds months to the event table and drops those that are older than the retention, if the caller owns the table';

-- Bounds are read as PostgreSQL prints them. Partitions that the owner has made count too.
CREATE OR REPLACE FUNCTION qsessions._event_partitions(
    OUT partition regclass, OUT begins timestamptz, OUT ends timestamptz)
RETURNS SETOF record
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $$
#variable_conflict use_variable
BEGIN
    RETURN QUERY
        SELECT b.oid::regclass,
               coalesce(substring(b.bounds FROM $re$FROM \('([^']+)'\)$re$)::timestamptz, '-infinity'),
               coalesce(substring(b.bounds FROM $re$TO \('([^']+)'\)$re$)::timestamptz, 'infinity')
        FROM (SELECT c.oid, pg_get_expr(c.relpartbound, c.oid) AS bounds
              FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
              WHERE i.inhparent = 'qsessions.session_event'::regclass) AS b
        WHERE b.bounds <> 'DEFAULT';
END
$$;

COMMENT ON FUNCTION qsessions._event_partitions() IS
    'Internal: the partitions of the event table, except the default one, and their bounds';
