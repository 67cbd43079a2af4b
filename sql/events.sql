-- Events: what has happened to sessions. create_event_table makes a table for them, and without it
-- nothing is recorded.
--
-- Logins, rotations and imports are recorded by the functions that do them. Deletions are recorded
-- by a trigger, whatever makes them: a function, plain SQL, or a cascade from the users table. The
-- function that deletes leaves the reason in the memory of the backend (extension/src/events.rs).
--
-- An event is written in the transaction that it tells of. What ends a session or a key takes
-- effect in any case: its event is written in a nested transaction, and where it cannot be written,
-- there is a warning. A login has no nested transaction, which would take a third of the time of
-- its event. It fails with its event, and warns only where the role has no privilege to add one.

COMMENT ON FUNCTION qsessions._has_events() IS 'Internal: whether there is a table of events';
COMMENT ON FUNCTION qsessions._begin_event_reason(text) IS
    'Internal: says why the statements that follow delete sessions, until _end_event_reason';
COMMENT ON FUNCTION qsessions._end_event_reason() IS 'Internal: takes back what _begin_event_reason has said last';
COMMENT ON FUNCTION qsessions._event_reason() IS 'Internal: what _begin_event_reason has said last, or null';
COMMENT ON FUNCTION qsessions._device_key(text, jsonb) IS
    'Internal: what two logins from one device have in common: browser, system and model, without versions';

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
    IF to_regclass('qsessions.session_event') IS NOT NULL THEN
        RAISE EXCEPTION 'table "qsessions.session_event" already exists'
            USING ERRCODE = 'duplicate_table',
                  HINT = 'To change how long events are kept: UPDATE qsessions.session_event_retention SET retention = ''1 year'';';
    END IF;
    IF retention <= interval '0' THEN
        RAISE EXCEPTION 'argument "retention" must be longer than zero'
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
    -- Events of a month for which nobody has made a partition.
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
        retention interval CHECK (retention > interval '0'),
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
        SELECT coalesce(now() - r.retention, '-infinity') INTO oldest FROM qsessions.session_event_retention AS r;
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
            RAISE WARNING 'could not add partition % to the event table', to_char(month, 'YYYY-MM') USING DETAIL = SQLERRM;
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
            RAISE WARNING 'could not drop partition "%" of the event table', partition USING DETAIL = SQLERRM;
        END;
    END LOOP;
    IF has_default THEN
        DELETE FROM qsessions.session_event_default AS e WHERE e.at < oldest;
    END IF;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'could not maintain the event table' USING DETAIL = SQLERRM;
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

