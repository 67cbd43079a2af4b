//! A ring in shared memory that holds the ids of changed sessions between a commit and the NOTIFY.
//!
//! Writers never wait for readers: they overwrite the oldest entry. Each database has a slot, and
//! one reader: its notifier. A reader knows when writers have overrun it, and sends `*` then.
//!
//! # Everything that is pushed is sent
//!
//! The state of a notifier in the slot of its database:
//!
//! | state | `latch` | `is_registered` | what a commit does |
//! | --- | --- | --- | --- |
//! | none | 0 | false | registers a notifier, at most once a second, and does the NOTIFY itself |
//! | registered | 0 | true | does the NOTIFY itself; after two minutes, registers another one |
//! | running | its latch | true | reserves a push, and pushes |
//!
//! A commit relies on a notifier only while it is *running*: PostgreSQL has started the process,
//! which is connected to the database and has entered its latch under the lock. A commit does not
//! rely on a notifier that is being registered or is starting: there may be no free worker, or the
//! start may fail. So every entry of the ring was pushed by a transaction that had
//! [reserved](reserve) the push while a notifier was running. From that reservation on, until the
//! entry is sent, PostgreSQL has a worker for this database on its list, and starts it again each
//! time it ends by an error or a signal. PostgreSQL removes a worker from the list only when it
//! ends by itself. A notifier does so in these cases:
//!
//! - It [releases the slot](release_slot). It does so under the lock, and only if the backlog is
//!   empty, no transaction is in flight and no heartbeat is to be sent.
//! - It finds, as it starts, that another one is [running](notifier_starts), which is on the list
//!   as well.
//! - It finds no slot of its database. A slot is taken from a database only [by
//!   another](memory::Ring::acquire_slot), and only if no worker is registered for it, its backlog
//!   is empty and no transaction is in flight.
//! - Its database is gone, and so are all that listened there.
//!
//! A notifier that starts reads the backlog before it sleeps. If it fails to send it, it ends by an
//! error, and is started again. Meanwhile the slot is in the state *registered*, and each commit
//! that does the NOTIFY itself sends the backlog too. If the server crashes, all listeners have
//! lost their connections.

mod memory;

use super::changes::{Changes, Id};
use crate::metrics::{self, Counter};
use memory::Ring;
pub(super) use memory::{Backlog, SIZE, Slot};
use pgrx::lwlock::PgLwLock;
use pgrx::prelude::*;
use pgrx::{pg_shmem_init, pg_sys};
use std::collections::HashSet;
use std::ffi::CStr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long after a notifier was registered, or has last begun to start, a commit registers another
/// one. A notifier that fails starts more often than that, so PostgreSQL has only one on its list.
const START_TIMEOUT_MICROS: i64 = 120_000_000;

/// How long after a notifier could not be registered a commit tries it again.
const REGISTRATION_RETRY_MICROS: i64 = 1_000_000;

/// How often a notifier that has sent nothing is started again without a pause of its own.
const QUICK_STARTS: u32 = 3;

/// The longest pause of a notifier that has sent nothing.
const MAX_PAUSE: Duration = Duration::from_secs(60);

// SAFETY: the lock has this name in PostgreSQL's table of locks, and no other lock has it.
static RING: PgLwLock<Ring> = unsafe { PgLwLock::new(c"qsessions_ring") };
static EXISTS: AtomicBool = AtomicBool::new(false);

/// Requests the shared memory, if the server is just starting.
pub(super) fn init() {
    // SAFETY: a variable that PostgreSQL sets before it loads libraries.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        pg_shmem_init!(RING);
        EXISTS.store(true, Ordering::Relaxed);
    }
}

/// Whether this server has the ring. Backends inherit this from the postmaster.
pub(super) fn exists() -> bool {
    EXISTS.load(Ordering::Relaxed)
}

