//! The background workers of the extension, and how they handle signals.
//!
//! | in `pg_stat_activity` | source | what it does |
//! | --- | --- | --- |
//! | `qsessions notifier` | `invalidation/notifier.rs` | sends the ids of changed sessions |
//! | `qsessions geoip` | `geoip/worker.rs` | imports GeoIP databases |
//! | `qsessions pg_cron` | `pg_cron/worker.rs` | changes jobs of pg_cron in another database |

use pgrx::pg_sys;

/// Unblocks signals, and lets SIGTERM end the worker at its next interrupt check.
///
/// The handler of pgrx only sets a flag of its own, and a shutdown of the server would wait for the
/// current statement.
pub(crate) fn prepare() {
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
    // SAFETY: plain flags of this process, and a latch that a handler may set.
    unsafe {
        pg_sys::InterruptPending = 1;
        pg_sys::ProcDiePending = 1;
        pg_sys::SetLatch(pg_sys::MyLatch);
    }
}

/// Lets SIGHUP wake the worker, which must then call [`reload_configuration`].
pub(crate) fn handle_reload() {
    // SAFETY: the handler only sets a flag and a latch, as PostgreSQL's own does.
    unsafe { libc::signal(libc::SIGHUP, on_reload as *const () as libc::sighandler_t) };
}

/// Reads the configuration files, if SIGHUP has arrived. Must not be called within a transaction.
pub(crate) fn reload_configuration() {
    // SAFETY: a flag of this process, handled as PostgreSQL's own processes do.
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
