-- Settings. extension/src/gucs.rs defines them, with their defaults.

COMMENT ON FUNCTION qsessions._default_ttl() IS 'Internal: the setting qsessions.default_ttl';
COMMENT ON FUNCTION qsessions._touch_interval() IS 'Internal: the setting qsessions.touch_interval';
COMMENT ON FUNCTION qsessions._user_agent_max_length() IS 'Internal: the setting qsessions.user_agent_max_length';
COMMENT ON FUNCTION qsessions._max_data_bytes() IS 'Internal: the setting qsessions.max_data_bytes';
COMMENT ON FUNCTION qsessions._purge_pause() IS 'Internal: the setting qsessions.purge_pause';
COMMENT ON FUNCTION qsessions._data_size(jsonb) IS 'Internal: size in bytes of the data of a session, before compression';
COMMENT ON FUNCTION qsessions._data_fits(jsonb) IS
    'Internal: whether the data of a session is no larger than qsessions.max_data_bytes';
