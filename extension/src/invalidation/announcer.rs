//! The background worker that announces what is in the ring, one for each database that has something to announce.
//!
//! It is started by the first commit that needs it and ends when nothing has come for a while, so that it stands in the way
//! of no DROP DATABASE, which waits for five seconds before it gives up.

use super::ring::{self, State, Waiting};
use crate::signals;
use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::time::Duration;

/// How long it waits for something to do before it ends.
const IDLE: Duration = Duration::from_secs(3);
/// How long it gathers after it has announced something. Each announcement wakes every listener and the WAL writer; where many
/// write, one for every few commits would take a tenth of the processors from them.
const GATHER: Duration = Duration::from_millis(5);
/// How soon PostgreSQL starts it again after a failure.
const RESTART: Duration = Duration::from_secs(1);

/// Whether an announcer will announce what this transaction pushes into the ring, which is then promised. Starts one where
/// there is none.
pub(super) fn is_ready() -> bool {
    match ring::promise() {
        State::Present => true,
        State::Absent if start() => true,
        State::Absent => {
            ring::withdraw();
            ring::give_up_place();
            false
        }
        State::Unavailable => false,
    }
}

/// Tells the announcer that there is something in the ring.
pub(super) fn wake(latch: *mut pg_sys::Latch) {
    // SAFETY: the latch is one of PostgreSQL's shared ones, which are never freed. Should another process own it by now, it
    // wakes for nothing.
    unsafe { pg_sys::SetLatch(latch) };
}

fn start() -> bool {
    BackgroundWorkerBuilder::new("qsessions announcer")
        .set_type("qsessions announcer")
        .set_library("qsessions")
        .set_function("qsessions_announcer_main")
        .set_argument(Some(pg_sys::Datum::from(ring::this_database())))
        .set_restart_time(Some(RESTART))
        .enable_spi_access()
        .load_dynamic()
        .is_ok()
}

/// The worker's main function; PostgreSQL finds it by name.
#[doc(hidden)]
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn qsessions_announcer_main(database: pg_sys::Datum) {
    signals::prepare_worker();
    let database = database.value() as u32;
    if !ring::is_wanted(database) {
        // PostgreSQL doesn't start it again when it ends by itself.
        return;
    }
    BackgroundWorker::connect_worker_to_spi_by_oid(Some(pg_sys::Oid::from(database)), None);
    // SAFETY: variables of this process, set by now.
    unsafe {
        pg_sys::before_shmem_exit(Some(on_exit), pg_sys::Datum::from(0));
        ring::announcer_began(pg_sys::MyLatch, pg_sys::MyProcPid);
    }
    loop {
        if announce(&ring::peek()) {
            gather();
        }
        if !wait() && ring::give_up_place() {
            return;
        }
    }
}

/// Lets more come together. Whoever sets the latch meanwhile sends no signal, and the next wait ends at once.
fn gather() {
    sleep(0, GATHER);
}

/// Until there is something to do, or false after a while without.
fn wait() -> bool {
    let woken = sleep(pg_sys::WL_LATCH_SET, IDLE);
    // SAFETY: this process's own latch.
    unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
    pgrx::check_for_interrupts!();
    woken & pg_sys::WL_LATCH_SET != 0
}

/// Until one of these events, or so long; gives the event. PostgreSQL's end is one of this process too.
fn sleep(events: u32, time: Duration) -> u32 {
    let events = events | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: this process's own latch.
    let event = unsafe {
        pg_sys::WaitLatch(
            pg_sys::MyLatch,
            events as i32,
            time.as_millis() as _,
            pg_sys::PG_WAIT_EXTENSION,
        )
    };
    event as u32
}

/// Whether there was something to announce.
fn announce(waiting: &Waiting) -> bool {
    if waiting.changes.is_empty() {
        return false;
    }
    BackgroundWorker::transaction(|| waiting.changes.notify());
    ring::announced(waiting);
    true
}

/// However it ends: commits must not rely on it any more.
#[pg_guard]
unsafe extern "C-unwind" fn on_exit(_code: i32, _argument: pg_sys::Datum) {
    ring::announcer_failed();
}
