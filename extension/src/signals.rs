//! How background workers hear that they are to end.

use pgrx::pg_sys;

/// Lets signals through, and SIGTERM end the worker at its next safe point.
///
/// pgrx's handler would only take a note, and a shutdown of the server wait for the statement that runs.
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
