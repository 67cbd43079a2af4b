//! What `create_session` asks for each new session, in one call in place of several: a statement
//! spends time on each function in it before it reads or writes a row.

use crate::values::{RawJsonb, RawText};
use crate::{events, gucs, locks, metrics};
use pgrx::prelude::*;
use pgrx::{AnyElement, pg_sys};

/// Whether a session may be inserted: its data is not too large. If it may, it is counted, and its
/// user is locked until the transaction ends. `table` is the session table.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_admit_session",
    volatile,
    parallel_unsafe
)]
fn admit_session(
    data: RawJsonb,
    table: pg_sys::Oid,
    user: Option<AnyElement>,
    is_exclusive: bool,
    call: pg_sys::FunctionCallInfo,
) -> bool {
    if !gucs::data_fits(data) {
        return false;
    }
    metrics::count_session();
    if let Some(user) = user {
        // SAFETY: the arguments of a call live as long as the call.
        let collation = unsafe { (*call).fncollation };
        locks::lock_user(table, &user, collation, is_exclusive);
    }
    true
}

/// Whether something is left to do for a session after the INSERT: an error to raise because its
/// data is too large, a user id to check that ends with a blank, or a login to record.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_needs_more",
    volatile,
    parallel_unsafe
)]
fn needs_more(data: Option<RawJsonb>, user: Option<RawText>) -> bool {
    data.is_some_and(|data| !gucs::data_fits(data))
        || user.is_some_and(|user| user.ends_with(b' ') || events::records_logins())
}
