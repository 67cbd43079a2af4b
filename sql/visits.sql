-- Visits that an application has gathered, recorded at once.

-- A visit counts if its digest opens the session, and if the session knows no later activity: what
-- an older visit has shown may be out of date. Later means later by more than the precision of
-- last_seen_at, so that a small difference of clocks does not matter. The rest is what
-- resume_session does with each visit.
--
-- The planner inlines these two rules.
CREATE OR REPLACE FUNCTION qsessions._visit_counts(
    seen_at timestamptz, last_seen_at timestamptz, idle_timeout interval)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN last_seen_at <= seen_at OR last_seen_at <= qsessions._visit_due_at(seen_at, idle_timeout);

COMMENT ON FUNCTION qsessions._visit_counts(timestamptz, timestamptz, interval) IS
    'Internal: whether a session knows no activity that is later than a visit';

CREATE OR REPLACE FUNCTION qsessions._visit_tells(
    seen_at timestamptz, ip_at timestamptz, seen_ip inet, agent_at timestamptz, seen_agent text,
    hints_at timestamptz, seen_hints jsonb,
    last_seen_at timestamptz, idle_timeout interval, ip inet, user_agent text, client_hints jsonb)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN seen_at >= qsessions._visit_due_at(last_seen_at, idle_timeout)
    OR seen_ip IS NOT NULL AND ip IS DISTINCT FROM qsessions._host(seen_ip)
       AND qsessions._visit_counts(ip_at, last_seen_at, idle_timeout)
    OR seen_agent IS NOT NULL AND user_agent IS DISTINCT FROM qsessions._kept_user_agent(seen_agent)
       AND qsessions._visit_counts(agent_at, last_seen_at, idle_timeout)
    OR seen_hints IS NOT NULL AND qsessions._kept_client_hints(seen_hints) IS NOT NULL
       AND (client_hints @> qsessions._kept_client_hints(seen_hints)) IS NOT TRUE
       AND qsessions._visit_counts(hints_at, last_seen_at, idle_timeout);

COMMENT ON FUNCTION qsessions._visit_tells(timestamptz, timestamptz, inet, timestamptz, text, timestamptz, jsonb, timestamptz, interval, inet, text, jsonb) IS
    'Internal: whether a visit changes a session';

COMMENT ON FUNCTION qsessions._are_distinct(uuid[]) IS 'Internal: whether no id is null and none is there twice';

-- A client most often sends one visit of each session. For any others, this makes one of all visits
-- of a session. Those that are older than the last activity are not left out: none counts that is
-- older than one that does not.
CREATE OR REPLACE FUNCTION qsessions._merge_visits(
    INOUT ids uuid[], INOUT digests bytea[], INOUT ips inet[], INOUT user_agents text[], INOUT seen_at timestamptz[],
    INOUT client_hints jsonb[], OUT ips_at timestamptz[], OUT agents_at timestamptz[], OUT hints_at timestamptz[])
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    SELECT coalesce(array_agg(m.id), '{}'), array_agg(m.digest), array_agg(m.ip), array_agg(m.user_agent),
           array_agg(m.seen_at), array_agg(m.client_hints), array_agg(m.ip_at), array_agg(m.agent_at), array_agg(m.hints_at)
    INTO ids, digests, ips, user_agents, seen_at, client_hints, ips_at, agents_at, hints_at
    FROM (
        SELECT h.id, h.digest, max(h.seen_at) AS seen_at,
               max(h.seen_at) FILTER (WHERE h.ip IS NOT NULL) AS ip_at,
               (array_agg(h.ip ORDER BY h.rank) FILTER (WHERE h.ip IS NOT NULL))[1] AS ip,
               max(h.seen_at) FILTER (WHERE h.user_agent IS NOT NULL) AS agent_at,
               h.last_agent AS user_agent,
               max(h.seen_at) FILTER (WHERE h.shows_hints) AS hints_at,
               (array_agg(h.client_hints ORDER BY h.rank) FILTER (WHERE h.shows_hints))[1] AS client_hints
        FROM (
            -- Hints of another browser than the last do not count.
            SELECT l.*, l.client_hints IS NOT NULL AND (l.user_agent IS NULL OR l.user_agent = l.last_agent) AS shows_hints
            FROM (
                SELECT v.*, row_number() OVER w AS rank,
                       (array_agg(v.user_agent) FILTER (WHERE v.user_agent IS NOT NULL) OVER w)[1] AS last_agent
                FROM (
                    SELECT s.id, s.digest, least(v.seen_at, now()) AS seen_at, v.number, v.ip,
                           qsessions._kept_user_agent(v.user_agent) AS user_agent,
                           qsessions._kept_client_hints(v.client_hints) AS client_hints
                    FROM unnest(ids, digests, ips, user_agents, seen_at, client_hints)
                         WITH ORDINALITY AS v (id, digest, ip, user_agent, seen_at, client_hints, number)
                    JOIN qsessions.session AS s ON s.id = v.id
                    WHERE v.seen_at IS NOT NULL
                      AND qsessions._digest_opens(
                          v.digest, s.digest, s.former_digest, s.former_digest_until, s.expires_at, now())) AS v
                WINDOW w AS (PARTITION BY v.id ORDER BY v.seen_at DESC, v.number DESC
                             ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)) AS l) AS h
        GROUP BY h.id, h.digest, h.last_agent) AS m;
