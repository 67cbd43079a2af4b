-- Keys and ids. The functions in Rust are in extension/src/keys.rs.

COMMENT ON FUNCTION qsessions.generate_key() IS
    'Makes a new key: 48 characters of base64url, which hold the id of a session (a UUIDv7) and 160 random bits';
COMMENT ON FUNCTION qsessions._generate_key_for(uuid) IS
    'Internal: makes a new key for a session that has an id already';
COMMENT ON FUNCTION qsessions._find_session_id(text) IS
    'Internal: same as session_id, but returns null for a text that cannot be a key';
COMMENT ON FUNCTION qsessions._key_digest(text) IS
    'Internal: SHA-256 of a key, as the table keeps it; null for a text that cannot be a key';
COMMENT ON FUNCTION qsessions._digest_opens(bytea, bytea, bytea, timestamptz, timestamptz, timestamptz) IS
    'Internal: whether a row has not expired and has the digest of a key, or has it as its former digest and the grace is not over';

CREATE OR REPLACE FUNCTION qsessions.session_id(key text) RETURNS uuid
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    id uuid := qsessions._find_session_id(key);
BEGIN
    IF id IS NULL THEN
        RAISE EXCEPTION 'argument "key" must have 8 to 512 characters, but has %', char_length(key)
            USING ERRCODE = 'QS003', HINT = 'Pass the whole key, as a function has returned it or as the cookie holds it.';
    END IF;
    RETURN id;
END
$$;

COMMENT ON FUNCTION qsessions.session_id(text) IS
    'Returns the public id of the session that a key belongs to. A key made by qsessions contains the id; for any other key it is derived from the SHA-256 of the key. Raises QS003 for a text that cannot be a key';

-- The one rule of which session a key opens. The names and operators in a standard body (RETURN)
-- are resolved when the extension is created, so no search_path can change them, and the planner
-- inlines the function: a search by it is a scan of the primary key. load_session and
-- load_for_cache spell the rule out, because their caller may pass an expensive expression as the
-- key. The planner does not inline a function that uses such an argument twice, and would read the
-- whole table.
--
-- After a rotation with a grace, the former key opens the session too, until the grace is over.
CREATE OR REPLACE FUNCTION qsessions._key_opens(
    key text, id uuid, digest bytea, former_digest bytea, former_digest_until timestamptz, expires_at timestamptz)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN id = qsessions._find_session_id(key)
   AND qsessions._digest_opens(
       qsessions._key_digest(key), digest, former_digest, former_digest_until, expires_at, now());

COMMENT ON FUNCTION qsessions._key_opens(text, uuid, bytea, bytea, timestamptz, timestamptz) IS
    'Internal: whether a row, given by its columns, is the live session of a key';
