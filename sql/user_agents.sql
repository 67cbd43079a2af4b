-- User-Agents. The functions in Rust are in extension/src/user_agents.rs, the rules in
-- crates/user-agent/rules/.

COMMENT ON FUNCTION qsessions.parse_user_agent(text) IS
    'Returns browser, operating system and device of a User-Agent string; a part that it does not say is null';
COMMENT ON FUNCTION qsessions.device(text) IS
    'Describes a User-Agent string in one line, such as iPhone / iOS 17.1 / Safari 17.1';
COMMENT ON FUNCTION qsessions.parse_user_agent(text, jsonb) IS
    'Returns the same for a User-Agent string and its client hints: the headers Sec-CH-UA-* by name. They tell what the string no longer tells, such as the model of a phone or Windows 11';
COMMENT ON FUNCTION qsessions.device(text, jsonb) IS
    'Describes a User-Agent string and its client hints in one line';
COMMENT ON FUNCTION qsessions.user_agent_rules() IS
    'Returns the version of the rules for User-Agents, and the number of rules of each kind';

COMMENT ON FUNCTION qsessions._kept_user_agent(text) IS
    'Internal: the part of a User-Agent string that sessions keep';

COMMENT ON FUNCTION qsessions._kept_client_hints(jsonb) IS
    'Internal: the client hints that sessions keep; null if there are none';

-- A browser sends some hints with each request and others only when it is asked to, so hints are
-- added to those of earlier requests. Those of another browser are not.
CREATE OR REPLACE FUNCTION qsessions._merged_client_hints(
    kept_agent text, kept_hints jsonb, seen_agent text, seen_hints jsonb)
RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN seen_agent IS NOT NULL AND kept_agent IS DISTINCT FROM seen_agent THEN seen_hints
            WHEN seen_hints IS NULL THEN kept_hints
            ELSE coalesce(kept_hints, '{}') || seen_hints END;

COMMENT ON FUNCTION qsessions._merged_client_hints(text, jsonb, text, jsonb) IS
    'Internal: the client hints of a session after a visit, from what it has kept and what the visit has shown';
