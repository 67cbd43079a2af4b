-- Who is asking. The functions are in extension/src/current.rs.

ALTER FUNCTION qsessions.authenticate(text, inet, text, jsonb) ROWS 1;

COMMENT ON FUNCTION qsessions.authenticate(text, inet, text, jsonb) IS
    'Same as resume_session, and for the rest of the transaction the session is the current one. Without a live session of the key, there is no current session';
COMMENT ON FUNCTION qsessions.current_user_id() IS
    'Returns the user of the session that authenticate has made the current one in this transaction, for policies; null without one, and in an anonymous session';
COMMENT ON FUNCTION qsessions.current_session_id() IS
    'Returns the id of the session that authenticate has made the current one in this transaction; null without one';
