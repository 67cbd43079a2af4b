-- User-Agents. The functions in Rust are in extension/src/user_agents.rs, the rules in
-- crates/user-agent/rules/.

COMMENT ON FUNCTION qsessions.parse_user_agent(text) IS
    'Returns browser, operating system and device of a User-Agent string; a part that it does not say is null';
COMMENT ON FUNCTION qsessions.device(text) IS
    'Describes a User-Agent string in one line, such as iPhone / iOS 17.1 / Safari 17.1';
COMMENT ON FUNCTION qsessions.user_agent_rules() IS
    'Returns the version of the rules for User-Agents, and the number of rules of each kind';

CREATE OR REPLACE FUNCTION qsessions._kept_user_agent(user_agent text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN left(user_agent, qsessions._user_agent_max_length());

COMMENT ON FUNCTION qsessions._kept_user_agent(text) IS
    'Internal: the part of a User-Agent string that sessions keep';
