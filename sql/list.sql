-- Seeing sessions.

-- The planner inlines this function and get_session; load.sql says what that takes.
CREATE OR REPLACE FUNCTION qsessions.user_sessions(
    user_id anycompatiblenonarray, current_key text DEFAULT NULL, max_rows integer DEFAULT NULL)
RETURNS SETOF qsessions.session_info
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
AS $$
    SELECT s.id, s.user_id::pg_catalog.text, s.ip, qsessions.location(s.ip),
           qsessions.device(s.user_agent, s.client_hints), s.user_agent, s.created_at, s.authenticated_at,
           s.updated_at, s.last_seen_at, s.expires_at, true, coalesce(
               s.digest OPERATOR(pg_catalog.=) qsessions._key_digest(user_sessions.current_key)
               OR s.former_digest OPERATOR(pg_catalog.=) qsessions._key_digest(user_sessions.current_key)
                  AND s.former_digest_until OPERATOR(pg_catalog.>) pg_catalog.now(), false)
    FROM qsessions.session AS s
    WHERE s.user_id OPERATOR(pg_catalog.=) user_sessions.user_id::pg_catalog.text::qsessions.user_key
      AND s.expires_at OPERATOR(pg_catalog.>) pg_catalog.now()
    ORDER BY s.last_seen_at DESC, s.id DESC
    LIMIT user_sessions.max_rows
$$;

COMMENT ON FUNCTION qsessions.user_sessions(anycompatiblenonarray, text, integer) IS
    'Lists the live sessions of a user, last seen first, max_rows of them or, by default, all; is_current marks the session of current_key';

