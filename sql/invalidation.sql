-- What the announcements of this database need to know of each other;
-- extension/src/invalidation/notify.rs reads and writes it, below SQL. Unlogged, so that no
-- publication FOR ALL TABLES carries it elsewhere.
CREATE UNLOGGED TABLE qsessions.invalidation_state (
    channel   name    NOT NULL,
    is_behind boolean NOT NULL
);

COMMENT ON TABLE qsessions.invalidation_state IS
    'Internal: the channel of the last announcement where it is not the default one, and whether changes could not be announced since';
COMMENT ON COLUMN qsessions.invalidation_state.channel IS 'Channel of the last announcement';
COMMENT ON COLUMN qsessions.invalidation_state.is_behind IS
    'Whether changes were committed that could not be announced, so that the next announcement begins with *';
