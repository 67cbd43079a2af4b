//! The background worker that imports GeoIP databases.
//!
//! It needs no connection to a database, so it runs on a standby too. It looks at the paths that
//! backends use every `qsessions.geoip_check_interval`, and at once when one is told for the first
//! time.

use super::open::{self, NOT_USED};
use super::shared;
use crate::{gucs, workers};
use pgrx::bgworkers::{BackgroundWorkerBuilder, BgWorkerStartTime};
use pgrx::pg_sys;
use pgrx::prelude::*;
use qsessions_geoip::{Error, Options, Problem, Progress, import};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How soon PostgreSQL starts it again after a failure.
const RESTART: Duration = Duration::from_secs(5);

/// How long after the folder of copies could not be written it tries that again.
const RETRY: Duration = Duration::from_secs(60);

/// Has PostgreSQL start the worker. Called while the server is starting.
pub(super) fn register() {
    BackgroundWorkerBuilder::new("qsessions geoip")
        .set_library("qsessions")
        .set_function("qsessions_geoip_main")
        .set_start_time(BgWorkerStartTime::ConsistentState)
        .set_restart_time(Some(RESTART))
        .load();
}

/// The worker's main function; PostgreSQL finds it by name.
#[doc(hidden)]
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn qsessions_geoip_main(_argument: pg_sys::Datum) {
    workers::prepare();
    // SAFETY: variables of this process, set by now.
    let latch = unsafe {
        pg_sys::before_shmem_exit(Some(on_exit), pg_sys::Datum::from(0));
        pg_sys::MyLatch
    };
    shared::set_worker(latch);
    let mut failed = Failed::new();
    while !is_terminating() {
        workers::reload_configuration();
        let path = gucs::with_geoip_path(open::path_of);
        shared::watch(&path, gucs::geoip_max_bytes());
        for (path, max_bytes) in shared::watched() {
            take(&path, max_bytes, &mut failed);
        }
        wait();
    }
    // Without an error in the log, and with the status that has PostgreSQL start it again, as its
    // own launchers end.
    //
    // SAFETY: ends this process.
    unsafe { pg_sys::proc_exit(1) };
}

/// When the folder of copies could not be written for a path, and the error.
type Failed = HashMap<PathBuf, (Instant, String)>;

/// Imports the files at a path.
fn take(path: &Path, max_bytes: u64, failed: &mut Failed) {
    let failure = failed.get(path);
    if failure.is_some_and(|(at, _)| at.elapsed() < RETRY) {
        return;
    }
    let options = Options {
        max_bytes,
        force: false,
    };
    let problems = match import(path, &open::store(), options, &mut Following) {
        Ok(problems) => {
            failed.remove(path);
            let Some(problems) = problems else { return };
            shared::bump_generation();
            problems
        }
        Err(Error::Stopped) => return,
        Err(error) => {
            // Files that were imported before the error serve already.
            shared::bump_generation();
            let problem = Problem::now(path, &error);
            let now = (Instant::now(), problem.message.clone());
            match failed.insert(path.to_owned(), now) {
                Some((_, known)) if known == problem.message => return,
                _ => vec![problem],
            }
        }
    };
    for problem in problems {
        open::warn(NOT_USED, &problem.message, &problem.hint);
    }
}

fn is_terminating() -> bool {
    // SAFETY: a flag of this process, which the handler of SIGTERM sets.
    unsafe { (&raw const pg_sys::ProcDiePending).read_volatile() != 0 }
}

/// Until the next look is due, or a path is told.
fn wait() {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: this process's own latch.
    unsafe {
        pg_sys::WaitLatch(
            pg_sys::MyLatch,
            events as i32,
            gucs::geoip_check_interval().as_millis() as _,
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
}

/// However it ends: backends must not rely on it any more.
#[pg_guard]
unsafe extern "C-unwind" fn on_exit(_code: i32, _argument: pg_sys::Datum) {
    shared::set_worker(std::ptr::null_mut());
}

/// Stops an import when the worker is told to end.
struct Following;

impl Progress for Following {
    fn should_stop(&mut self) -> bool {
        is_terminating()
    }

    fn note(&mut self, line: &str) {
        open::uninterrupted(|| log!("{line}"));
    }
}