CREATE OR REPLACE FUNCTION qsessions._id_time(id uuid) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN substr(id::text, 15, 1) = '7'
            THEN to_timestamp(('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint / 1000.0) END;

COMMENT ON FUNCTION qsessions._id_time(uuid) IS
    'Internal: when an id was made, to the millisecond; null for the id of a key that qsessions has not made, which holds no time';

-- In the order of the index, whatever the statistics of the table say; monitoring.sql has a similar
-- function that needs less privileges.
CREATE OR REPLACE FUNCTION qsessions._expired_ids(max_rows integer, OUT ids uuid[], OUT has_more boolean)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET jit = off
AS $$
#variable_conflict use_variable
BEGIN
    SELECT array_agg(e.id), count(*) = max_rows INTO ids, has_more
    FROM (SELECT s.id FROM qsessions.session AS s
          WHERE s.expires_hour <= now() AND s.expires_at <= now() ORDER BY s.expires_hour LIMIT max_rows) AS e;
END
$$;

COMMENT ON FUNCTION qsessions._expired_ids(integer) IS
    'Internal: the ids of at most max_rows sessions that have expired; has_more says that there may be more';

-- The statement is put together from the filters that are given, so that each combination uses the
-- index that suits it.
CREATE OR REPLACE FUNCTION qsessions.list_sessions(
    user_id anycompatiblenonarray DEFAULT NULL::pg_catalog.text, active boolean DEFAULT NULL, ip inet DEFAULT NULL,
    after uuid DEFAULT NULL, max_rows integer DEFAULT 100, device text DEFAULT NULL, country text DEFAULT NULL,
    last_seen_after timestamptz DEFAULT NULL)
RETURNS SETOF qsessions.session_info
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    user_text text := user_id;
    filters text := 'true';
    after_created_at timestamptz;
    source text := 'qsessions.session';
    expired_ids uuid[];
BEGIN
    IF max_rows < 1 THEN
        RAISE EXCEPTION 'argument "max_rows" must be at least 1, but is %', max_rows
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out for 100 rows, or pass null for all rows.';
    END IF;
    -- The arguments have the collation of the caller's user_id, which may be nondeterministic.
    IF country COLLATE "C" !~ '^[A-Za-z]{2}$' THEN
        RAISE EXCEPTION 'argument "country" must be a code of two letters, but is "%"', country
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass the code of ISO 3166-1 alpha-2, for example ''DE''.';
    END IF;
    IF user_text IS NOT NULL THEN
        filters := filters || ' AND s.user_id = $1::qsessions.user_key';
    END IF;
    IF active THEN
        filters := filters || ' AND s.expires_at > now()';
    ELSIF NOT active THEN
        filters := filters || ' AND s.expires_hour <= now() AND s.expires_at <= now()';
        -- The planner must not look for a few expired sessions among all: it would, where the
        -- statistics are older than the last purges. OFFSET 0 keeps it from looking for them in
        -- the order of the result.
        IF user_text IS NULL THEN
            SELECT e.ids INTO expired_ids FROM qsessions._expired_ids(10000) AS e WHERE NOT e.has_more;
            IF FOUND THEN
                source := '(SELECT e.* FROM qsessions.session AS e WHERE e.id = ANY ($9) OFFSET 0)';
            END IF;
        END IF;
    END IF;
    IF ip IS NOT NULL THEN
        filters := filters || ' AND s.ip <<= $2';
    END IF;
    IF last_seen_after IS NOT NULL THEN
        filters := filters || ' AND s.last_seen_at > $6';
    END IF;
    IF country IS NOT NULL THEN
        filters := filters || ' AND qsessions.country_code(s.ip) = upper($7)';
    END IF;
    IF device IS NOT NULL THEN
        -- The line has the name of a model, but a log may have its code.
        filters := filters || ' AND (strpos(lower(qsessions.device(s.user_agent, s.client_hints)), lower($8)) > 0
            OR strpos(lower((qsessions.parse_user_agent(s.user_agent, s.client_hints)).device), lower($8)) > 0)';
    END IF;
    IF after IS NOT NULL THEN
        filters := filters || ' AND (s.created_at, s.id) < ($5, $3)';
        SELECT c.created_at INTO after_created_at FROM qsessions.session AS c WHERE c.id = after;
        IF NOT FOUND THEN
            -- The session has ended since. Its id says when it was made, rounded down, so one
            -- millisecond is added.
            after_created_at := qsessions._id_time(after) + interval '1 ms';
        END IF;
        IF after_created_at IS NULL THEN
            RAISE EXCEPTION 'argument "after" is the id of a session that no longer exists'
                USING ERRCODE = 'invalid_parameter_value', HINT = 'Begin again with the first page.';
        END IF;
    END IF;
    RETURN QUERY EXECUTE format($query$
        SELECT p.id, p.user_id::text, p.ip, qsessions.location(p.ip),
               qsessions.device(p.user_agent, p.client_hints), p.user_agent, p.created_at, p.authenticated_at, p.updated_at,
               p.last_seen_at, p.expires_at, p.expires_at > now(), false
        FROM (SELECT s.* FROM %s AS s WHERE %s
              ORDER BY s.created_at DESC, s.id DESC LIMIT $4) AS p
        ORDER BY p.created_at DESC, p.id DESC
        $query$, source, filters)
        USING user_text, qsessions._network(ip), after, max_rows, after_created_at, last_seen_after, country, device,
              expired_ids;
END
$$;

COMMENT ON FUNCTION qsessions.list_sessions(anycompatiblenonarray, boolean, inet, uuid, integer, text, text, timestamptz) IS
    'For administrators: lists sessions, last created first, max_rows of them. An argument that is null filters nothing; ip may be a network, device is a part of the device line or of the model in any case, country is a code such as DE; for the next page, pass the id of the last session as after';

CREATE OR REPLACE FUNCTION qsessions.get_session(id uuid) RETURNS SETOF qsessions.session_data
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
AS $$
    SELECT s.id, s.user_id::pg_catalog.text, s.data, s.ip, s.user_agent, s.created_at, s.authenticated_at,
           s.updated_at, s.last_seen_at, s.expires_at, s.version
    FROM qsessions.session AS s
    WHERE s.id OPERATOR(pg_catalog.=) get_session.id
$$;

COMMENT ON FUNCTION qsessions.get_session(uuid) IS
    'Returns a session by its public id, also one that has expired but was not purged yet, or no row';
