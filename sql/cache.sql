-- For caches in applications. The planner inlines this function, as it does load_session.
CREATE OR REPLACE FUNCTION qsessions.load_for_cache(key text) RETURNS SETOF qsessions.cacheable_session
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
AS $$
    SELECT s.id, s.user_id::pg_catalog.text, s.data, s.ip, s.user_agent, s.created_at, s.authenticated_at,
           s.updated_at, s.last_seen_at, s.expires_at, s.version,
           qsessions._visit_due_at(s.last_seen_at, s.idle_timeout), qsessions._user_agent_max_length(),
           pg_catalog.pg_postmaster_start_time(), pg_catalog.pg_is_in_recovery(), s.client_hints,
           s.digest OPERATOR(pg_catalog.<>) qsessions._key_digest(load_for_cache.key), s.idle_timeout, s.deadline
    FROM qsessions.session AS s
    WHERE s.id OPERATOR(pg_catalog.=) qsessions._find_session_id(load_for_cache.key)
      AND (s.digest OPERATOR(pg_catalog.=) qsessions._key_digest(load_for_cache.key)
           OR s.former_digest OPERATOR(pg_catalog.=) qsessions._key_digest(load_for_cache.key)
              AND s.former_digest_until OPERATOR(pg_catalog.>) pg_catalog.now())
      AND s.expires_at OPERATOR(pg_catalog.>) pg_catalog.now()
$$;

COMMENT ON FUNCTION qsessions.load_for_cache(text) IS
    'Same as load_session, with the columns that a cache in an application needs. docs/invalidation.md says what such a cache has to do';

-- Where sessions are: the same on all servers, except while they are being moved. On the coordinator,
-- a shard that is moved gets a placement with an id that was never used before, so that placements
-- differs from all earlier ones also after sessions were moved back. Workers keep the former id. A
-- worker that cannot be queried has no metadata, and returns nulls.
CREATE OR REPLACE FUNCTION qsessions._layout(OUT layout text, OUT placements text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF to_regclass('pg_catalog.pg_dist_placement') IS NOT NULL THEN
        EXECUTE 'SELECT hashtextextended(string_agg(concat_ws('' '', p.shardid, n.nodename, n.nodeport), '',''
                                                    ORDER BY p.shardid, n.nodename, n.nodeport), 0),
                        hashtextextended(string_agg(p.placementid::text, '','' ORDER BY p.placementid), 0)
                 FROM pg_catalog.pg_dist_shard AS s
                 JOIN pg_catalog.pg_dist_partition AS d ON d.logicalrelid = s.logicalrelid AND d.partmethod = ''h''
                 JOIN pg_catalog.pg_dist_placement AS p ON p.shardid = s.shardid
                 JOIN pg_catalog.pg_dist_node AS n ON n.groupid = p.groupid AND n.noderole = ''primary''
                 WHERE s.logicalrelid = to_regclass(''qsessions.session'')'
            INTO layout, placements;
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions._layout() IS
    'Internal: where the shards of a distributed session table are, and which placements they have; null if it is not distributed';

-- With several servers, each sends an id of its own in place of the probe. A role that has received
-- the id from one server could send it on another one before its server does.
CREATE OR REPLACE FUNCTION qsessions._heartbeat_of_server(probe uuid) RETURNS json
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    digest bytea;
    id bytea;
    place record;
BEGIN
    IF probe IS NULL THEN
        digest := qsessions.request_heartbeat();
    ELSE
        IF qsessions._is_distributed() THEN
            id := substr(sha256(concat_ws(' ', probe, pg_postmaster_start_time(), current_database())::bytea), 1, 16);
            -- As in any random id.
            id := set_byte(set_byte(id, 6, get_byte(id, 6) & 15 | 64), 8, get_byte(id, 8) & 63 | 128);
            probe := encode(id, 'hex')::uuid;
        END IF;
        PERFORM qsessions.invalidate(probe);
        digest := sha256(probe::text::bytea);
    END IF;
    -- After the request: what it shows is where sessions were later than that.
    SELECT l.* INTO place FROM qsessions._layout() AS l;
    RETURN json_build_object(
        'server_started_at', pg_postmaster_start_time(), 'database', current_database(),
        'channel', qsessions.invalidation_channel(), 'clock', clock_timestamp(), 'digest', encode(digest, 'hex'),
        'layout', place.layout, 'placements', place.placements);