CREATE OR REPLACE FUNCTION qsessions._warn_not_recorded(event text, code text, reason text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    IF code = '42501' THEN
        RAISE WARNING 'could not record event "%"', event
            USING DETAIL = reason, HINT = 'Call qsessions.grant_access for the role that uses sessions.';
    ELSE
        RAISE WARNING 'could not record event "%"', event USING DETAIL = reason;
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions._warn_not_recorded(text, text, text) IS
    'Internal: warns that an event was not recorded';

CREATE OR REPLACE FUNCTION qsessions._record_deletions() RETURNS trigger
LANGUAGE plpgsql
AS $$
#variable_conflict use_variable
DECLARE
    reason pg_catalog.text := qsessions._event_reason();
BEGIN
    -- The trigger stays when the table is dropped.
    IF qsessions._has_events() THEN
        BEGIN
            -- A session that had expired before a function ended it was not ended by that function.
            INSERT INTO qsessions.session_event
                (at, event, revoked_by, session_id, user_id, ip, user_agent, client_hints)
            SELECT pg_catalog.clock_timestamp(), e.event,
                   CASE WHEN e.event OPERATOR(pg_catalog.=) 'revoked' THEN reason END,
                   d.id, d.user_id::pg_catalog.text, d.ip, d.user_agent, d.client_hints
            FROM deleted_sessions AS d
            CROSS JOIN LATERAL (
                SELECT CASE WHEN reason IS NULL OR reason OPERATOR(pg_catalog.=) 'login' THEN 'deleted'
                            WHEN d.expires_at OPERATOR(pg_catalog.<=) pg_catalog.now() THEN 'expired'
                            WHEN reason OPERATOR(pg_catalog.=) ANY ('{logout, expired}'::pg_catalog.text[]) THEN reason
                            ELSE 'revoked' END) AS e (event);
        EXCEPTION WHEN OTHERS THEN
            PERFORM qsessions._warn_not_recorded(coalesce(reason, 'deleted'), SQLSTATE, SQLERRM);
        END;
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION qsessions._record_deletions() IS
    'Internal: trigger function that records deleted sessions in the event table';

CREATE OR REPLACE FUNCTION qsessions._record_rotation(session_id uuid) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    INSERT INTO qsessions.session_event (event, session_id, user_id, ip, user_agent, client_hints)
    SELECT 'rotated', s.id, s.user_id::text, s.ip, s.user_agent, s.client_hints
    FROM qsessions.session AS s WHERE s.id = session_id;
EXCEPTION WHEN OTHERS THEN
    PERFORM qsessions._warn_not_recorded('rotated', SQLSTATE, SQLERRM);
END
$$;

COMMENT ON FUNCTION qsessions._record_rotation(uuid) IS 'Internal: records that the key of a session was rotated';

-- An import of many sessions in one transaction would have as many nested transactions, so this has
-- none.
CREATE OR REPLACE FUNCTION qsessions._record_import(session_id uuid) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    IF NOT has_table_privilege('qsessions.session_event'::regclass::oid, 'INSERT') THEN
        PERFORM qsessions._warn_not_recorded('imported', '42501', 'permission denied for table session_event');
        RETURN;
    END IF;
    INSERT INTO qsessions.session_event (event, session_id, user_id, ip, user_agent, client_hints)
    SELECT 'imported', s.id, s.user_id::text, s.ip, s.user_agent, s.client_hints
    FROM qsessions.session AS s WHERE s.id = session_id;
END
$$;

COMMENT ON FUNCTION qsessions._record_import(uuid) IS 'Internal: records that a session was imported';

-- Runs at each login, so it qualifies names and operators instead of having a SET clause, and one
-- statement does all that a login from a known device and place takes.
CREATE OR REPLACE FUNCTION qsessions._record_login(
    session_id uuid, user_text text, ip inet, user_agent text, client_hints jsonb,
    former_ip inet DEFAULT NULL, former_agent text DEFAULT NULL, former_hints jsonb DEFAULT NULL,
    OUT is_new_device boolean, OUT is_new_place boolean)
LANGUAGE plpgsql
AS $$
#variable_conflict use_variable
DECLARE
    user_id pg_catalog.text;
    device_key pg_catalog.text;
    place_key pg_catalog.text;
BEGIN
    IF NOT pg_catalog.has_table_privilege('qsessions.session_event'::pg_catalog.regclass::pg_catalog.oid, 'INSERT') THEN
        PERFORM qsessions._warn_not_recorded('login', '42501', 'permission denied for table session_event');
        RETURN;
    END IF;
    user_id := user_text::qsessions.user_key;
    device_key := qsessions._device_key(user_agent, client_hints);
    IF pg_catalog.has_function_privilege(
        'qsessions.location(inet, text)'::pg_catalog.regprocedure::pg_catalog.oid, 'EXECUTE') THEN
        place_key := qsessions.location(ip, 'en');
    END IF;
    is_new_device := CASE WHEN device_key IS NOT NULL THEN false END;
    is_new_place := CASE WHEN place_key IS NOT NULL THEN false END;
    INSERT INTO qsessions.session_event
        (event, session_id, user_id, ip, user_agent, client_hints, is_new_device, is_new_place, device_key, place_key)
    SELECT 'login', session_id, user_id, ip, user_agent, client_hints, is_new_device, is_new_place, device_key, place_key
    WHERE (SELECT pg_catalog.count(*) FROM qsessions.session_event_known AS k
           WHERE k.user_id OPERATOR(pg_catalog.=) user_id
             AND k.key OPERATOR(pg_catalog.=) ANY (ARRAY[device_key, place_key])
             AND k.last_on OPERATOR(pg_catalog.>) (current_date OPERATOR(pg_catalog.-) 30))
          OPERATOR(pg_catalog.=) pg_catalog.num_nonnulls(device_key, place_key);
    IF NOT FOUND THEN
        is_new_device := qsessions._is_new(
            user_id, device_key, qsessions._has_used_device(session_id, user_id, device_key, former_agent, former_hints));
        is_new_place := qsessions._is_new(
            user_id, place_key, qsessions._has_used_place(session_id, user_id, place_key, former_ip));
        INSERT INTO qsessions.session_event
            (event, session_id, user_id, ip, user_agent, client_hints, is_new_device, is_new_place, device_key, place_key)
        VALUES ('login', session_id, user_id, ip, user_agent, client_hints, is_new_device, is_new_place, device_key, place_key);
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions._record_login(uuid, text, inet, text, jsonb, inet, text, jsonb) IS
    'Internal: records the login of a session, and returns whether device and place are new to the user; former_ip, former_agent and former_hints are those of the session before, if it belonged to the user already';

-- The primary key decides which of several logins at once is the first from a device: the others
-- wait for its transaction.
CREATE OR REPLACE FUNCTION qsessions._is_new(user_id text, key text, has_used boolean) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    IF key IS NULL THEN
        RETURN NULL;
    END IF;
    UPDATE qsessions.session_event_known AS k SET last_on = current_date WHERE k.user_id = user_id AND k.key = key;
    IF FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO qsessions.session_event_known (user_id, key) VALUES (user_id, key) ON CONFLICT DO NOTHING;
    RETURN FOUND AND NOT has_used;
EXCEPTION WHEN serialization_failure THEN
    -- In REPEATABLE READ, for a row that another transaction has just added or changed.
    RETURN false;
END
$$;

COMMENT ON FUNCTION qsessions._is_new(text, text, boolean) IS
    'Internal: adds a device or place to those that are known of a user, and returns whether it is new';

-- What is not known yet need not be new. The user's other sessions, and the session itself before
-- this login, may have begun before there was a table of events. And the rules of what is the same
-- device can change with the version of the extension, so the last logins are read by today's.
CREATE OR REPLACE FUNCTION qsessions._has_used_device(
    session_id uuid, user_id text, device_key text, former_agent text, former_hints jsonb)
RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    RETURN device_key IS NOT NULL AND EXISTS (
        SELECT FROM (SELECT former_agent AS user_agent, former_hints AS client_hints
                     UNION ALL
                     SELECT l.user_agent, l.client_hints FROM qsessions._last_logins(session_id, user_id) AS l) AS u
        WHERE qsessions._device_key(u.user_agent, u.client_hints) = device_key);
END
$$;

COMMENT ON FUNCTION qsessions._has_used_device(uuid, text, text, text, jsonb) IS
    'Internal: whether the sessions and last logins of a user are from a device';

CREATE OR REPLACE FUNCTION qsessions._has_used_place(session_id uuid, user_id text, place_key text, former_ip inet)
RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    RETURN place_key IS NOT NULL AND EXISTS (
        SELECT FROM (SELECT former_ip AS ip
                     UNION ALL
                     SELECT l.ip FROM qsessions._last_logins(session_id, user_id) AS l) AS u
        WHERE qsessions.location(u.ip, 'en') = place_key);
END
$$;

COMMENT ON FUNCTION qsessions._has_used_place(uuid, text, text, inet) IS
    'Internal: whether the sessions and last logins of a user are from a place';

CREATE OR REPLACE FUNCTION qsessions._last_logins(
    session_id uuid, user_id text, OUT ip inet, OUT user_agent text, OUT client_hints jsonb)
RETURNS SETOF record
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    RETURN QUERY
        (SELECT s.ip, s.user_agent, s.client_hints FROM qsessions.session AS s
         WHERE s.user_id = user_id::qsessions.user_key AND s.id <> session_id AND s.expires_at > now()
         ORDER BY s.created_at DESC LIMIT 100)
        UNION ALL
        (SELECT e.ip, e.user_agent, e.client_hints FROM qsessions.session_event AS e
         WHERE e.user_id = user_id AND e.event = 'login' ORDER BY e.at DESC LIMIT 100);
END
$$;

COMMENT ON FUNCTION qsessions._last_logins(uuid, text) IS
    'Internal: the other live sessions of a user and the last logins, at most 100 of each';

CREATE OR REPLACE FUNCTION qsessions.user_events(user_id anycompatiblenonarray, max_rows integer DEFAULT 50)
RETURNS SETOF qsessions.event_info
LANGUAGE plpgsql STABLE ROWS 50
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    user_text text := user_id;
BEGIN
    IF max_rows < 1 THEN
        RAISE EXCEPTION 'argument "max_rows" must be at least 1, but is %', max_rows
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out for 50 rows, or pass null for all rows.';
    END IF;
    IF NOT qsessions._has_events() THEN
        RAISE EXCEPTION 'table "qsessions.session_event" does not exist'
            USING ERRCODE = 'undefined_table', HINT = 'Call qsessions.create_event_table() to record events from then on.';
    END IF;
    RETURN QUERY
        SELECT p.at, p.event, p.revoked_by, p.session_id, p.ip, qsessions.location(p.ip),
               qsessions.device(p.user_agent, p.client_hints),
               p.user_agent, p.is_new_device, p.is_new_place
        FROM (SELECT e.* FROM qsessions.session_event AS e
              WHERE e.user_id = user_text::qsessions.user_key::text
              ORDER BY e.at DESC LIMIT max_rows) AS p
        ORDER BY p.at DESC;
END
$$;

COMMENT ON FUNCTION qsessions.user_events(anycompatiblenonarray, integer) IS
    'Lists what has happened to the sessions of a user, latest first, at most max_rows events. Requires the table that create_event_table makes';
