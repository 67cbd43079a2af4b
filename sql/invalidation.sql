-- Announcing changes. The functions are in extension/src/invalidation/.

-- The name of the symbol stays as it is: triggers of restored and upgraded databases refer to it.
CREATE OR REPLACE FUNCTION qsessions._announce() RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'qsessions_announce';

COMMENT ON FUNCTION qsessions._announce() IS
    'Internal: trigger function that announces the ids of changed sessions on qsessions.invalidation_channel once the transaction has committed';
COMMENT ON FUNCTION qsessions.invalidate(uuid) IS
    'Announces an id as if its session had changed, so that caches drop it. A cache that hears this has heard every change that was committed before';
COMMENT ON FUNCTION qsessions.invalidation_channel() IS
    'Returns the channel to LISTEN on: the setting qsessions.invalidation_channel';
COMMENT ON FUNCTION qsessions.invalidation_status() IS
    'Returns how changes are announced (mode ring or notify) and what keeps them from being announced, with what to do; of the ring also its size, how many ids wait in it, how many were announced and how often it overflowed';
