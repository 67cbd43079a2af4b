CREATE FUNCTION qsessions.user_sessions(user_id text, current_key text DEFAULT NULL)
RETURNS SETOF qsessions.session_info
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
AS $$
    SELECT s.id, s.user_id::pg_catalog.text, s.ip, qsessions.location(s.ip), qsessions.device(s.user_agent),
           s.user_agent, s.created_at, s.authenticated_at, s.updated_at, s.last_seen_at, s.expires_at,
           true, coalesce(s.digest OPERATOR(pg_catalog.=) qsessions.key_digest(user_sessions.current_key), false)
    FROM qsessions.session AS s
    WHERE s.user_id OPERATOR(pg_catalog.=) user_sessions.user_id::qsessions.user_key
      AND s.expires_at OPERATOR(pg_catalog.>) pg_catalog.now()
    ORDER BY s.last_seen_at DESC, s.id DESC
$$;

COMMENT ON FUNCTION qsessions.user_sessions(text, text) IS
    'The live sessions of a user, last seen first; is_current marks that of current_key';

CREATE FUNCTION qsessions.user_sessions(user_id anynonarray, current_key text DEFAULT NULL)
RETURNS SETOF qsessions.session_info
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
AS $$
    SELECT i.* FROM qsessions.user_sessions(user_sessions.user_id::pg_catalog.text, user_sessions.current_key) AS i
$$;

COMMENT ON FUNCTION qsessions.user_sessions(anynonarray, text) IS
    'The same for a user_id of type bigint, integer, uuid and others';

CREATE FUNCTION qsessions._id_time(id uuid) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN substr(id::text, 15, 1) = '7'
            THEN to_timestamp(('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint / 1000.0) END;

COMMENT ON FUNCTION qsessions._id_time(uuid) IS
    'Internal: when an id was made, to the millisecond; null for one that does not tell, that of a key brought along';

-- The statement is put together from the filters that are given, so that each combination gets the index that
-- serves it.
CREATE FUNCTION qsessions.list_sessions(
    user_id text DEFAULT NULL, active boolean DEFAULT NULL, ip inet DEFAULT NULL, after uuid DEFAULT NULL,
    max_rows integer DEFAULT 100)
RETURNS SETOF qsessions.session_info
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    filters text := 'true';
    after_created_at timestamptz;
BEGIN
    IF max_rows < 1 THEN
        RAISE EXCEPTION 'max_rows: must be at least 1, is %', max_rows
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out for 100 rows, or pass null for all.';
    END IF;
    IF user_id IS NOT NULL THEN
        filters := filters || ' AND s.user_id = $1::qsessions.user_key';
    END IF;
    IF active THEN
        filters := filters || ' AND s.expires_at > now()';
    ELSIF NOT active THEN
        filters := filters || ' AND s.expires_at <= now()';
    END IF;
    IF ip IS NOT NULL THEN
        filters := filters || ' AND s.ip <<= $2';
    END IF;
    IF after IS NOT NULL THEN
        filters := filters || ' AND (s.created_at, s.id) < ($5, $3)';
        SELECT c.created_at INTO after_created_at FROM qsessions.session AS c WHERE c.id = after;
        IF NOT FOUND THEN
            -- It has ended since. The id of a native key tells when it began, rather too late than too early.
            after_created_at := qsessions._id_time(after) + interval '1 ms';
        END IF;
        IF after_created_at IS NULL THEN
            RAISE EXCEPTION 'after: there is no session with this id any more'
                USING ERRCODE = 'invalid_parameter_value', HINT = 'Begin again with the first page.';
        END IF;
    END IF;
    RETURN QUERY EXECUTE format($query$
        SELECT p.id, p.user_id::text, p.ip, qsessions.location(p.ip), qsessions.device(p.user_agent), p.user_agent,
               p.created_at, p.authenticated_at, p.updated_at, p.last_seen_at, p.expires_at, p.expires_at > now(), false
        FROM (SELECT s.* FROM qsessions.session AS s WHERE %s
              ORDER BY s.created_at DESC, s.id DESC LIMIT $4) AS p
        ORDER BY p.created_at DESC, p.id DESC
        $query$, filters)
        USING user_id, qsessions._network(ip), after, max_rows, after_created_at;
END
$$;

COMMENT ON FUNCTION qsessions.list_sessions(text, boolean, inet, uuid, integer) IS
    'A page of sessions for administrators, last begun first; a filter that is null is none; ip may be a network; for the next page pass the last id as after';

CREATE FUNCTION qsessions.list_sessions(
    user_id anynonarray, active boolean DEFAULT NULL, ip inet DEFAULT NULL, after uuid DEFAULT NULL,
    max_rows integer DEFAULT 100)
RETURNS SETOF qsessions.session_info
LANGUAGE sql STABLE
AS $$
    SELECT i.* FROM qsessions.list_sessions(
        list_sessions.user_id::pg_catalog.text, list_sessions.active, list_sessions.ip, list_sessions.after,
        list_sessions.max_rows) AS i
$$;

COMMENT ON FUNCTION qsessions.list_sessions(anynonarray, boolean, inet, uuid, integer) IS
    'The same for a user_id of type bigint, integer, uuid and others';

CREATE FUNCTION qsessions.get_session(id uuid) RETURNS SETOF qsessions.session_data
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
AS $$
    SELECT s.id, s.user_id::pg_catalog.text, s.data, s.ip, s.user_agent, s.created_at, s.authenticated_at,
           s.updated_at, s.last_seen_at, s.expires_at, s.version
    FROM qsessions.session AS s
    WHERE s.id OPERATOR(pg_catalog.=) get_session.id
$$;

COMMENT ON FUNCTION qsessions.get_session(uuid) IS 'A session by its public id, dead or alive, or no row';

CREATE FUNCTION qsessions.stats() RETURNS qsessions.session_stats
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    result qsessions.session_stats;
BEGIN
    SELECT count(*),
           count(*) FILTER (WHERE s.expires_at > now()),
           count(*) FILTER (WHERE s.expires_at <= now()),
           count(*) - count(s.user_id),
           count(s.user_id),
           count(DISTINCT s.user_id),
           min(s.expires_at) FILTER (WHERE s.expires_at <= now()),
           pg_table_size('qsessions.session'),
           pg_indexes_size('qsessions.session')
    INTO result
    FROM qsessions.session AS s;
    RETURN result;
END
$$;

COMMENT ON FUNCTION qsessions.stats() IS 'How many sessions there are, of which kind, and what they take; reads the whole table';