END
$$;

COMMENT ON FUNCTION qsessions._heartbeat_of_server(uuid) IS
    'Internal: requests a heartbeat from this server, or sends a probe, and returns a row of request_heartbeats';

-- A server that does not answer is a row too, so that a cache can tell it from one that is no part
-- of the cluster. This server can be missing in the metadata of Citus.
CREATE OR REPLACE FUNCTION qsessions.request_heartbeats(probe uuid DEFAULT NULL)
RETURNS TABLE (server text, has_sessions boolean, server_started_at timestamptz, database text, channel text,
               clock timestamptz, digest bytea, layout text, placements text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    own json := qsessions._heartbeat_of_server(probe);
    own_layout CONSTANT text := own ->> 'layout';
    has_coordinator boolean;
    patience text;
    node record;
    answer json;
BEGIN
    IF own_layout IS NOT NULL THEN
        EXECUTE 'SELECT l.groupid = 0 FROM pg_catalog.pg_dist_local_group AS l' INTO has_coordinator;
        -- A server that does not answer must not hold up the others for long.
        patience := current_setting('citus.node_connection_timeout', true);
        IF patience IS NOT NULL THEN
            PERFORM set_config('citus.node_connection_timeout', '2s', true);
        END IF;
        FOR node IN EXECUTE
            'SELECT concat(n.nodename, '':'', n.nodeport) AS server, n.groupid = 0 AS is_coordinator, r.success, r.result,
                    EXISTS (SELECT FROM pg_catalog.pg_dist_placement AS p JOIN pg_catalog.pg_dist_shard AS s USING (shardid)
                            WHERE p.groupid = n.groupid AND s.logicalrelid = to_regclass(''qsessions.session'')) AS has_sessions
             FROM pg_catalog.run_command_on_all_nodes($1) AS r
             JOIN pg_catalog.pg_dist_node AS n ON n.nodeid = r.nodeid'
            USING format('SELECT qsessions._heartbeat_of_server(%L)', probe)
        LOOP
            answer := CASE WHEN node.success THEN node.result::json END;
            has_coordinator := has_coordinator OR node.success AND node.is_coordinator;
            IF (answer ->> 'server_started_at')::timestamptz = (own ->> 'server_started_at')::timestamptz
               AND answer ->> 'database' = own ->> 'database'
            THEN
                own := NULL;
            END IF;
            RETURN QUERY
                SELECT node.server, node.has_sessions, (answer ->> 'server_started_at')::timestamptz,
                       answer ->> 'database', answer ->> 'channel', (answer ->> 'clock')::timestamptz,
                       decode(answer ->> 'digest', 'hex'), answer ->> 'layout', answer ->> 'placements';
        END LOOP;
        IF patience IS NOT NULL THEN
            PERFORM set_config('citus.node_connection_timeout', patience, true);
        END IF;
        -- Only the coordinator knows of each move.
        IF NOT has_coordinator THEN
            RAISE EXCEPTION 'the coordinator does not answer this server'
                USING ERRCODE = 'connection_failure',
                      HINT = 'Call citus_set_coordinator_host on the coordinator, and let the role log in there from this server.';
        END IF;
    END IF;
    IF own IS NOT NULL THEN
        RETURN QUERY
            SELECT NULL::text, own_layout IS NULL, (own ->> 'server_started_at')::timestamptz,
                   own ->> 'database', own ->> 'channel', (own ->> 'clock')::timestamptz,
                   decode(own ->> 'digest', 'hex'), own ->> 'layout', own ->> 'placements';
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions.request_heartbeats(uuid) IS
    'Calls request_heartbeat on each server of a distributed session table, or sends a probe there, and returns what a cache needs to know of each server. layout and placements change when sessions are moved between servers. Without Citus, returns one row, in which server, layout and placements are null';
