-- Comes last: what there is to say of the functions that are written in Rust, and who may call what.

COMMENT ON FUNCTION qsessions.generate_key() IS
    'A fresh key: 48 characters of base64url, the session''s id (a UUIDv7) and 160 random bits';
COMMENT ON FUNCTION qsessions.generate_key_for(uuid) IS
    'Internal: a fresh key for a session that has its id already';
COMMENT ON FUNCTION qsessions.find_session_id(text) IS
    'Internal: session_id, but null for a text that can''t be a key';
COMMENT ON FUNCTION qsessions.key_digest(text) IS 'Internal: SHA-256 of a key, as the table keeps it';
COMMENT ON FUNCTION qsessions.address(text) IS
    'The address that a server or proxy has written for a client: without port, brackets and zone; null where it is none, as for an empty text, unknown, a path, a host name or a list';
COMMENT ON FUNCTION qsessions._host(inet) IS
    'Internal: an address as sessions keep it: IPv4 where it is IPv4-mapped, and without a mask';
COMMENT ON FUNCTION qsessions._network(inet) IS
    'Internal: a network as sessions are searched by it: IPv4 where it is IPv4-mapped';
COMMENT ON FUNCTION qsessions._lock_user_hash(oid, bigint, boolean) IS
    'Internal: locks a user until the transaction ends, so that what ends all his sessions and what begins one wait for each other';
COMMENT ON FUNCTION qsessions.data_size(jsonb) IS 'Internal: bytes of session data as jsonb, before compression';
COMMENT ON FUNCTION qsessions.data_fits(jsonb) IS 'Internal: whether session data is within qsessions.max_data_bytes';
COMMENT ON FUNCTION qsessions.max_data_bytes() IS 'Internal: qsessions.max_data_bytes';
COMMENT ON FUNCTION qsessions.default_ttl() IS 'Internal: qsessions.default_ttl';
COMMENT ON FUNCTION qsessions.touch_interval() IS 'Internal: qsessions.touch_interval';
COMMENT ON FUNCTION qsessions.user_agent_max_length() IS 'Internal: qsessions.user_agent_max_length';
COMMENT ON FUNCTION qsessions.parse_user_agent(text) IS
    'What a User-Agent tells of browser, operating system and device; null where it does not tell';
COMMENT ON FUNCTION qsessions.device(text) IS
    'Device, operating system and browser in one line for a person: iPhone / iOS 17.1 / Safari 17.1';
COMMENT ON FUNCTION qsessions.user_agent_rules() IS
    'The version of the rules by which parse_user_agent and device judge, and how many there are of each kind';
COMMENT ON FUNCTION qsessions.location(inet, text) IS
    'Where an address is: "City, Country", else "Country", else null; in a locale such as de, by default qsessions.locale';
COMMENT ON FUNCTION qsessions.location_info(inet, text) IS
    'All that is known of where an address is, with the keys of Django''s GeoIP2.city() or country()';
COMMENT ON FUNCTION qsessions.country_code(inet) IS 'ISO 3166-1 alpha-2 code of the country of an address';
COMMENT ON FUNCTION qsessions.asn(inet) IS
    'The autonomous system that an address is in, number and organization; null where no database of such has it';
COMMENT ON FUNCTION qsessions.geoip_databases() IS
    'The GeoIP databases that this backend has open, from qsessions.geoip_path, and what is wrong with files there';
COMMENT ON FUNCTION qsessions.geoip_reload() IS
    'Takes changed GeoIP files now rather than within qsessions.geoip_check_interval, and says what is then open';
COMMENT ON FUNCTION qsessions.announce() IS
    'Trigger function: has the ids of changed sessions announced on qsessions.invalidation_channel when the transaction has committed';
COMMENT ON FUNCTION qsessions.invalidate(uuid) IS
    'Announces an id as if its session had changed, so that caches drop it; heard after everything that was committed before';
COMMENT ON FUNCTION qsessions.invalidation_channel() IS 'qsessions.invalidation_channel: where to LISTEN';
COMMENT ON FUNCTION qsessions.invalidation_status() IS
    'How changes are announced (mode ring or notify), and of the ring: its size, how many ids wait, how many were announced, how often it overflowed; and what is wrong, if anything, with what to do';
COMMENT ON FUNCTION qsessions._schedule_purge(text, integer, text) IS
    'Internal: has pg_cron purge this database, in place of any job that did so before; the job''s id';
COMMENT ON FUNCTION qsessions._unschedule_purge() IS
    'Internal: removes the jobs of pg_cron that purge this database; how many there were';

-- PUBLIC may run the pure functions of keys and user agents; everything else is
-- granted role by role.
REVOKE ALL ON ALL ROUTINES IN SCHEMA qsessions FROM PUBLIC;
GRANT USAGE ON SCHEMA qsessions TO PUBLIC;
GRANT EXECUTE ON FUNCTION
    qsessions.generate_key(), qsessions.session_id(text), qsessions.find_session_id(text), qsessions.address(text),
    qsessions.parse_user_agent(text), qsessions.device(text), qsessions.user_agent_rules()
    TO PUBLIC;
