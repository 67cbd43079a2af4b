//! The background workers of the extension, and how they handle signals.
//!
//! | in `pg_stat_activity` | source | what it does |
//! | --- | --- | --- |
//! | `qsessions notifier` | `invalidation/notifier.rs` | sends the ids of changed sessions |
//! | `qsessions geoip` | `geoip/worker.rs` | imports GeoIP databases |
//! | `qsessions pg_cron` | `pg_cron/worker.rs` | changes jobs of pg_cron in another database |

use pgrx::pg_sys;

/// Unblocks signals. SIGTERM ends the worker at its next interrupt check, and SIGHUP wakes it, so that
/// it calls [`reload_configuration`].
///
/// The handler of pgrx for SIGTERM only sets a flag of its own, and a shutdown of the server would wait
/// for the current statement.
///
/// The worker reads the configuration files once when it starts: PostgreSQL drops a SIGHUP that
/// arrives between the fork, which copies the configuration, and this function.
pub(crate) fn prepare() {
    // SAFETY: the handlers only set flags and a latch, as PostgreSQL's own do. The flag is one of
    // this process.
    unsafe {
        libc::signal(
            libc::SIGTERM,
            on_terminate as *const () as libc::sighandler_t,
        );
        libc::signal(libc::SIGHUP, on_reload as *const () as libc::sighandler_t);
        (&raw mut pg_sys::ConfigReloadPending).write_volatile(1);
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

/// Reads the configuration files, if SIGHUP has arrived or the worker has just started. Must not be called within a transaction.
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