END
$$;

COMMENT ON FUNCTION qsessions._merge_visits(uuid[], bytea[], inet[], text[], timestamptz[], jsonb[]) IS
    'Internal: one visit of each session, made of all its visits by a key that opens it, and when each column was shown last';

-- A row that another transaction has locked is passed over, so that this function never waits: if it
-- did, a single long transaction would hold up the requests of all sessions that a call has locked
-- by then. A row that has changed meanwhile is locked in its present version, to which all of the
-- conditions apply. The UPDATE finds rows by their places, and so not this version: then the visit
-- counts as skipped.
--
-- Searches for rows take most of the time, so each row is searched for once, and those that are not
-- written are read only if there are any. The planner cannot look into the subqueries, and so does
-- not read the whole table. The plan is made once for all calls: it finds the elements of an array in
-- its parameter, but would have to search an array that is a constant of the plan.
CREATE OR REPLACE FUNCTION qsessions.record_visits_for_cache(
    ids uuid[], digests bytea[], ips inet[], user_agents text[], seen_at timestamptz[],
    client_hints jsonb[] DEFAULT NULL)
RETURNS SETOF qsessions.recorded_visit
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_variable
DECLARE
    moment CONSTANT timestamptz := now();
    -- When each column was shown, where that is not the time of the visit.
    ips_at timestamptz[];
    agents_at timestamptz[];
    hints_at timestamptz[];
