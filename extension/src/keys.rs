//! Session keys, ids and digests as SQL functions.

use pgrx::prelude::*;
use pgrx::{Uuid, pg_sys};
use qsessions_key::{ID_RANDOM_LENGTH, SECRET_LENGTH};
use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

/// A UUIDv7 counts in steps of 1/4096 ms. This many nanoseconds are always at least one step.
const ID_STEP_NANOS: u64 = 245;

thread_local! {
    /// The time of the last id of this backend, so that the next id sorts after it. A backend has
    /// one thread.
    static LAST_ID_NANOS: Cell<u64> = const { Cell::new(0) };
}

/// A new native key.
#[pg_extern(create_or_replace, schema = "qsessions", volatile, parallel_safe)]
fn generate_key() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64);
    let nanos = LAST_ID_NANOS.with(|last| {
        let nanos = now.max(last.get() + ID_STEP_NANOS);
        last.set(nanos);
        nanos
    });
    // One call, because each costs about as much as all else here.
    let random: [u8; ID_RANDOM_LENGTH + SECRET_LENGTH] = strong_random();
    let (mut tail, mut secret) = ([0; ID_RANDOM_LENGTH], [0; SECRET_LENGTH]);
    tail.copy_from_slice(&random[..ID_RANDOM_LENGTH]);
    secret.copy_from_slice(&random[ID_RANDOM_LENGTH..]);
    qsessions_key::encode(qsessions_key::new_id(nanos, tail), secret)
}

/// A new native key for a session that already has an id.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_generate_key_for",
    volatile,
    parallel_safe
)]
fn generate_key_for(id: Uuid) -> String {
    qsessions_key::encode(uuid::Uuid::from_bytes(*id.as_bytes()), strong_random())
}

/// The id of the session that a key belongs to; null for a text that cannot be a key.
///
/// A look-up by such a text finds no session, so a stray cookie neither aborts a transaction nor
/// writes a line to the log. `session_id`, in SQL, raises an error instead.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_find_session_id",
    immutable,
    parallel_safe
)]
fn find_session_id(key: &str) -> Option<Uuid> {
    qsessions_key::session_id(key)
        .ok()
        .map(|id| Uuid::from_bytes(*id.as_bytes()))
}

/// SHA-256 of a key; null for a text that cannot be a key, so that no caller can have a gigabyte
/// hashed.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_key_digest",
    immutable,
    parallel_safe
)]
fn key_digest(key: &str) -> Option<Vec<u8>> {
    qsessions_key::check(key)
        .ok()
        .map(|()| qsessions_key::digest(key).to_vec())
}

/// Whether a digest opens a row at `moment`: the row has not expired, and has the digest, or has it
/// as its former digest and the grace is not over.
///
/// It is one function in place of comparisons in SQL, because a statement spends time on each
/// function and operator in it before it reads a row. It takes the digest and not the key, because
/// a plan in the log shows the arguments. It is given the time so that it is IMMUTABLE: Citus accepts
/// no other function of a column in a statement that writes.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_digest_opens",
    immutable,
    parallel_safe
)]
fn digest_opens(
    key_digest: Option<&[u8]>,
    digest: Option<&[u8]>,
    former_digest: Option<&[u8]>,
    former_digest_until: Option<TimestampWithTimeZone>,
    expires_at: Option<TimestampWithTimeZone>,
    moment: Option<TimestampWithTimeZone>,
) -> bool {
    let is_later = |time: Option<TimestampWithTimeZone>| {
        time.zip(moment).is_some_and(|(time, moment)| time > moment)
    };
    key_digest.is_some()
        && is_later(expires_at)
        && (key_digest == digest || key_digest == former_digest && is_later(former_digest_until))
}

pub(crate) fn strong_random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // SAFETY: the buffer has the length that is passed with it.
    let filled = unsafe { pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), N) };
    if !filled {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
            "could not get random bytes"
        );
    }
    bytes
}
