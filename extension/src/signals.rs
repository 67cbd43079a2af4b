//! How background workers hear that they are to end.

use pgrx::pg_sys;

/// Lets signals through, and SIGTERM end the worker at its next safe point.
///
/// pgrx's handler would only take a note, and a shutdown of the server wait for the statement that
/// runs.
pub(crate) fn prepare_worker() {
    // SAFETY: the handler only sets flags and a latch, as PostgreSQL's own does.
    unsafe {
        libc::signal(
            libc::SIGTERM,
            on_terminate as *const () as libc::sighandler_t,
        );
        pg_sys::BackgroundWorkerUnblockSignals();
    }
}

extern "C-unwind" fn on_terminate(_signal: i32) {
    // SAFETY: plain flags of this process, and a latch that may be set from a handler.
    unsafe {
        pg_sys::InterruptPending = 1;
        pg_sys::ProcDiePending = 1;
        pg_sys::SetLatch(pg_sys::MyLatch);
    }
}

/// Has SIGHUP, by which the server tells that settings may have changed, wake the worker. It then
/// has to [take over settings](take_over_settings).
pub(crate) fn hear_of_settings() {
    // SAFETY: the handler only sets a flag and a latch, as PostgreSQL's own does.
    unsafe { libc::signal(libc::SIGHUP, on_reload as *const () as libc::sighandler_t) };
}

/// Reads the configuration where it may have changed. Not within a transaction.
pub(crate) fn take_over_settings() {
    // SAFETY: a flag of this process, and what PostgreSQL's own processes do about it.
    unsafe {
        if (&raw const pg_sys::ConfigReloadPending).read_volatile() != 0 {
            (&raw mut pg_sys::ConfigReloadPending).write_volatile(0);
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
    }
}

extern "C-unwind" fn on_reload(_signal: i32) {
    // SAFETY: as in on_terminate.
    unsafe {
        (&raw mut pg_sys::ConfigReloadPending).write_volatile(1);
        pg_sys::SetLatch(pg_sys::MyLatch);
    }
}