BEGIN
    PERFORM qsessions._check_visit_arrays(
        cardinality(ids), cardinality(digests), cardinality(ips), cardinality(user_agents), cardinality(seen_at),
        coalesce(cardinality(client_hints), cardinality(ids)));
    -- Elements are numbered from 1 below.
    IF NOT qsessions._are_distinct(ids)
       OR '[1:' || cardinality(ids) || ']' <> ANY (ARRAY[
           array_dims(ids), array_dims(digests), array_dims(ips), array_dims(user_agents), array_dims(seen_at),
           coalesce(array_dims(client_hints), array_dims(ids))])
    THEN
        SELECT m.* INTO ids, digests, ips, user_agents, seen_at, client_hints, ips_at, agents_at, hints_at
        FROM qsessions._merge_visits(ids, digests, ips, user_agents, seen_at, client_hints) AS m;
    END IF;
    RETURN QUERY
    WITH visit AS NOT MATERIALIZED (
        SELECT i.id, i.n::integer AS n, least(seen_at[i.n::integer], moment) AS seen_at
        FROM unnest(ids) WITH ORDINALITY AS i (id, n)
        WHERE seen_at[i.n::integer] IS NOT NULL
    ), written AS (
        UPDATE qsessions.session AS s SET
            ip = coalesce(l.seen_ip, s.ip),
            user_agent = coalesce(l.seen_agent, s.user_agent),
            client_hints = qsessions._merged_client_hints(s.user_agent, s.client_hints, l.seen_agent, l.seen_hints),
            last_seen_at = greatest(s.last_seen_at, l.seen_at),
            purge_after = coalesce(s.purge_after, s.expires_at),
            expires_at = CASE WHEN s.idle_timeout IS NULL THEN s.expires_at
                              ELSE greatest(s.expires_at, least(qsessions._plus(l.seen_at, s.idle_timeout), s.deadline)) END
        FROM (
            SELECT k.*
            FROM visit AS v
            CROSS JOIN LATERAL (
                SELECT s.ctid, s.tableoid, v.seen_at,
                       CASE WHEN qsessions._visit_counts(coalesce(ips_at[v.n], v.seen_at), s.last_seen_at, s.idle_timeout)
                            THEN qsessions._host(ips[v.n]) END AS seen_ip,
                       CASE WHEN qsessions._visit_counts(coalesce(agents_at[v.n], v.seen_at), s.last_seen_at, s.idle_timeout)
                            THEN qsessions._kept_user_agent(user_agents[v.n]) END AS seen_agent,
                       CASE WHEN qsessions._visit_counts(coalesce(hints_at[v.n], v.seen_at), s.last_seen_at, s.idle_timeout)
                            THEN qsessions._kept_client_hints(client_hints[v.n]) END AS seen_hints
                FROM qsessions.session AS s
                WHERE s.id = v.id
                  AND qsessions._digest_opens(
                      digests[v.n], s.digest, s.former_digest, s.former_digest_until, s.expires_at, moment)
                  AND qsessions._visit_tells(
                      v.seen_at, coalesce(ips_at[v.n], v.seen_at), ips[v.n], coalesce(agents_at[v.n], v.seen_at),
                      user_agents[v.n], coalesce(hints_at[v.n], v.seen_at), client_hints[v.n],
                      s.last_seen_at, s.idle_timeout, s.ip, s.user_agent, s.client_hints)
                FOR NO KEY UPDATE SKIP LOCKED) AS k
            OFFSET 0) AS l
        WHERE s.ctid = l.ctid AND s.tableoid IS NOT DISTINCT FROM l.tableoid
        RETURNING s.id, s.last_seen_at, s.expires_at, s.idle_timeout
    )
    SELECT w.id, w.last_seen_at, w.expires_at, qsessions._visit_due_at(w.last_seen_at, w.idle_timeout), true, false
    FROM written AS w
    UNION ALL
    SELECT o.*
    FROM visit AS v
    CROSS JOIN LATERAL (
        SELECT s.id, s.last_seen_at, s.expires_at, qsessions._visit_due_at(s.last_seen_at, s.idle_timeout), false,
               qsessions._visit_tells(
                  v.seen_at, coalesce(ips_at[v.n], v.seen_at), ips[v.n], coalesce(agents_at[v.n], v.seen_at),
                  user_agents[v.n], coalesce(hints_at[v.n], v.seen_at), client_hints[v.n],
                  s.last_seen_at, s.idle_timeout, s.ip, s.user_agent, s.client_hints)
        FROM qsessions.session AS s
        WHERE s.id = v.id
          AND qsessions._digest_opens(
              digests[v.n], s.digest, s.former_digest, s.former_digest_until, s.expires_at, moment)
        OFFSET 0) AS o
    WHERE (SELECT count(*) FROM written) < cardinality(ids)
      AND v.id NOT IN (SELECT w.id FROM written AS w);
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
