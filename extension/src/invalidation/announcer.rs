//! The background worker that announces what is in the ring, one for each database that has
//! something to announce.
//!
//! It is started by the first commit that needs it and ends when nothing has come for a while, so
//! that it stands in the way of no DROP DATABASE, which waits for five seconds before it gives up.

use super::notify;
use super::ring::{self, Announcer};
use crate::signals;
use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::time::Duration;

/// How long it waits for something to do before it ends.
const IDLE: Duration = Duration::from_secs(3);
/// How long it gathers after it has announced something. Each announcement wakes every listener and
/// the WAL writer; where many write, one for every few commits would take a tenth of the processors
/// from them.
const GATHER: Duration = Duration::from_millis(5);
/// How soon PostgreSQL starts it again after a failure.
const RESTART: Duration = Duration::from_secs(1);
/// How often it looks whether a NOTIFY queue that was too full has room again.
const LOOK_FOR_ROOM: Duration = Duration::from_millis(100);

/// Whether an announcer will announce what this transaction pushes into the ring, which is then
/// promised. Where there is none, one is started, but not for this transaction.
pub(super) fn is_ready() -> bool {
    match ring::promise() {
        Announcer::Present => true,
        Announcer::Wanted => {
            if !start() {
                ring::refused();
            }
            false
        }
        Announcer::Absent => false,
    }
}

/// Tells the announcer that there is something in the ring.
pub(super) fn wake(latch: *mut pg_sys::Latch) {
    // SAFETY: the latch is one of PostgreSQL's shared ones, which are never freed. Should another
    // process own it by now, it wakes for nothing.
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
    signals::hear_of_settings();
    let database = database.value() as u32;
    let Some(pause) = ring::is_wanted(database) else {
        // PostgreSQL doesn't start it again when it ends by itself.
        return;
    };
    if !pause.is_zero() {
        sleep(pg_sys::WL_LATCH_SET, pause);
        pgrx::check_for_interrupts!();
    }
    connect(database);
    // SAFETY: variables of this process, set by now.
    let began = unsafe {
        pg_sys::before_shmem_exit(Some(on_exit), pg_sys::Datum::from(0));
        ring::announcer_began(pg_sys::MyLatch, pg_sys::MyProcPid)
    };
    if !began {
        return;
    }
    loop {
        signals::take_over_settings();
        match announce() {
            Announced::Nothing => {}
            Announced::Everything => gather(),
            Announced::NoRoom => {
                wait_for_room();
                continue;
            }
        }
        if !wait() && ring::give_up_place() {
            return;
        }
    }
}

/// Also where connections are not allowed any more: those that there are go on changing sessions.
fn connect(database: u32) {
    // SAFETY: this is a background worker that is not connected yet.
    unsafe {
        pg_sys::BackgroundWorkerInitializeConnectionByOid(
            pg_sys::Oid::from(database),
            pg_sys::InvalidOid,
            pg_sys::BGWORKER_BYPASS_ALLOWCONN,
        );
    }
}

/// Until the NOTIFY queue has room. What is in the ring stays there meanwhile; more than it holds
/// becomes `*`.
fn wait_for_room() {
    notify::full_queue("to announce changed sessions: waiting for room")
        .report(PgLogLevel::WARNING);
    while notify::is_queue_full() {
        // Not for the latch, which every commit sets.
        sleep(0, LOOK_FOR_ROOM);
        pgrx::check_for_interrupts!();
        signals::take_over_settings();
    }
    ereport!(
        PgLogLevel::LOG,
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        "the NOTIFY queue has room again for changed sessions"
    );
}

/// Lets more come together. Whoever sets the latch meanwhile sends no signal, and the next wait
/// ends at once.
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

/// Until one of these events, or so long; gives the event. PostgreSQL's end is one of this process
/// too.
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

enum Announced {
    Nothing,
    Everything,
    NoRoom,
}

/// Announces what is in the ring.
fn announce() -> Announced {
    let waiting = ring::peek();
    if waiting.changes.is_empty() {
        return Announced::Nothing;
    }
    if !BackgroundWorker::transaction(|| notify::send(&[&waiting.changes])) {
        return Announced::NoRoom;
    }
    ring::announced(&waiting);
    Announced::Everything
}

/// However it ends: commits must not rely on it any more.
#[pg_guard]
unsafe extern "C-unwind" fn on_exit(_code: i32, _argument: pg_sys::Datum) {
    ring::announcer_failed();
}
