-- Visits that an application has gathered, recorded at once.

-- A visit counts if its digest opens the session, and if the session knows no later activity: what
-- an older visit has shown may be out of date. Later means later by more than the precision of
-- last_seen_at, so that a small difference of clocks does not matter. The rest is what
-- resume_session does with each visit.
--
-- "locked" passes over a row that another transaction has locked, so that this function never waits:
-- if it did, a single long transaction would hold up the requests of all sessions that a call has
-- locked by then. A row that has changed meanwhile is locked in its present version, which must
-- still be alive and have the same key. "written" looks at that version too.
CREATE OR REPLACE FUNCTION qsessions.record_visits_for_cache(
    ids uuid[], digests bytea[], ips inet[], user_agents text[], seen_at timestamptz[],
    client_hints jsonb[] DEFAULT NULL)
RETURNS SETOF qsessions.recorded_visit
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    PERFORM qsessions._check_visit_arrays(
        cardinality(ids), cardinality(digests), cardinality(ips), cardinality(user_agents), cardinality(seen_at),
        coalesce(cardinality(client_hints), cardinality(ids)));
    RETURN QUERY
    WITH visit AS (
        SELECT s.id, s.digest, least(v.seen_at, now()) AS seen_at, v.number, qsessions._host(v.ip) AS ip,
               qsessions._kept_user_agent(v.user_agent) AS user_agent,
               qsessions._kept_client_hints(v.client_hints) AS client_hints,
               s.last_seen_at <= qsessions._visit_due_at(least(v.seen_at, now()), s.idle_timeout) AS counts,
               s.last_seen_at, s.expires_at, s.idle_timeout, s.ip AS known_ip, s.user_agent AS known_agent,
               s.client_hints AS known_hints
        FROM unnest(ids, digests, ips, user_agents, seen_at, client_hints)
             WITH ORDINALITY AS v (id, digest, ip, user_agent, seen_at, client_hints, number)
        JOIN qsessions.session AS s ON s.id = v.id
        WHERE (s.digest = v.digest OR s.former_digest = v.digest AND s.former_digest_until > now())
          AND s.expires_at > now()
          AND v.seen_at IS NOT NULL
    ), latest AS (
        -- The planner takes the arrays for short, so that it would join parts of this statement row
        -- by row. Windows need no join.
        SELECT v.*, row_number() OVER w AS rank,
               max(v.seen_at) FILTER (WHERE v.counts) OVER w AS last_at,
               max(v.seen_at) FILTER (WHERE v.counts AND v.ip IS NOT NULL) OVER w AS ip_at,
               (array_agg(v.ip) FILTER (WHERE v.counts AND v.ip IS NOT NULL) OVER w)[1] AS last_ip,
               max(v.seen_at) FILTER (WHERE v.counts AND v.user_agent IS NOT NULL) OVER w AS agent_at,
               (array_agg(v.user_agent) FILTER (WHERE v.counts AND v.user_agent IS NOT NULL) OVER w)[1] AS last_agent
        FROM visit AS v
        WINDOW w AS (PARTITION BY v.id ORDER BY v.seen_at DESC, v.number DESC
                     ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
    ), hinted AS (
        -- Hints of another browser than the last do not count.
        SELECT l.*, max(l.seen_at) FILTER (WHERE h.count) OVER w AS hints_at,
               (array_agg(l.client_hints) FILTER (WHERE h.count) OVER w)[1] AS last_hints
        FROM latest AS l
        CROSS JOIN LATERAL (SELECT l.counts AND l.client_hints IS NOT NULL
                                   AND (l.user_agent IS NULL OR l.user_agent = l.last_agent) AS count) AS h
        WINDOW w AS (PARTITION BY l.id ORDER BY l.seen_at DESC, l.number DESC
                     ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
    ), opened AS MATERIALIZED (
        SELECT h.id, h.digest, h.last_at, h.ip_at, h.last_ip, h.agent_at, h.last_agent, h.hints_at, h.last_hints,
               h.last_seen_at, h.expires_at, h.idle_timeout,
               (h.last_at >= qsessions._visit_due_at(h.last_seen_at, h.idle_timeout)
                OR h.last_seen_at <= qsessions._visit_due_at(h.ip_at, h.idle_timeout)
                   AND h.known_ip IS DISTINCT FROM h.last_ip
                OR h.last_seen_at <= qsessions._visit_due_at(h.agent_at, h.idle_timeout)
                   AND h.known_agent IS DISTINCT FROM h.last_agent
                OR h.last_seen_at <= qsessions._visit_due_at(h.hints_at, h.idle_timeout)
                   AND (h.known_hints @> h.last_hints) IS NOT TRUE) IS TRUE AS is_due
        FROM hinted AS h
        WHERE h.rank = 1
    ), locked AS MATERIALIZED (
        SELECT o.*
        FROM opened AS o
        JOIN qsessions.session AS s ON s.id = o.id AND s.digest = o.digest
        WHERE o.is_due AND s.expires_at > now()
        FOR NO KEY UPDATE OF s SKIP LOCKED
    ), written AS (
        UPDATE qsessions.session AS s SET
            ip = CASE WHEN s.last_seen_at <= qsessions._visit_due_at(l.ip_at, s.idle_timeout) THEN l.last_ip ELSE s.ip END,
            user_agent = CASE WHEN s.last_seen_at <= qsessions._visit_due_at(l.agent_at, s.idle_timeout) THEN l.last_agent
                              ELSE s.user_agent END,
            client_hints = qsessions._merged_client_hints(
                s.user_agent, s.client_hints,
                CASE WHEN s.last_seen_at <= qsessions._visit_due_at(l.agent_at, s.idle_timeout) THEN l.last_agent END,
                CASE WHEN s.last_seen_at <= qsessions._visit_due_at(l.hints_at, s.idle_timeout) THEN l.last_hints END),
            last_seen_at = greatest(s.last_seen_at, l.last_at),
            purge_after = coalesce(s.purge_after, s.expires_at),
            expires_at = CASE WHEN s.idle_timeout IS NULL THEN s.expires_at
                              ELSE greatest(s.expires_at, least(qsessions._plus(l.last_at, s.idle_timeout), s.deadline)) END
        FROM locked AS l
        WHERE s.id = l.id
        RETURNING s.id, s.last_seen_at, s.expires_at, s.idle_timeout
    )
    SELECT w.id, w.last_seen_at, w.expires_at, qsessions._visit_due_at(w.last_seen_at, w.idle_timeout), true, false
    FROM written AS w
    UNION ALL
    SELECT o.id, o.last_seen_at, o.expires_at, qsessions._visit_due_at(o.last_seen_at, o.idle_timeout), false, o.is_due
    FROM opened AS o
    -- This is hashed, and a join would not be.
    WHERE o.id NOT IN (SELECT w.id FROM written AS w);
END
$$;

COMMENT ON FUNCTION qsessions.record_visits_for_cache(uuid[], bytea[], inet[], text[], timestamptz[], jsonb[]) IS
    'Same as record_visits, for a cache in an application. Returns a row for each session that is alive and that the key of its visit opens. docs/cache.md says how the Rust client uses it';

CREATE OR REPLACE FUNCTION qsessions.record_visits(
    ids uuid[], digests bytea[], ips inet[], user_agents text[], seen_at timestamptz[],
    client_hints jsonb[] DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    recorded bigint;
BEGIN
    SELECT count(*) INTO recorded
    FROM qsessions.record_visits_for_cache(ids, digests, ips, user_agents, seen_at, client_hints) AS r
    WHERE r.is_written;
    RETURN recorded;
END
$$;

COMMENT ON FUNCTION qsessions.record_visits(uuid[], bytea[], inet[], text[], timestamptz[], jsonb[]) IS
    'Records visits that an application has gathered, in one UPDATE, as resume_session records each. The arrays have an element for each visit: the id of the session, the SHA-256 of its key, and what was seen when. A visit of a session that has ended or that another transaction is changing, or by a key that was rotated, is left out. Returns how many sessions were written';

CREATE OR REPLACE FUNCTION qsessions._check_visit_arrays(VARIADIC lengths integer[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    arguments CONSTANT text[] := '{ids, digests, ips, user_agents, seen_at, client_hints}';
BEGIN
    FOR n IN 1 .. cardinality(lengths) LOOP
        IF lengths[n] IS NULL THEN
            PERFORM qsessions._raise_null(arguments[n]);
        END IF;
    END LOOP;
    FOR n IN 2 .. cardinality(lengths) LOOP
        IF lengths[n] <> lengths[1] THEN
            RAISE EXCEPTION 'argument "%" has % elements, but argument "ids" has %', arguments[n], lengths[n], lengths[1]
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Pass arrays of the same length, with null for what a visit does not tell.';
        END IF;
    END LOOP;
END
$$;

COMMENT ON FUNCTION qsessions._check_visit_arrays(integer[]) IS
    'Internal: raises an error for arrays of visits that are null or differ in length';
