-- Keys are hashed, and User-Agents read, as UTF-8. In another encoding one odd header would break the pages that
-- list it, so such a database is refused at the door.
DO $$
BEGIN
    IF pg_catalog.current_setting('server_encoding') OPERATOR(pg_catalog.<>) 'UTF8' THEN
        RAISE EXCEPTION 'qsessions needs a database with the encoding UTF8, and this one has %',
                pg_catalog.current_setting('server_encoding')
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'Make one by CREATE DATABASE ... ENCODING ''UTF8'' TEMPLATE template0.';
    END IF;
END
$$;

-- The schema is made here and must not exist yet: a schema that somebody else made beforehand could
-- hold functions of his own, which ours would then call.
CREATE SCHEMA qsessions;

COMMENT ON SCHEMA qsessions IS 'Session management: sessions, their life, devices and places';

-- Row types. The functions return named composites rather than OUT parameters, so that an argument and a
-- column of the result may share a name.

CREATE TYPE qsessions.new_session AS (
    key        text,
    id         uuid,
    expires_at timestamptz
);

COMMENT ON TYPE qsessions.new_session IS
    'A session that has just got a key. This is the only time the key is seen: the table keeps its SHA-256';

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

COMMENT ON TYPE qsessions.session_data IS 'A session as the application works with it';

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

COMMENT ON TYPE qsessions.session_info IS 'A session as a person is shown it: device and place, no data';

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
    'Counts over all rows (total = active + expired = anonymous + authenticated) and sizes in bytes';

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
    'What a User-Agent string tells; null where it does not tell. vendor makes the device, or runs the bot; category is one of desktop, mobile, tablet, bot, tool, tv, console, other';

CREATE TYPE qsessions.asn_info AS (
    number       bigint,
    organization text
);

COMMENT ON TYPE qsessions.asn_info IS
    'The autonomous system that an address is in: number is 64496 of AS64496, organization who runs it';
