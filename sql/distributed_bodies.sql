-- Bodies of functions for a session table that Citus has distributed. distribute_session_table puts
-- them in the place of the plain ones: _distributed_load_session in that of load_session, and so on.
-- Each must have the arguments, defaults and result of the plain function. On one server they give the
-- same answers as the plain ones, only more slowly.

-- Citus refuses a function in SQL that the planner inlines if it is called with a parameter. The id is
-- in a variable, so that Citus finds the shard without planning the statement.
CREATE OR REPLACE FUNCTION qsessions._distributed_load_session(key text) RETURNS SETOF qsessions.session_data
LANGUAGE plpgsql STABLE ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    found_id CONSTANT uuid := qsessions._find_session_id(key);
    key_digest CONSTANT bytea := qsessions._key_digest(key);
    moment CONSTANT timestamptz := now();
BEGIN
    RETURN QUERY
        SELECT s.id, s.user_id::text, s.data, s.ip, s.user_agent, s.created_at, s.authenticated_at,
               s.updated_at, s.last_seen_at, s.expires_at, s.version
        FROM qsessions.session AS s
        WHERE s.id = found_id
          AND qsessions._digest_opens(
              key_digest, s.digest, s.former_digest, s.former_digest_until, s.expires_at, moment);
END
$$;

COMMENT ON FUNCTION qsessions._distributed_load_session(text) IS
    'Internal: the body of load_session for a distributed table';

CREATE OR REPLACE FUNCTION qsessions._distributed_load_for_cache(key text) RETURNS SETOF qsessions.cacheable_session
LANGUAGE plpgsql STABLE ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    found_id CONSTANT uuid := qsessions._find_session_id(key);
    key_digest CONSTANT bytea := qsessions._key_digest(key);
    moment CONSTANT timestamptz := now();
BEGIN
    RETURN QUERY
        SELECT s.id, s.user_id::text, s.data, s.ip, s.user_agent, s.created_at, s.authenticated_at,
               s.updated_at, s.last_seen_at, s.expires_at, s.version,
               qsessions._visit_due_at(s.last_seen_at, s.idle_timeout), qsessions._user_agent_max_length(),
               pg_postmaster_start_time(), pg_is_in_recovery(), s.client_hints, s.digest <> key_digest,
               s.idle_timeout, s.deadline
        FROM qsessions.session AS s
        WHERE s.id = found_id
          AND qsessions._digest_opens(
              key_digest, s.digest, s.former_digest, s.former_digest_until, s.expires_at, moment);
END
$$;

COMMENT ON FUNCTION qsessions._distributed_load_for_cache(text) IS
    'Internal: the body of load_for_cache for a distributed table';

CREATE OR REPLACE FUNCTION qsessions._distributed_get_session(id uuid) RETURNS SETOF qsessions.session_data
LANGUAGE plpgsql STABLE ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    RETURN QUERY
        SELECT s.id, s.user_id::text, s.data, s.ip, s.user_agent, s.created_at, s.authenticated_at,
               s.updated_at, s.last_seen_at, s.expires_at, s.version
        FROM qsessions.session AS s
        WHERE s.id = id;
END
$$;

COMMENT ON FUNCTION qsessions._distributed_get_session(uuid) IS
    'Internal: the body of get_session for a distributed table';

CREATE OR REPLACE FUNCTION qsessions._distributed_user_sessions(
    user_id anycompatiblenonarray, current_key text DEFAULT NULL, max_rows integer DEFAULT NULL)
RETURNS SETOF qsessions.session_info
LANGUAGE plpgsql STABLE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    user_text CONSTANT text := user_id;
    current_digest CONSTANT bytea := qsessions._key_digest(current_key);
    moment CONSTANT timestamptz := now();
BEGIN
    RETURN QUERY
        SELECT s.id, s.user_id::text, s.ip, qsessions.location(s.ip), qsessions.device(s.user_agent, s.client_hints),
               s.user_agent, s.created_at, s.authenticated_at, s.updated_at, s.last_seen_at, s.expires_at, true,
               coalesce(s.digest = current_digest
                        OR s.former_digest = current_digest AND s.former_digest_until > moment, false)
        FROM qsessions.session AS s
        WHERE s.user_id = user_text::qsessions.user_key AND s.expires_at > moment
        ORDER BY s.last_seen_at DESC, s.id DESC
        LIMIT max_rows;
END
$$;

COMMENT ON FUNCTION qsessions._distributed_user_sessions(anycompatiblenonarray, text, integer) IS
    'Internal: the body of user_sessions for a distributed table';

