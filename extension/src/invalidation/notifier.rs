//! The notifier: the background worker that sends the ids in the ring, one for each database in
//! which sessions change, or in which a cache requests heartbeats.
//!
//! The first commit that needs it starts it, and it ends after a few seconds without work. So it
//! does not block DROP DATABASE, which waits for five seconds before it gives up. Requests for
//! heartbeats keep it running.

use super::changes::Changes;
use super::notify::{self, queue};
use super::prepared;
use super::ring::{self, Reservation};
use crate::workers;
use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::time::{Duration, Instant};

/// How long the notifier waits for work before it ends.
const IDLE: Duration = Duration::from_secs(3);
/// How long the notifier waits for more ids after it has sent some. Each NOTIFY wakes every
/// listener and the WAL writer. With many writers, a NOTIFY for every few commits would cost them a
/// tenth of the processor time.
const GATHER: Duration = Duration::from_millis(5);
/// The shortest time between two heartbeats. However many caches there are, a listener receives at
/// most ten of them in a second. A cache that must know sooner sends an id of its own.
const BETWEEN_HEARTBEATS: Duration = Duration::from_millis(100);
/// How long after a failure PostgreSQL starts the notifier again.
const RESTART: Duration = Duration::from_secs(1);
/// How often the notifier checks whether a full NOTIFY queue has room again.
const CHECK_FOR_ROOM: Duration = Duration::from_millis(100);

/// Reserves a push into the ring, if a notifier runs. Otherwise starts one for later transactions.
pub(super) fn reserve() -> bool {
    match ring::reserve() {
        Reservation::Made => true,
        Reservation::RegisterNotifier => {
            if !start() {
                ring::registration_failed();
            }
            false
        }
        Reservation::Refused => false,
    }
}

/// Tells the notifier that the ring has a backlog.
pub(super) fn wake(latch: *mut pg_sys::Latch) {
    // SAFETY: the latch is one of PostgreSQL's shared ones, which are never freed. If another
    // process owns it by now, that process wakes for nothing.
    unsafe { pg_sys::SetLatch(latch) };
}

fn start() -> bool {
    BackgroundWorkerBuilder::new("qsessions notifier")
        .set_type("qsessions notifier")
        .set_library("qsessions")
        .set_function("qsessions_notifier_main")
        .set_argument(Some(pg_sys::Datum::from(ring::current_database())))
        .set_restart_time(Some(RESTART))
        .enable_spi_access()
        .load_dynamic()
        .is_ok()
}

/// The worker's main function; PostgreSQL finds it by name.
#[doc(hidden)]
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn qsessions_notifier_main(database: pg_sys::Datum) {
    workers::prepare();
    let database = database.value() as u32;
    let Some(pause) = ring::notifier_starts(database) else {
        // PostgreSQL does not start a worker again that ends by itself.
        return;
    };
    if !pause.is_zero() {
        sleep(pg_sys::WL_LATCH_SET, pause);
        pgrx::check_for_interrupts!();
    }
    connect(database);
    // SAFETY: variables of this process, set by now.
    let is_only_one = unsafe {
        pg_sys::before_shmem_exit(Some(on_exit), pg_sys::Datum::from(0));
        ring::notifier_runs(pg_sys::MyLatch, pg_sys::MyProcPid)
    };
    if !is_only_one {
        return;
    }
    let mut heartbeats = Heartbeats { last: None };
    let mut last_needed = Instant::now();
    // A COMMIT PREPARED that came before this process ran may have left its ids to it. Those that
    // come later push them.
    let mut looks_for_prepared = true;
    loop {
        workers::reload_configuration();
        match send_backlog(&mut heartbeats, looks_for_prepared) {
            Sent::Nothing => looks_for_prepared = false,
            Sent::Everything => {
                looks_for_prepared = false;
                gather();
                last_needed = Instant::now();
            }
            Sent::NoRoom => {
                wait_for_room();
                continue;
            }
        }
        // PostgreSQL also wakes this process for what it does in other databases, and for SIGHUP.
        let idle = last_needed.elapsed().min(heartbeats.since_last());
        wait(heartbeats.pause().unwrap_or(IDLE.saturating_sub(idle)));
        let idle = last_needed.elapsed().min(heartbeats.since_last());
        if idle >= IDLE {
            if ring::release_slot() {
                return;
            }
            // A transaction is in flight, which may take long.
            last_needed = Instant::now();
        }
    }
}

