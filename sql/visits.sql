-- Visits that an application has gathered, recorded at once.

-- A visit counts if its digest opens the session, and if the session knows no later activity: what
-- an older visit has shown may be out of date. Later means later by more than the precision of
-- last_seen_at, so that a small difference of clocks does not matter. The rest is what
-- resume_session does with each visit.
--
-- "due" passes over a row that another transaction has locked, so that this function never waits:
-- if it did, a single long transaction would hold up the requests of all sessions that a call has
-- locked by then. Nearly always, that other transaction records an activity itself. The conditions
-- in "due" are checked again on the present version of a row that has changed meanwhile.
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
    PERFORM qsessions._check_visit_arrays(
        cardinality(ids), cardinality(digests), cardinality(ips), cardinality(user_agents), cardinality(seen_at),
        coalesce(cardinality(client_hints), cardinality(ids)));
    WITH visit AS (
        SELECT s.id, s.digest, least(v.seen_at, now()) AS seen_at, v.number, qsessions._host(v.ip) AS ip,
               qsessions._kept_user_agent(v.user_agent) AS user_agent,
               qsessions._kept_client_hints(v.client_hints) AS client_hints
        FROM unnest(ids, digests, ips, user_agents, seen_at, client_hints)
             WITH ORDINALITY AS v (id, digest, ip, user_agent, seen_at, client_hints, number)
        JOIN qsessions.session AS s ON s.id = v.id
        WHERE (s.digest = v.digest OR s.former_digest = v.digest AND s.former_digest_until > now())
          AND s.last_seen_at <= qsessions._visit_due_at(least(v.seen_at, now()), s.idle_timeout)
          AND v.seen_at IS NOT NULL
    ), latest AS (
        SELECT v.id, v.digest, max(v.seen_at) AS seen_at,
               max(v.seen_at) FILTER (WHERE v.ip IS NOT NULL) AS ip_at,
               (array_agg(v.ip ORDER BY v.seen_at DESC, v.number DESC) FILTER (WHERE v.ip IS NOT NULL))[1] AS ip,
               max(v.seen_at) FILTER (WHERE v.user_agent IS NOT NULL) AS agent_at,
               (array_agg(v.user_agent ORDER BY v.seen_at DESC, v.number DESC)
                    FILTER (WHERE v.user_agent IS NOT NULL))[1] AS user_agent
        FROM visit AS v GROUP BY v.id, v.digest
    ), hinted AS (
        -- Hints of another browser than the last do not count.
        SELECT DISTINCT ON (v.id) v.id, v.seen_at AS hints_at, v.client_hints
        FROM visit AS v JOIN latest AS l ON l.id = v.id
        WHERE v.client_hints IS NOT NULL AND (v.user_agent IS NULL OR v.user_agent = l.user_agent)
        ORDER BY v.id, v.seen_at DESC, v.number DESC
    ), due AS MATERIALIZED (
        SELECT l.*, h.hints_at, h.client_hints
        FROM latest AS l
        LEFT JOIN hinted AS h ON h.id = l.id
        JOIN qsessions.session AS s ON s.id = l.id AND s.digest = l.digest
        WHERE s.expires_at > now()
          AND (l.seen_at >= qsessions._visit_due_at(s.last_seen_at, s.idle_timeout)
               OR s.last_seen_at <= qsessions._visit_due_at(l.ip_at, s.idle_timeout)
                  AND s.ip IS DISTINCT FROM l.ip
               OR s.last_seen_at <= qsessions._visit_due_at(l.agent_at, s.idle_timeout)
                  AND s.user_agent IS DISTINCT FROM l.user_agent
               OR s.last_seen_at <= qsessions._visit_due_at(h.hints_at, s.idle_timeout)
                  AND (s.client_hints @> h.client_hints) IS NOT TRUE)
        FOR NO KEY UPDATE OF s SKIP LOCKED
    ), written AS (
        UPDATE qsessions.session AS s SET
            ip = CASE WHEN s.last_seen_at <= qsessions._visit_due_at(d.ip_at, s.idle_timeout) THEN d.ip ELSE s.ip END,
            user_agent = CASE WHEN s.last_seen_at <= qsessions._visit_due_at(d.agent_at, s.idle_timeout) THEN d.user_agent
                              ELSE s.user_agent END,
            client_hints = qsessions._merged_client_hints(
                s.user_agent, s.client_hints,
                CASE WHEN s.last_seen_at <= qsessions._visit_due_at(d.agent_at, s.idle_timeout) THEN d.user_agent END,
                CASE WHEN s.last_seen_at <= qsessions._visit_due_at(d.hints_at, s.idle_timeout) THEN d.client_hints END),
            last_seen_at = greatest(s.last_seen_at, d.seen_at),
            purge_after = coalesce(s.purge_after, s.expires_at),
            expires_at = CASE WHEN s.idle_timeout IS NULL THEN s.expires_at
                              ELSE greatest(s.expires_at, least(qsessions._plus(d.seen_at, s.idle_timeout), s.deadline)) END
        FROM due AS d
        WHERE s.id = d.id
        RETURNING s.id
    )
    SELECT count(*) INTO recorded FROM written;
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