-- The plain function locks rows before it deletes them, which Citus does only for one id. This DELETE
-- waits for each row, also with max_rows.
CREATE OR REPLACE FUNCTION qsessions._distributed_revoke_sessions(
    user_id anycompatiblenonarray DEFAULT NULL::pg_catalog.text, ip inet DEFAULT NULL,
    created_before timestamptz DEFAULT NULL, last_seen_before timestamptz DEFAULT NULL,
    user_agent text DEFAULT NULL, max_rows integer DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    user_text text := user_id;
    is_locked boolean;
    filters text := concat_ws(' AND ',
        CASE WHEN user_text IS NOT NULL THEN 's.user_id = $1::qsessions.user_key' END,
        CASE WHEN ip IS NOT NULL THEN 's.ip <<= $2' END,
        CASE WHEN created_before IS NOT NULL THEN 's.created_at < $3' END,
        CASE WHEN last_seen_before IS NOT NULL THEN 's.last_seen_at < $4' END,
        CASE WHEN user_agent IS NOT NULL THEN 's.user_agent LIKE $5' END);
    ids uuid[];
    is_begun boolean;
    deleted bigint;
    ended bigint;
BEGIN
    IF filters = '' THEN
        RAISE EXCEPTION 'one of the arguments "user_id", "ip", "created_before", "last_seen_before" and "user_agent" must be given'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'To end all sessions there are, pass created_before => ''infinity''.';
    END IF;
    IF max_rows < 1 THEN
        RAISE EXCEPTION 'argument "max_rows" must be at least 1, but is %', max_rows
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out to end all sessions at once.';
    END IF;
    IF user_text IS NOT NULL THEN
        is_locked := qsessions._lock_user_hash(
            'qsessions.session'::regclass, hash_record_extended(ROW(user_text::qsessions.user_key), 0), true);
    END IF;
    LOOP
        EXECUTE format('SELECT array_agg(l.id) FROM (SELECT s.id FROM qsessions.session AS s WHERE %s LIMIT $6) AS l', filters)
            INTO ids
            USING user_text, qsessions._network(ip), created_before, last_seen_before, user_agent, max_rows;
        is_begun := qsessions._begin_event_reason('administrator');
        WITH gone AS (
            DELETE FROM qsessions.session AS s WHERE s.id = ANY (ids) RETURNING s.expires_at
        )
        SELECT count(*), count(*) FILTER (WHERE g.expires_at > now()) INTO deleted, ended FROM gone AS g;
        is_begun := qsessions._end_event_reason();
        -- A batch of rows that have expired already is followed by another, so that 0 says that
        -- none is left. A trigger can keep rows, so a batch that deletes nothing is the last.
        EXIT WHEN max_rows IS NULL OR ended > 0 OR deleted = 0;
    END LOOP;
    PERFORM qsessions._count('revoked', ended);
    RETURN ended;
END
$$;

COMMENT ON FUNCTION qsessions._distributed_revoke_sessions(anycompatiblenonarray, inet, timestamptz, timestamptz, text, integer) IS
    'Internal: the body of revoke_sessions for a distributed table';

-- One row after the other, in the order of the ids, by the rules of record_visits_for_cache. A row that another
-- transaction has locked is passed over.
CREATE OR REPLACE FUNCTION qsessions._distributed_record_visits_for_cache(
    ids uuid[], digests bytea[], ips inet[], user_agents text[], seen_at timestamptz[],
    client_hints jsonb[] DEFAULT NULL)
RETURNS SETOF qsessions.recorded_visit
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    moment CONSTANT timestamptz := now();
    visits record;
    session record;
    seen record;
    visit_due_at timestamptz;
BEGIN
    PERFORM qsessions._check_visit_arrays(
        cardinality(ids), cardinality(digests), cardinality(ips), cardinality(user_agents), cardinality(seen_at),
        coalesce(cardinality(client_hints), cardinality(ids)));
    FOR visits IN
        SELECT v.id, array_agg(v.digest) AS digests, array_agg(v.ip) AS ips, array_agg(v.user_agent) AS user_agents,
               array_agg(v.seen_at) AS seen_at, array_agg(v.client_hints) AS client_hints, array_agg(v.number) AS numbers
        FROM unnest(ids, digests, ips, user_agents, seen_at, client_hints)
             WITH ORDINALITY AS v (id, digest, ip, user_agent, seen_at, client_hints, number)
        WHERE v.id IS NOT NULL AND v.seen_at IS NOT NULL
        GROUP BY v.id ORDER BY v.id
    LOOP
        SELECT s.digest, s.former_digest, s.former_digest_until, s.ip, s.user_agent, s.client_hints, s.last_seen_at,
               s.expires_at, s.idle_timeout, s.deadline
        INTO session
        FROM qsessions.session AS s
        WHERE s.id = visits.id AND s.expires_at > moment;
        CONTINUE WHEN NOT FOUND;

        WITH visit AS (
            SELECT least(v.seen_at, moment) AS seen_at, v.number, qsessions._host(v.ip) AS ip,
                   qsessions._kept_user_agent(v.user_agent) AS user_agent,
                   qsessions._kept_client_hints(v.client_hints) AS client_hints,
                   session.last_seen_at <= qsessions._visit_due_at(least(v.seen_at, moment), session.idle_timeout) AS counts
            FROM unnest(visits.digests, visits.ips, visits.user_agents, visits.seen_at, visits.client_hints, visits.numbers)
                 AS v (digest, ip, user_agent, seen_at, client_hints, number)
            WHERE v.digest = session.digest OR v.digest = session.former_digest AND session.former_digest_until > moment
        ), latest AS (
            SELECT count(*) AS opened,
                   max(v.seen_at) FILTER (WHERE v.counts) AS seen_at,
                   max(v.seen_at) FILTER (WHERE v.counts AND v.ip IS NOT NULL) AS ip_at,
                   (array_agg(v.ip ORDER BY v.seen_at DESC, v.number DESC)
                        FILTER (WHERE v.counts AND v.ip IS NOT NULL))[1] AS ip,
                   max(v.seen_at) FILTER (WHERE v.counts AND v.user_agent IS NOT NULL) AS agent_at,
                   (array_agg(v.user_agent ORDER BY v.seen_at DESC, v.number DESC)
                        FILTER (WHERE v.counts AND v.user_agent IS NOT NULL))[1] AS user_agent
            FROM visit AS v
        ), hinted AS (
            -- Hints of another browser than the last do not count.
            SELECT v.seen_at AS hints_at, v.client_hints
            FROM visit AS v CROSS JOIN latest AS l
            WHERE v.counts AND v.client_hints IS NOT NULL AND (v.user_agent IS NULL OR v.user_agent = l.user_agent)
            ORDER BY v.seen_at DESC, v.number DESC LIMIT 1
        )
        SELECT l.opened, l.seen_at, l.seen_at >= qsessions._visit_due_at(session.last_seen_at, session.idle_timeout) AS is_due,
               l.ip, session.last_seen_at <= qsessions._visit_due_at(l.ip_at, session.idle_timeout) AS has_ip,
               l.user_agent, session.last_seen_at <= qsessions._visit_due_at(l.agent_at, session.idle_timeout) AS has_agent,
               h.client_hints, session.last_seen_at <= qsessions._visit_due_at(h.hints_at, session.idle_timeout) AS has_hints
        INTO seen
        FROM latest AS l LEFT JOIN hinted AS h ON true;

        CONTINUE WHEN seen.opened = 0;
        visit_due_at := qsessions._visit_due_at(session.last_seen_at, session.idle_timeout);
        IF (seen.is_due OR seen.has_ip AND session.ip IS DISTINCT FROM seen.ip
            OR seen.has_agent AND session.user_agent IS DISTINCT FROM seen.user_agent
            OR seen.has_hints AND (session.client_hints @> seen.client_hints) IS NOT TRUE) IS NOT TRUE THEN
            RETURN QUERY VALUES (visits.id, session.last_seen_at, session.expires_at, visit_due_at, false, false);
            CONTINUE;
        END IF;

        -- Locks only what is written. A row that has changed since counts as one that is locked.
        PERFORM FROM qsessions.session AS s
        WHERE s.id = visits.id AND s.digest = session.digest AND s.last_seen_at = session.last_seen_at
          AND s.expires_at = session.expires_at AND s.deadline = session.deadline
          AND s.idle_timeout IS NOT DISTINCT FROM session.idle_timeout AND s.ip IS NOT DISTINCT FROM session.ip
          AND s.user_agent IS NOT DISTINCT FROM session.user_agent
          AND s.client_hints IS NOT DISTINCT FROM session.client_hints
        FOR NO KEY UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            RETURN QUERY VALUES (visits.id, session.last_seen_at, session.expires_at, visit_due_at, false, true);
            CONTINUE;
        END IF;

        session.client_hints := qsessions._merged_client_hints(
            session.user_agent, session.client_hints, CASE WHEN seen.has_agent THEN seen.user_agent END,
            CASE WHEN seen.has_hints THEN seen.client_hints END);
        session.ip := CASE WHEN seen.has_ip THEN seen.ip ELSE session.ip END;
        session.user_agent := CASE WHEN seen.has_agent THEN seen.user_agent ELSE session.user_agent END;
        session.expires_at := CASE WHEN session.idle_timeout IS NULL THEN session.expires_at
            ELSE greatest(session.expires_at, least(qsessions._plus(seen.seen_at, session.idle_timeout), session.deadline)) END;
        session.last_seen_at := greatest(session.last_seen_at, seen.seen_at);
        visit_due_at := qsessions._visit_due_at(session.last_seen_at, session.idle_timeout);
        UPDATE qsessions.session AS s SET
            ip = session.ip,
            user_agent = session.user_agent,
            client_hints = session.client_hints,
            last_seen_at = session.last_seen_at,
            purge_after = coalesce(s.purge_after, s.expires_at),
            expires_at = session.expires_at
        WHERE s.id = visits.id;
        RETURN QUERY VALUES (visits.id, session.last_seen_at, session.expires_at, visit_due_at, true, false);
    END LOOP;
END
$$;

COMMENT ON FUNCTION qsessions._distributed_record_visits_for_cache(uuid[], bytea[], inet[], text[], timestamptz[], jsonb[]) IS
    'Internal: the body of record_visits_for_cache for a distributed table';