/// When heartbeats are sent.
struct Heartbeats {
    last: Option<Instant>,
}

impl Heartbeats {
    fn since_last(&self) -> Duration {
        self.last.map_or(Duration::MAX, |last| last.elapsed())
    }

    /// How long a heartbeat must still wait.
    fn rest(&self) -> Duration {
        let passed = self.last.map(|last| last.elapsed());
        passed.map_or(Duration::ZERO, |passed| {
            BETWEEN_HEARTBEATS.saturating_sub(passed)
        })
    }

    /// How long to wait for a heartbeat that was requested.
    fn pause(&self) -> Option<Duration> {
        ring::wants_heartbeat().then(|| self.rest())
    }
}

/// Connects even if the database allows no new connections: existing ones may still change
/// sessions.
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

/// Waits until the NOTIFY queue has room. The backlog stays in the ring meanwhile.
fn wait_for_room() {
    queue::full_report("to notify of changed sessions: waiting for room")
        .report(PgLogLevel::WARNING);
    while queue::is_full() {
        // Does not wait for the latch, which every commit sets.
        sleep(0, CHECK_FOR_ROOM);
        pgrx::check_for_interrupts!();
        workers::reload_configuration();
    }
    ereport!(
        PgLogLevel::LOG,
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        "the NOTIFY queue has room again"
    );
}

/// Waits for more ids. A process that sets the latch meanwhile sends no signal, and the next wait
/// ends at once.
fn gather() {
    sleep(0, GATHER);
}

/// Waits for work, for this time at most.
fn wait(time: Duration) {
    sleep(pg_sys::WL_LATCH_SET, time);
    // SAFETY: this process's own latch.
    unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
    pgrx::check_for_interrupts!();
}

/// Waits for one of these events, or for this time. The process exits if the postmaster does.
fn sleep(events: u32, time: Duration) {
    let events = events | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: this process's own latch.
    unsafe {
        pg_sys::WaitLatch(
            pg_sys::MyLatch,
            events as i32,
            time.as_micros().div_ceil(1000) as _,
            pg_sys::PG_WAIT_EXTENSION,
        );
    }
}

enum Sent {
    /// Nothing, or a heartbeat alone.
    Nothing,
    Everything,
    NoRoom,
}

fn send_backlog(heartbeats: &mut Heartbeats, looks_for_prepared: bool) -> Sent {
    // Before the backlog is read: [`heartbeat`](super::heartbeat) relies on this order.
    let heartbeat = match heartbeats.rest() {
        Duration::ZERO => ring::take_heartbeat(),
        _ => None,
    };
    let backlog = ring::backlog();
    if backlog.changes.is_empty()
        && heartbeat.is_none()
        && !(looks_for_prepared && BackgroundWorker::transaction(prepared::are_waiting))
    {
        return Sent::Nothing;
    }
    let last = Changes::Some(heartbeat.into_iter().collect());
    if !BackgroundWorker::transaction(|| notify::send(&[&backlog.changes, &last])) {
        return Sent::NoRoom;
    }
    ring::advance(&backlog);
    if heartbeat.is_some() {
        // If the queue was so full that `*` was sent for all, caches request another one.
        ring::heartbeat_sent();
        heartbeats.last = Some(Instant::now());
    }
    if backlog.changes.is_empty() {
        return Sent::Nothing;
    }
    Sent::Everything
}

/// Runs whenever the process exits: commits must no longer rely on this notifier.
#[pg_guard]
unsafe extern "C-unwind" fn on_exit(_code: i32, _argument: pg_sys::Datum) {
    ring::notifier_failed();
}
