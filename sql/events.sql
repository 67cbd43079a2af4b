-- Events: what has happened to sessions. create_event_table (event_table.sql) makes a table for
-- them, and without it nothing is recorded.
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
COMMENT ON FUNCTION qsessions._records_logins() IS
    'Internal: whether a function that begins a session of a user has to record a login';
COMMENT ON FUNCTION qsessions._device_key(text, jsonb) IS
    'Internal: what two logins from one device have in common: browser, system and model, without versions';

CREATE OR REPLACE FUNCTION qsessions._warn_not_recorded(event text, code text, reason text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    RAISE WARNING 'could not record event "%"', event
        USING DETAIL = reason,
              HINT = CASE code WHEN '42501' THEN 'Call qsessions.grant_access for the role that uses sessions.'
                               ELSE 'Check the constraints, triggers and partitions of table qsessions.session_event.' END;
END
$$;

COMMENT ON FUNCTION qsessions._warn_not_recorded(text, text, text) IS
    'Internal: warns that an event was not recorded';

CREATE OR REPLACE FUNCTION qsessions._record_deletions() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    reason text := qsessions._event_reason();
    ended_as text := CASE WHEN reason IS NULL OR reason = 'login' THEN 'deleted'
                          WHEN reason IN ('logout', 'expired') THEN reason
                          ELSE 'revoked' END;
BEGIN
    -- The trigger stays when the table is dropped.
    IF qsessions._has_events() THEN
        BEGIN
            -- A session that had expired before a function ended it was not ended by that function.
            INSERT INTO qsessions.session_event
                (at, event, revoked_by, session_id, user_id, ip, user_agent, client_hints)
            SELECT clock_timestamp(), e.event, CASE WHEN e.event = 'revoked' THEN reason END,
                   d.id, d.user_id::text, d.ip, d.user_agent, d.client_hints
            FROM deleted_sessions AS d
            CROSS JOIN LATERAL (
                SELECT CASE WHEN ended_as <> 'deleted' AND d.expires_at <= now() THEN 'expired'
                            ELSE ended_as END) AS e (event);
        EXCEPTION WHEN OTHERS THEN
            PERFORM qsessions._warn_not_recorded(ended_as, SQLSTATE, SQLERRM);
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

-- Runs at each login, so it qualifies names and operators instead of having a SET clause. A login
-- from a known device is recorded by the statement that looks the device up.
CREATE OR REPLACE FUNCTION qsessions._record_login(
    created qsessions.new_session, user_text text, ip inet, user_agent text, client_hints jsonb,
    former_ip inet DEFAULT NULL, former_agent text DEFAULT NULL, former_hints jsonb DEFAULT NULL)
RETURNS qsessions.new_login
LANGUAGE plpgsql
AS $$
#variable_conflict use_variable
DECLARE
    device_key pg_catalog.text := CASE
        WHEN pg_catalog.has_table_privilege('qsessions.session_event'::pg_catalog.regclass::pg_catalog.oid, 'INSERT')
        THEN qsessions._device_key(user_agent, client_hints) END;
    place_key pg_catalog.text;
    is_known pg_catalog.bool;
    result qsessions.new_login;
BEGIN
    IF pg_catalog.has_function_privilege(
        'qsessions.location(inet, text)'::pg_catalog.regprocedure::pg_catalog.oid, 'EXECUTE') THEN
        place_key := qsessions.location(ip, 'en');
    END IF;
    IF device_key IS NULL OR place_key IS NOT NULL THEN
        IF NOT pg_catalog.has_table_privilege('qsessions.session_event'::pg_catalog.regclass::pg_catalog.oid, 'INSERT') THEN
            PERFORM qsessions._warn_not_recorded('login', '42501', 'permission denied for table session_event');
            result := ROW(created.key, created.id, created.expires_at, NULL, NULL);
            RETURN result;
        END IF;
        IF device_key IS NOT NULL THEN
            PERFORM FROM qsessions.session_event_known AS k
            WHERE k.user_id OPERATOR(pg_catalog.=) user_text::qsessions.user_key::pg_catalog.text
              AND k.key OPERATOR(pg_catalog.=) place_key
              AND k.last_on OPERATOR(pg_catalog.>) (current_date OPERATOR(pg_catalog.-) 30);
            is_known := FOUND;
        END IF;
    END IF;
    INSERT INTO qsessions.session_event
        (event, session_id, user_id, ip, user_agent, client_hints, is_new_device, is_new_place, device_key, place_key)
    SELECT 'login', created.id, k.user_id, ip, user_agent, client_hints,
           CASE WHEN device_key IS NOT NULL THEN false END, CASE WHEN place_key IS NOT NULL THEN false END,
           device_key, place_key
    FROM qsessions.session_event_known AS k
    WHERE k.user_id OPERATOR(pg_catalog.=) user_text::qsessions.user_key::pg_catalog.text
      AND k.key OPERATOR(pg_catalog.=) coalesce(device_key, place_key)
      AND k.last_on OPERATOR(pg_catalog.>) (current_date OPERATOR(pg_catalog.-) 30)
      AND is_known IS NOT FALSE;
    IF FOUND THEN
        result := ROW(
            created.key, created.id, created.expires_at,
            CASE WHEN device_key IS NOT NULL THEN false END, CASE WHEN place_key IS NOT NULL THEN false END);
    ELSE
        result := qsessions._record_new_login(
            created, user_text::qsessions.user_key::pg_catalog.text, ip, user_agent, client_hints, device_key, place_key,
            former_ip, former_agent, former_hints);
    END IF;
    RETURN result;
END
$$;

COMMENT ON FUNCTION qsessions._record_login(qsessions.new_session, text, inet, text, jsonb, inet, text, jsonb) IS
    'Internal: records the login of a session, and returns it with whether device and place are new to the user; former_ip, former_agent and former_hints are those of the session before, if it belonged to the user already';

CREATE OR REPLACE FUNCTION qsessions._record_new_login(
    created qsessions.new_session, user_id text, ip inet, user_agent text, client_hints jsonb, device_key text,
    place_key text, former_ip inet, former_agent text, former_hints jsonb)
RETURNS qsessions.new_login
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    is_new_device boolean := qsessions._is_new(
        user_id, device_key, qsessions._has_used_device(created.id, user_id, device_key, former_agent, former_hints));
    is_new_place boolean := qsessions._is_new(
        user_id, place_key, qsessions._has_used_place(created.id, user_id, place_key, former_ip));
BEGIN
    INSERT INTO qsessions.session_event
        (event, session_id, user_id, ip, user_agent, client_hints, is_new_device, is_new_place, device_key, place_key)
    VALUES ('login', created.id, user_id, ip, user_agent, client_hints, is_new_device, is_new_place, device_key, place_key);
    RETURN ROW(created.key, created.id, created.expires_at, is_new_device, is_new_place);
END
$$;

COMMENT ON FUNCTION qsessions._record_new_login(qsessions.new_session, text, inet, text, jsonb, text, text, inet, text, jsonb) IS
    'Internal: records a login from a device or at a place that is not known of the user';

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
        WHERE qsessions._is_same_device(qsessions._device_key(u.user_agent, u.client_hints), device_key));
END
$$;

COMMENT ON FUNCTION qsessions._has_used_device(uuid, text, text, text, jsonb) IS
    'Internal: whether the sessions and last logins of a user are from a device';

-- A part that one of the keys lacks may be any: the first visit of a browser has no client hints, and
-- only they tell the model of most phones.
CREATE OR REPLACE FUNCTION qsessions._is_same_device(one text, other text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN split_part(one, ' | ', 1) = split_part(other, ' | ', 1)
   AND split_part(one, ' | ', 2) = split_part(other, ' | ', 2)
   AND (split_part(one, ' | ', 3) = split_part(other, ' | ', 3)
        OR '?' IN (split_part(one, ' | ', 3), split_part(other, ' | ', 3)));

COMMENT ON FUNCTION qsessions._is_same_device(text, text) IS
    'Internal: whether two device keys are of one device, as far as they tell';

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
