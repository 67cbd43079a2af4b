-- Notifications of changed sessions. The functions are in extension/src/invalidation/.

-- The name of the symbol stays as it is: triggers of restored and upgraded databases refer to it.
CREATE OR REPLACE FUNCTION qsessions._announce() RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'qsessions_announce';

COMMENT ON FUNCTION qsessions._announce() IS
    'Internal: trigger function that sends the ids of changed sessions on qsessions.invalidation_channel when the transaction commits';
COMMENT ON FUNCTION qsessions.invalidate(uuid) IS
    'Sends an id as if its session had changed, so that caches drop it. A cache that receives it has received all changes that were committed before';
COMMENT ON FUNCTION qsessions.request_heartbeat() IS
    'Returns the SHA-256 of the text of an id, which is sent once for all callers, at most ten times a second. A cache that receives this id has received all changes that were committed before the call';
COMMENT ON FUNCTION qsessions.invalidation_channel() IS
    'Returns the channel to LISTEN on: the parameter qsessions.invalidation_channel';
COMMENT ON FUNCTION qsessions.invalidation_status() IS
    'Returns how caches are notified of changes (mode ring or notify), and the problem, if there is one, with what to do. In mode ring also its size, the numbers of ids that wait in it and that were sent, how often it was overrun, and the process that sends them';
