-- The schema, the row types and one table. CREATE OR REPLACE cannot make these, so an upgrade
-- leaves their CREATE statements out; see scripts/upgrade-scripts.

-- Keys are hashed, and User-Agents are read, as UTF-8. In a database of another encoding, one odd
-- header would break every page that lists it. CREATE EXTENSION refuses such a database.
DO $$
BEGIN
    IF pg_catalog.current_setting('server_encoding') OPERATOR(pg_catalog.<>) 'UTF8' THEN
        RAISE EXCEPTION 'extension "qsessions" requires database encoding UTF8, but this database has %',
                pg_catalog.current_setting('server_encoding')
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'Create a database with CREATE DATABASE ... ENCODING ''UTF8'' TEMPLATE template0.';
    END IF;
END
$$;

-- The schema must not exist yet. A schema that another role has made could hold functions of that
-- role, which the functions below would then call.
CREATE SCHEMA qsessions;

COMMENT ON SCHEMA qsessions IS 'Session management for applications';

-- The files of a new version do not replace the library that a server has preloaded, or a backend
-- has loaded. An older library lacks functions that this script needs, or does something else.
DO $$
DECLARE
    library pg_catalog.text;
    script pg_catalog.text;
BEGIN
    SELECT e.extversion INTO script FROM pg_catalog.pg_extension AS e WHERE e.extname OPERATOR(pg_catalog.=) 'qsessions';
    BEGIN
        CREATE OR REPLACE FUNCTION qsessions._library_version() RETURNS text
        LANGUAGE c STABLE STRICT PARALLEL SAFE
        AS 'MODULE_PATHNAME', 'library_version_wrapper';
        library := qsessions._library_version();
    EXCEPTION WHEN undefined_function THEN
        -- The library of 0.1.0 does not have the function.
        library := '0.1.0';
    END;
    IF pg_catalog.string_to_array(library, '.')::integer[]
       OPERATOR(pg_catalog.<) pg_catalog.string_to_array(script, '.')::integer[]
    THEN
        RAISE EXCEPTION 'version % of extension "qsessions" needs its library, but the server has loaded that of version %',
                script, library
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'If qsessions is in shared_preload_libraries, restart the server. Otherwise, connect again. Then repeat the command.';
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions._library_version() IS 'Internal: the version of the library that this backend has loaded';

-- PUBLIC may look names up; what it may run is the subject of access.sql.
GRANT USAGE ON SCHEMA qsessions TO PUBLIC;

-- Functions return named row types rather than OUT parameters, so that an argument and a column of
-- the result may have the same name.

CREATE TYPE qsessions.new_session AS (
    key        text,
    id         uuid,
    expires_at timestamptz
);

COMMENT ON TYPE qsessions.new_session IS
    'A session and its new key. The key is shown only here: the table keeps its SHA-256';

CREATE TYPE qsessions.new_login AS (
    key           text,
    id            uuid,
    expires_at    timestamptz,
    is_new_device boolean,
    is_new_place  boolean
);

COMMENT ON TYPE qsessions.new_login IS
    'The columns of new_session, and whether the user has logged in from this device and this place before; without the event table, null';

CREATE TYPE qsessions.session_data AS (
    id               uuid,
    user_id          text,
    data             jsonb,
    ip               inet,
    user_agent       text,
    created_at       timestamptz,
    authenticated_at timestamptz,
    updated_at       timestamptz,
    last_seen_at     timestamptz,
    expires_at       timestamptz,
    version          bigint
);

COMMENT ON TYPE qsessions.session_data IS 'A session with its data, for the application';

CREATE TYPE qsessions.session_info AS (
    id               uuid,
    user_id          text,
    ip               inet,
    location         text,
    device           text,
    user_agent       text,
    created_at       timestamptz,
    authenticated_at timestamptz,
    updated_at       timestamptz,
    last_seen_at     timestamptz,
    expires_at       timestamptz,
    is_active        boolean,
    is_current       boolean
);

COMMENT ON TYPE qsessions.session_info IS
    'A session with its device and location, without its data, for a page that lists sessions';

CREATE TYPE qsessions.event_info AS (
    at            timestamptz,
    event         text,
    revoked_by    text,
    session_id    uuid,
    ip            inet,
    location      text,
    device        text,
    user_agent    text,
    is_new_device boolean,
    is_new_place  boolean
);

COMMENT ON TYPE qsessions.event_info IS
    'What has happened to a session, with its device and location, for a page that lists it';

CREATE TYPE qsessions.session_stats AS (
    total             bigint,
    active            bigint,
    expired           bigint,
    anonymous         bigint,
    authenticated     bigint,
    users             bigint,
    oldest_expired_at timestamptz,
    table_bytes       bigint,
    index_bytes       bigint
);

COMMENT ON TYPE qsessions.session_stats IS
    'Numbers of sessions (total = active + expired = anonymous + authenticated) and sizes in bytes';

