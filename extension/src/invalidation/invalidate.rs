//! Announcing a session that has not changed.

use super::{notify, pending};
use pgrx::prelude::*;
use pgrx::{Uuid, pg_sys};

/// Announces an id as if its session had changed, when the transaction has committed and after
/// everything that was committed before: so whoever hears it has heard all that came before it.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    volatile,
    parallel_unsafe,
    strict
)]
fn invalidate(id: Uuid) {
    // SAFETY: raises an error on a standby, where nothing can be announced, and does nothing
    // elsewhere.
    unsafe { pg_sys::PreventCommandDuringRecovery(c"qsessions.invalidate()".as_ptr()) };
    if notify::is_queue_full() {
        // A client that probes should learn why it hears nothing. If the queue fills up only later,
        // the probe stays unheard.
        notify::full_queue("to announce a session").report(PgLogLevel::ERROR);
    }
    pending::add(*id.as_bytes());
}
