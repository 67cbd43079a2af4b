//! `qsessions.invalidate`, which sends the id of a session that has not changed.

use super::notify::queue;
use super::pending;
use pgrx::prelude::*;
use pgrx::{Uuid, pg_sys};

/// Sends an id as if its session had changed, when the transaction commits. A listener receives it
/// after everything that was committed before.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    volatile,
    parallel_unsafe,
    strict
)]
fn invalidate(id: Uuid) {
    // SAFETY: raises an error on a standby, where NOTIFY is not possible, and does nothing
    // elsewhere.
    unsafe { pg_sys::PreventCommandDuringRecovery(c"qsessions.invalidate()".as_ptr()) };
    if queue::is_full() {
        // A client that sends a probe should learn why it does not come back. If the queue fills up
        // only later, the probe is lost.
        queue::full_report("for a notification").report(PgLogLevel::ERROR);
    }
    pending::add(*id.as_bytes());
}
