-- When a session expires.

-- A day always has 24 hours here, since intervals are added at UTC. The functions in Rust are in
-- extension/src/expiry.rs.

COMMENT ON FUNCTION qsessions._plus(timestamptz, interval) IS
    'Internal: a time and an interval later, where each day has 24 hours';
COMMENT ON FUNCTION qsessions._slide(timestamptz, timestamptz, interval, timestamptz, timestamptz) IS
    'Internal: when a session expires that is used at a moment';
COMMENT ON FUNCTION qsessions._expiry_or_default(timestamptz) IS
    'Internal: the expiry of a new session, by default qsessions.default_ttl from now';
COMMENT ON FUNCTION qsessions._now_if(boolean) IS 'Internal: now(), or null';

-- The one rule of when a visit is recorded. An idle timeout shorter than the touch interval would
-- run out while the user is active, so a quarter of it counts too.
CREATE OR REPLACE FUNCTION qsessions._visit_due_at(last_seen_at timestamptz, idle_timeout interval) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN qsessions._plus(last_seen_at, LEAST(qsessions._touch_interval(), idle_timeout / 4));

COMMENT ON FUNCTION qsessions._visit_due_at(timestamptz, interval) IS
    'Internal: from when on a visit that changes neither ip nor user_agent is recorded';

CREATE OR REPLACE FUNCTION qsessions._check_interval(argument text, value interval) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- The sign of an interval with months and days can depend on the date, so the sum is compared
    -- too.
    IF value <= interval '0' OR (value < interval '1 year' AND qsessions._plus(now(), value) <= now()) THEN
        RAISE EXCEPTION 'argument "%" must be longer than zero', argument
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass an interval such as ''30 minutes'' or ''14 days''.';
    END IF;
    IF isfinite(value) AND value > interval '100000 years' THEN
        RAISE EXCEPTION 'argument "%" must not be longer than 100000 years', argument
            USING ERRCODE = 'interval_field_overflow', HINT = 'Pass an interval such as ''30 minutes'' or ''14 days''.';
    END IF;
END
$$;

COMMENT ON FUNCTION qsessions._check_interval(text, interval) IS
    'Internal: raises an error for an interval that cannot be an expiry';

CREATE OR REPLACE FUNCTION qsessions._expiry(
    ttl interval, idle_timeout interval, max_age interval,
    OUT expires_at timestamptz, OUT deadline timestamptz)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF ttl IS NOT NULL AND idle_timeout IS NOT NULL THEN
        RAISE EXCEPTION 'arguments "ttl" and "idle_timeout" must not both be given'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Use ttl for a fixed expiry, or idle_timeout for one that slides with activity. Use max_age to bound either.';
    END IF;
    PERFORM qsessions._check_interval('ttl', ttl);
    PERFORM qsessions._check_interval('idle_timeout', idle_timeout);
    PERFORM qsessions._check_interval('max_age', max_age);
    deadline := coalesce(qsessions._plus(now(), max_age), 'infinity');
    expires_at := least(qsessions._plus(now(), coalesce(ttl, idle_timeout, qsessions._default_ttl())), deadline);
END
$$;

COMMENT ON FUNCTION qsessions._expiry(interval, interval, interval) IS
    'Internal: checks ttl, idle_timeout and max_age, and returns the columns that they stand for';

CREATE OR REPLACE FUNCTION qsessions.set_expiry(
    key text, ttl interval DEFAULT NULL, idle_timeout interval DEFAULT NULL, max_age interval DEFAULT NULL)
RETURNS timestamptz
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    new_deadline timestamptz;
    new_expires_at timestamptz;
BEGIN
    IF ttl IS NULL AND idle_timeout IS NULL AND max_age IS NULL THEN
        RAISE EXCEPTION 'one of the arguments "ttl", "idle_timeout" and "max_age" must be given'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass for example ttl => ''1 hour''.';
    END IF;
    SELECT e.deadline INTO new_deadline FROM qsessions._expiry(ttl, idle_timeout, max_age) AS e;
    -- This is an activity too, so last_seen_at records it: a later slide must not count from an
    -- earlier one.
    UPDATE qsessions.session AS s SET
        idle_timeout = CASE WHEN ttl IS NULL THEN coalesce(idle_timeout, s.idle_timeout) END,
        deadline = CASE WHEN max_age IS NULL THEN s.deadline ELSE new_deadline END,
        last_seen_at = greatest(s.last_seen_at, now()),
        purge_after = coalesce(s.purge_after, s.expires_at),
        expires_at = least(
            qsessions._slide(s.expires_at, s.last_seen_at, coalesce(ttl, idle_timeout), 'infinity', now()),
            CASE WHEN max_age IS NULL THEN s.deadline ELSE new_deadline END)
    WHERE qsessions._key_opens(key, s.id, s.digest, s.former_digest, s.former_digest_until, s.expires_at)
    RETURNING s.expires_at INTO new_expires_at;
    IF NOT FOUND THEN
        PERFORM qsessions._raise_not_found(key, NULL);
    END IF;
    RETURN new_expires_at;
END
$$;

COMMENT ON FUNCTION qsessions.set_expiry(text, interval, interval, interval) IS
    'Makes the expiry of a live session fixed (ttl) or sliding (idle_timeout), and bounds it (max_age); all count from now. Returns the new expires_at';