/// OID of the database that this process is connected to.
pub(super) fn current_database() -> u32 {
    // SAFETY: a variable that is set once, when the process connects.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}

/// The answer to a commit that wants to use the ring.
pub(super) enum Reservation {
    /// A notifier runs, and stays until the caller has done what it must: [`push`] or [`release`].
    Made,
    /// No notifier runs. The caller, and no other process, must register one, and call
    /// [`registration_failed`] if it cannot.
    RegisterNotifier,
    /// No notifier runs, and none should be registered now.
    Refused,
}

/// Reserves a push, if a notifier runs.
pub(super) fn reserve() -> Reservation {
    let now = now();
    let mut ring = RING.exclusive();
    let Some(slot) = ring.acquire_slot(current_database()) else {
        return Reservation::Refused;
    };
    if slot.latch().is_some() {
        slot.in_flight += 1;
        return Reservation::Made;
    }
    let pause = if slot.is_registered {
        START_TIMEOUT_MICROS
    } else {
        REGISTRATION_RETRY_MICROS
    };
    // In a new slot, `since` is zero.
    if now - slot.since < pause {
        return Reservation::Refused;
    }
    slot.is_registered = true;
    slot.since = now;
    Reservation::RegisterNotifier
}

/// Ends a [reservation](reserve): the transaction does not commit after all.
pub(super) fn release() {
    if let Some(slot) = RING.exclusive().slot_mut(current_database()) {
        slot.in_flight = slot.in_flight.saturating_sub(1);
    }
}

/// Puts the changes of a transaction that has committed into the ring, as it had
/// [reserved](reserve), and returns the latch of the notifier. Never fails.
pub(super) fn push(changes: &Changes) -> Option<*mut pg_sys::Latch> {
    let mut ring = RING.exclusive();
    // The reservation has kept the slot.
    let slot = ring.write(current_database(), changes)?;
    slot.in_flight = slot.in_flight.saturating_sub(1);
    // A notifier that is starting reads the backlog by itself.
    slot.latch()
}

/// The backlog of this database. It stays in the ring until [`advance`] is called, so that nothing
/// is lost with a transaction that fails to send it. If two transactions send the same ids, that
/// does no harm.
pub(super) fn backlog() -> Backlog {
    let mut backlog = RING.share().backlog(current_database());
    // Not under the lock: writers wait for it.
    if let Changes::Some(ids) = &mut backlog.changes {
        // The ids keep their order: a listener that receives one must have received all that were
        // committed before, even if it takes several notifications.
        let mut seen: HashSet<Id> = HashSet::with_capacity(ids.len());
        ids.retain(|id| seen.insert(*id));
    }
    backlog
}

/// Removes a backlog that has been sent.
pub(super) fn advance(backlog: &Backlog) {
    if backlog.changes.is_empty() {
        return;
    }
    if let Some(slot) = RING.exclusive().slot_mut(current_database()) {
        slot.starts = 0;
        slot.overflows += u64::from(backlog.is_overrun);
        slot.next = slot.next.max(backlog.upto);
        slot.announced += backlog.changes.len();
    }
    metrics::add(Counter::Announced, backlog.changes.len());
    metrics::add(Counter::Overflows, u64::from(backlog.is_overrun));
}

/// A heartbeat that the notifier will send.
pub(super) struct RequestedHeartbeat {
    pub(super) id: Id,
    /// The latch of the notifier, unless it was woken for the same heartbeat already.
    pub(super) to_wake: Option<*mut pg_sys::Latch>,
}

/// The heartbeat that the notifier sends next, or `None` if no notifier runs. The id is used if
/// nothing has requested a heartbeat since the last one.
///
/// A heartbeat is not as safe as an entry of the ring: it is lost if the slot is taken by another
/// database. A cache then requests another one.
pub(super) fn request_heartbeat(fresh: Id) -> Option<RequestedHeartbeat> {
    let mut ring = RING.exclusive();
    let slot = ring.slot_mut(current_database())?;
    let latch = slot.latch()?;
    let to_wake = slot.next_heartbeat.is_none().then_some(latch);
    let id = *slot.next_heartbeat.get_or_insert(fresh);
    Some(RequestedHeartbeat { id, to_wake })
}

/// Takes the heartbeat that was requested, if one was. Callers are told of another one from now on.
/// The notifier must read the backlog after this, and send it before the heartbeat.
///
/// The heartbeat stays due until [`heartbeat_sent`] is called, also if the notifier fails.
pub(super) fn take_heartbeat() -> Option<Id> {
    let mut ring = RING.exclusive();
    let slot = ring.slot_mut(current_database())?;
    if slot.due_heartbeat.is_none() {
        slot.due_heartbeat = slot.next_heartbeat.take();
    }
    slot.due_heartbeat
}

/// Whether a heartbeat is to be sent.
pub(super) fn wants_heartbeat() -> bool {
    let ring = RING.share();
    ring.slot(current_database())
        .is_some_and(Slot::has_heartbeat)
}

/// Records that the due heartbeat was sent.
pub(super) fn heartbeat_sent() {
    if let Some(slot) = RING.exclusive().slot_mut(current_database()) {
        slot.starts = 0;
        slot.due_heartbeat = None;
    }
}

/// Records that a notifier could not be [registered](Reservation::RegisterNotifier).
pub(super) fn registration_failed() {
    let since = now();
    if let Some(slot) = RING.exclusive().slot_mut(current_database())
        // An earlier one may have started meanwhile.
        && slot.latch().is_none()
    {
        slot.is_registered = false;
        slot.since = since;
    }
}

/// Records that a notifier starts, which is not connected to its database yet. Returns how long it
/// must wait before it connects, or `None` if it must end: another one is running, or the database
/// has no slot or is gone. The slot of a database that is gone is released.
pub(super) fn notifier_starts(database: u32) -> Option<Duration> {
    let tablespace = {
        let mut ring = RING.exclusive();
        let slot = ring.slot_mut(database)?;
        if slot.latch().is_some() {
            return None;
        }
        slot.is_registered = true;
        slot.since = now();
        slot.starts = slot.starts.saturating_add(1);
        slot.tablespace
    };
    let is_gone = !has_folder(database, tablespace);
    let mut ring = RING.exclusive();
    let slot = ring.slot_mut(database)?;
    if is_gone {
        *slot = Slot::default();
        return None;
    }
    let seconds = match slot.starts.saturating_sub(QUICK_STARTS) {
        0 => 0,
        late => 1 << late.min(10),
    };
    Some(Duration::from_secs(seconds).min(MAX_PAUSE))
}

/// Whether a database has its files. This can be found out without a connection to it.
fn has_folder(database: u32, tablespace: u32) -> bool {
    // SAFETY: makes a path relative to the data directory, the working directory of PostgreSQL's
    // processes.
    let folder = unsafe {
        CStr::from_ptr(pg_sys::GetDatabasePath(
            pg_sys::Oid::from(database),
            pg_sys::Oid::from(tablespace),
        ))
    };
    // After any other error, the database is taken to exist.
    Path::new(&*folder.to_string_lossy())
        .join("PG_VERSION")
        .try_exists()
        .unwrap_or(true)
}

/// Records that the notifier of this database is running. False if another one is running already,
/// or there is no slot any more.
pub(super) fn notifier_runs(latch: *mut pg_sys::Latch, process: i32) -> bool {
    let mut ring = RING.exclusive();
    let Some(slot) = ring.slot_mut(current_database()) else {
        return false;
    };
    if slot.latch().is_some() {
        return false;
    }
    slot.is_registered = true;
    slot.latch = latch as usize;
    slot.process = process;
    true
}

/// Records that the notifier of this database has ended and will be started again. Its backlog
/// stays.
pub(super) fn notifier_failed() {
    let since = now();
    // SAFETY: a variable of this process.
    let process = unsafe { pg_sys::MyProcPid };
    if let Some(slot) = RING.exclusive().slot_mut(current_database())
        // It may be that of its successor already.
        && slot.process == process
    {
        slot.latch = 0;
        slot.process = 0;
        slot.since = since;
    }
}

/// Releases the slot of this database, unless there is a backlog, a transaction in flight or a
/// heartbeat to be sent.
pub(super) fn release_slot() -> bool {
    let mut ring = RING.exclusive();
    let Some(slot) = ring.slot_mut(current_database()) else {
        return true;
    };
    if slot.is_needed() || slot.has_heartbeat() {
        return false;
    }
    *slot = Slot::default();
    true
}

/// Why a database has no slot.
pub(super) enum NoSlot {
    /// It needs none at present.
    NotNeeded,
    /// Other databases have all of them.
    AllTaken,
}

/// The slot of this database, and the number of ids in its backlog.
pub(super) fn status() -> Result<(Slot, u64), NoSlot> {
    let ring = RING.share();
    match ring.slot(current_database()) {
        Some(slot) => Ok((*slot, ring.backlog_len(slot) as u64)),
        None if ring.has_free_slot() => Err(NoSlot::NotNeeded),
        None => Err(NoSlot::AllTaken),
    }
}

/// Microseconds, by PostgreSQL's clock.
fn now() -> i64 {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}
