//! When a session expires.
//!
//! What a statement that writes calls for each row is IMMUTABLE, and is given the time of the
//! transaction as an argument: Citus, which executes the statement on another node, accepts no other
//! function of a column. So intervals are added at UTC, where the result does not depend on the
//! setting `timezone`. They are functions in Rust because the planner would inline one in SQL, and
//! because a statement spends time on each function and operator in it before it reads a row.

use crate::gucs;
use pgrx::datum::{Interval, TimestampWithTimeZone};
use pgrx::prelude::*;
use pgrx::{IntoDatum, direct_function_call, pg_sys};

const MICROSECONDS_PER_DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// Times within thousands of years of the year 2000, far from the bounds of the type.
const NEAR: std::ops::Range<i64> = -i64::MAX / 4..i64::MAX / 4;

/// A time and an interval later, where each day has 24 hours.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_plus",
    immutable,
    parallel_safe,
    strict
)]
fn plus(moment: TimestampWithTimeZone, span: Interval) -> TimestampWithTimeZone {
    if let Some(sum) = plain_sum(moment.into_inner(), span)
        && let Ok(sum) = TimestampWithTimeZone::try_from(sum)
    {
        return sum;
    }
    // A timestamptz counts microseconds in UTC, and a timestamp counts the same in no zone. So this
    // function, which is that of timestamp, adds months and days at UTC. It raises the errors too.
    //
    // SAFETY: the arguments have the types that the function expects in memory.
    let sum = unsafe {
        direct_function_call(
            pg_sys::timestamp_pl_interval,
            &[moment.into_datum(), span.into_datum()],
        )
    };
    sum.expect("timestamp_pl_interval never returns null")
}

/// The sum, if no calendar is needed for it.
fn plain_sum(moment: i64, span: Interval) -> Option<i64> {
    if span.months() != 0 || !NEAR.contains(&moment) {
        return None;
    }
    i64::from(span.days())
        .checked_mul(MICROSECONDS_PER_DAY)?
        .checked_add(span.micros())?
        .checked_add(moment)
}

/// The one rule of when a session expires that is used at `moment`. The last activity counts: this
/// one, or a later one where a transaction that began earlier commits last. So an expiry never moves
/// back in time.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_slide",
    immutable,
    parallel_safe
)]
fn slide(
    expires_at: Option<TimestampWithTimeZone>,
    last_seen_at: Option<TimestampWithTimeZone>,
    idle_timeout: Option<Interval>,
    deadline: Option<TimestampWithTimeZone>,
    moment: Option<TimestampWithTimeZone>,
) -> Option<TimestampWithTimeZone> {
    let Some(idle_timeout) = idle_timeout else {
        return expires_at;
    };
    // As GREATEST and LEAST do, this passes over null.
    let last_activity = match (last_seen_at, moment) {
        (Some(one), Some(other)) if one.into_inner() > other.into_inner() => one,
        (one, other) => other.or(one)?,
    };
    let idle_at = plus(last_activity, idle_timeout);
    Some(match deadline {
        Some(deadline) if deadline.into_inner() < idle_at.into_inner() => deadline,
        _ => idle_at,
    })
}

/// The expiry of a new session: the given one, or `qsessions.default_ttl` from now.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_expiry_or_default",
    stable,
    parallel_safe
)]
fn expiry_or_default(expires_at: Option<TimestampWithTimeZone>) -> TimestampWithTimeZone {
    expires_at.unwrap_or_else(|| plus(now(), gucs::default_ttl()))
}

/// The time of the transaction, or null.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_now_if",
    stable,
    parallel_safe,
    strict
)]
fn now_if(condition: bool) -> Option<TimestampWithTimeZone> {
    condition.then(now)
}