CREATE TYPE qsessions.cacheable_session AS (
    id                    uuid,
    user_id               text,
    data                  jsonb,
    ip                    inet,
    user_agent            text,
    created_at            timestamptz,
    authenticated_at      timestamptz,
    updated_at            timestamptz,
    last_seen_at          timestamptz,
    expires_at            timestamptz,
    version               bigint,
    visit_due_at          timestamptz,
    user_agent_max_length integer,
    server_started_at     timestamptz,
    is_standby            boolean,
    client_hints          jsonb,
    is_former_key         boolean,
    idle_timeout          interval,
    deadline              timestamptz
);

COMMENT ON TYPE qsessions.cacheable_session IS
    'The columns of session_data, and the columns that a cache in an application needs';
COMMENT ON COLUMN qsessions.cacheable_session.visit_due_at IS
    'From this time on, resume_session records a visit even if neither ip nor user_agent has changed';
COMMENT ON COLUMN qsessions.cacheable_session.user_agent_max_length IS
    'Number of characters to which a User-Agent is cut';
COMMENT ON COLUMN qsessions.cacheable_session.server_started_at IS
    'Identifies the server that has answered: a cache keeps only sessions of the server that it listens to';
COMMENT ON COLUMN qsessions.cacheable_session.is_standby IS
    'Whether a standby has answered: a standby lags behind, so a cache does not keep its answers';
COMMENT ON COLUMN qsessions.cacheable_session.client_hints IS
    'Client hints that the browser has sent, as the session keeps them';
COMMENT ON COLUMN qsessions.cacheable_session.is_former_key IS
    'Whether the key was rotated and opens the session for the grace that is left: a cache does not keep this answer';
COMMENT ON COLUMN qsessions.cacheable_session.idle_timeout IS
    'A visit moves expires_at to this long after it, but not past the deadline; null for a session with a fixed expiry';

CREATE TYPE qsessions.recorded_visit AS (
    id           uuid,
    last_seen_at timestamptz,
    expires_at   timestamptz,
    visit_due_at timestamptz,
    is_written   boolean,
    is_skipped   boolean
);

COMMENT ON TYPE qsessions.recorded_visit IS
    'What has become of a visit: the session after the call, and whether the visit was written';
COMMENT ON COLUMN qsessions.recorded_visit.visit_due_at IS
    'From this time on, a visit is recorded even if neither ip nor user_agent has changed';
COMMENT ON COLUMN qsessions.recorded_visit.is_written IS
    'Whether the visit has changed the session: one that tells nothing new does not';
COMMENT ON COLUMN qsessions.recorded_visit.is_skipped IS
    'Whether another transaction was changing the session, so that the visit has to be recorded again';

CREATE TYPE qsessions.user_agent_info AS (
    browser         text,
    browser_version text,
    os              text,
    os_version      text,
    device          text,
    vendor          text,
    category        text,
    is_bot          boolean
);

COMMENT ON TYPE qsessions.user_agent_info IS
    'What a User-Agent string says; a part that it does not say is null. vendor makes the device or runs the bot; category is desktop, mobile, tablet, bot, tool, tv, console or other';

CREATE TYPE qsessions.asn_info AS (
    number       bigint,
    organization text
);

COMMENT ON TYPE qsessions.asn_info IS
    'An autonomous system: number is 64496 for AS64496, organization operates it';

-- Transactions that send notifications in this database leave here what the next one needs to know;
-- extension/src/invalidation/notify.rs reads and writes the table without SQL. It is unlogged, so
-- that no publication FOR ALL TABLES copies it to another server.
CREATE UNLOGGED TABLE qsessions.invalidation_state (
    channel   name    NOT NULL,
    is_behind boolean NOT NULL
);

COMMENT ON TABLE qsessions.invalidation_state IS
    'Internal: at most one row, with the channel of the last notification, and whether listeners are behind';
COMMENT ON COLUMN qsessions.invalidation_state.channel IS
    'Channel of the last notification; without a row, the default channel';
COMMENT ON COLUMN qsessions.invalidation_state.is_behind IS
    'Whether changes were committed that could not be sent, so that the next transaction sends * first';

-- The changes of transactions that are prepared for a two-phase commit;
-- extension/src/invalidation/prepared.rs reads and writes the table without SQL. It is not unlogged:
-- the rows must survive a crash as the transaction does. They are not part of publications.
CREATE TABLE qsessions.invalidation_prepared (
    ids bytea NOT NULL
)
WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

ALTER TABLE qsessions.invalidation_prepared ALTER COLUMN ids SET STORAGE PLAIN;

COMMENT ON TABLE qsessions.invalidation_prepared IS
    'Internal: sessions that prepared transactions have changed, until listeners are notified of them after COMMIT PREPARED';
COMMENT ON COLUMN qsessions.invalidation_prepared.ids IS
    'Ids, 16 bytes each; none stand for all sessions';
