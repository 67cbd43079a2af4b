//! A ring in shared memory that holds the ids of changed sessions between a commit and its
//! announcement.
//!
//! Writers never wait for readers: they overwrite the oldest entry. Each database has one reader,
//! its announcer, with a place in the ring of its own. A reader that was overtaken knows, and
//! announces `*`.
//!
//! # Everything that is pushed is announced
//!
//! What a place says of its announcer:
//!
//! | state | `latch` | `is_registered` | what a commit does |
//! | --- | --- | --- | --- |
//! | none | 0 | false | registers one, at most once a second, and announces by itself |
//! | registered | 0 | true | announces by itself; after two minutes in vain registers another one |
//! | present | its latch | true | promises to push, and pushes |
//!
//! A commit relies on an announcer only while that is *present*: a process that PostgreSQL has
//! started, that is connected to the database and has entered its latch under the lock. It does not
//! rely on one that is being registered or is starting, since there may be no free worker, or the
//! start may fail. So whatever is in the ring was pushed by a transaction that had
//! [promised](promise) it while an announcer was present. From that promise on, until everything is
//! announced, there is a worker that PostgreSQL has registered for this database, and that it
//! starts again each time it ends by an error or a signal. PostgreSQL drops the registration only
//! of a worker that ends by itself, and ours does so in these cases:
//!
//! - It [gives the place up](give_up_place). It does so under the lock, and only if nothing waits
//!   and nothing is promised.
//! - It finds, as it comes up, that another one is [present](is_wanted), which is registered as
//!   well.
//! - It finds no place of its database. A place is taken away only [by another
//!   database](Ring::take_place), and only if no worker is registered for it, nothing waits and
//!   nothing is promised.
//! - Its database is gone, and so are all that listened there.
//!
//! A worker that comes up reads what waits before it sleeps. If it fails to announce it, it ends by
//! an error, and is started again. Meanwhile the place is in the state *registered*, and each
//! commit that announces by itself takes along what waits. If the server crashes, all listeners
//! have lost their connections.

use super::payload::{Changes, Id};
use pgrx::lwlock::PgLwLock;
use pgrx::prelude::*;
use pgrx::shmem::PGRXSharedMemory;
use pgrx::{pg_shmem_init, pg_sys};
use std::collections::HashSet;
use std::ffi::CStr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Entries of the ring: at 20 bytes each, 640 kB.
pub(super) const SIZE: usize = 32_768;

/// Databases that can have an announcer at once; another one's transactions NOTIFY by themselves.
const DATABASES: usize = 64;

/// How long after an announcer was registered, or has last begun to come up, a commit registers
/// another one. One that fails begins more often than that, so that there is only one on
/// PostgreSQL's list.
const START_PATIENCE_MICROS: i64 = 120_000_000;

/// How long after one could not be registered a commit tries it again.
const REFUSAL_MICROS: i64 = 1_000_000;

/// How often an announcer that does not get to announce anything is started without a pause of its
/// own.
const QUICK_STARTS: u32 = 3;

/// The longest pause of such a one.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// An id that no session has stands for all of them.
const ALL: Id = [0xff; 16];

// SAFETY: the lock has this name in PostgreSQL's table of locks, and no other.
static RING: PgLwLock<Ring> = unsafe { PgLwLock::new(c"qsessions_ring") };
static EXISTS: AtomicBool = AtomicBool::new(false);

#[derive(Clone, Copy, Default)]
struct Entry {
    database: u32,
    id: Id,
}

/// The reader of a database.
#[derive(Clone, Copy, Default)]
pub(super) struct Reader {
    /// OID of the database; zero where this place is free.
    database: u32,
    /// OID of its tablespace.
    tablespace: u32,
    /// Where in the ring the first entry of this database is that was not announced, if there is
    /// one.
    next: u64,
    /// Behind the last entry of this database. As long as it is not beyond `next`, nothing waits.
    end: u64,
    /// The latch of the announcer, an address in shared memory, which is the same in all processes;
    /// zero while there is none.
    latch: usize,
    pub(super) process: i32,
    /// PostgreSQL has a worker for this database on its list, or is just being asked to.
    is_registered: bool,
    /// When the announcer was last registered, was refused, or has ended.
    since: i64,
    /// Transactions that are committing and will push then. As long as there are any, the place is
    /// not given back.
    promised: u32,
    /// How often an announcer has been coming up since one has last announced something.
    starts: u32,
    pub(super) announced: u64,
    pub(super) overflows: u64,
}

impl Reader {
    fn has_waiting(&self) -> bool {
        self.end > self.next
    }

    fn is_needed(&self) -> bool {
        self.has_waiting() || self.promised > 0
    }

    /// PostgreSQL had no worker to give when it was last asked.
    pub(super) fn was_refused(&self) -> bool {
        !self.is_registered
    }
}

struct Ring {
    /// Entries written since the server started; the next goes to this, modulo the size.
    written: u64,
    entries: [Entry; SIZE],
    readers: [Reader; DATABASES],
}

// SAFETY: plain numbers, no references; the lock guards them.
unsafe impl PGRXSharedMemory for Ring {}

impl Default for Ring {
    fn default() -> Self {
        Self {
            written: 0,
            entries: [Entry::default(); SIZE],
            readers: [Reader::default(); DATABASES],
        }
    }
}

impl Ring {
    fn place(&self, database: u32) -> Option<usize> {
        self.readers
            .iter()
            .position(|reader| reader.database == database)
    }

    fn reader(&mut self, database: u32) -> Option<&mut Reader> {
        let place = self.place(database)?;
        Some(&mut self.readers[place])
    }

    /// A place for a database that has none: a free one, or else one that its database has no use
    /// for.
    fn take_place(&mut self, database: u32) -> Option<&mut Reader> {
        let is_unused = |reader: &Reader| !reader.is_registered && !reader.is_needed();
        let place = self
            .place(0)
            .or_else(|| self.readers.iter().position(is_unused))?;
        let reader = &mut self.readers[place];
        *reader = Reader {
            database,
            // SAFETY: a variable that is set once, when the process connects.
            tablespace: unsafe { pg_sys::MyDatabaseTableSpace }.to_u32(),
            ..Reader::default()
        };
        Some(reader)
    }

    fn write(&mut self, database: u32, id: Id) {
        let at = (self.written % SIZE as u64) as usize;
        self.entries[at] = Entry { database, id };
        self.written += 1;
    }

    /// What a database has in the ring, without taking it out.
    fn peek(&self, database: u32) -> Waiting {
        let nothing = Waiting {
            changes: Changes::Some(vec![]),
            upto: 0,
            is_overtaken: false,
        };
        let Some(place) = self.place(database) else {
            return nothing;
        };
        let reader = &self.readers[place];
        if !reader.has_waiting() {
            return nothing;
        }
        let is_overtaken = self.written - reader.next > SIZE as u64;
        Waiting {
            changes: if is_overtaken {
                Changes::All
            } else {
                self.changes(reader)
            },
            upto: reader.end,
            is_overtaken,
        }
    }

    fn changes(&self, reader: &Reader) -> Changes {
        let ids: Vec<Id> = (reader.next..reader.end)
            .map(|at| &self.entries[(at % SIZE as u64) as usize])
            .filter(|entry| entry.database == reader.database)
            .map(|entry| entry.id)
            .collect();
        if ids.contains(&ALL) {
            return Changes::All;
        }
        Changes::Some(ids)
    }
}

/// What waits in the ring for the announcer of a database.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) changes: Changes,
    /// Up to where in the ring this is.
    upto: u64,
    is_overtaken: bool,
}

/// Asks for the shared memory, where the server is just starting.
pub(super) fn init() {
    // SAFETY: a variable that PostgreSQL sets before it loads libraries.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        pg_shmem_init!(RING);
        EXISTS.store(true, Ordering::Relaxed);
    }
}

/// Whether this server has the ring. Backends are forked from the process that knows.
pub(super) fn exists() -> bool {
    EXISTS.load(Ordering::Relaxed)
}

/// OID of the database that this process is connected to.
pub(super) fn this_database() -> u32 {
    // SAFETY: a variable that is set once, when the process connects.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}

/// Puts the changes of a transaction that has committed into the ring, as was [promised](promise),
/// and gives the latch of who is to announce them. Never fails.
pub(super) fn push(changes: &Changes) -> Option<*mut pg_sys::Latch> {
    let database = this_database();
    let mut ring = RING.exclusive();
    let begin = ring.written;
    match changes {
        Changes::All => ring.write(database, ALL),
        Changes::Some(ids) => ids.iter().for_each(|id| ring.write(database, *id)),
    }
    let end = ring.written;
    // The promise has kept the place.
    let reader = ring.reader(database)?;
    if !reader.has_waiting() {
        reader.next = begin;
    }
    reader.end = end;
    reader.promised = reader.promised.saturating_sub(1);
    // One that is coming up again looks by itself.
    (reader.latch != 0).then_some(reader.latch as *mut pg_sys::Latch)
}

/// The transaction that has [promised](promise) to push does not commit after all.
pub(super) fn withdraw() {
    if let Some(reader) = RING.exclusive().reader(this_database()) {
        reader.promised = reader.promised.saturating_sub(1);
    }
}

/// What this database has in the ring. It stays there until [`announced`] is told, so that nothing
/// is lost with a transaction that fails to announce it; what two have announced was announced
/// twice, which is harmless.
pub(super) fn peek() -> Waiting {
    let mut waiting = RING.share().peek(this_database());
    // Not under the lock, for writers wait for it.
    if let Changes::Some(ids) = &mut waiting.changes {
        // They keep their order: whoever hears an id has heard of all that was committed before,
        // also where it takes several notifications.
        let mut seen = HashSet::with_capacity(ids.len());
        ids.retain(|id| seen.insert(*id));
    }
    waiting
}

/// What waited has been announced.
pub(super) fn announced(waiting: &Waiting) {
    if waiting.changes.is_empty() {
        return;
    }
    if let Some(reader) = RING.exclusive().reader(this_database()) {
        reader.starts = 0;
        reader.overflows += u64::from(waiting.is_overtaken);
        reader.next = reader.next.max(waiting.upto);
        reader.announced += match &waiting.changes {
            Changes::Some(ids) => ids.len() as u64,
            Changes::All => 1,
        };
    }
}

/// What a commit learns of the announcer of its database.
pub(super) enum Announcer {
    /// It runs. The caller has promised to [`push`] or to [`withdraw`], and it stays until then.
    Present,
    /// There is none, and the caller is the only one who is to register one, and to say so if that
    /// [fails](refused).
    Wanted,
    /// There is none, and none to be registered now.
    Absent,
}

/// Promises to push where there is an announcer.
pub(super) fn promise() -> Announcer {
    let database = this_database();
    let now = now();
    let mut ring = RING.exclusive();
    let reader = if ring.place(database).is_some() {
        ring.reader(database)
    } else {
        ring.take_place(database)
    };
    let Some(reader) = reader else {
        return Announcer::Absent;
    };
    if reader.latch != 0 {
        reader.promised += 1;
        return Announcer::Present;
    }
    let patience = if reader.is_registered {
        START_PATIENCE_MICROS
    } else {
        REFUSAL_MICROS
    };
    // A place that has just been taken is at the beginning of time.
    if now - reader.since < patience {
        return Announcer::Absent;
    }
    reader.is_registered = true;
    reader.since = now;
    Announcer::Wanted
}

/// An announcer that was [wanted](Announcer::Wanted) could not be registered.
pub(super) fn refused() {
    let since = now();
    if let Some(reader) = RING.exclusive().reader(this_database())
        // An earlier one may have come up meanwhile.
        && reader.latch == 0
    {
        reader.is_registered = false;
        reader.since = since;
    }
}

/// Whether the announcer of a database that is coming up is wanted, and how long it should wait
/// before it connects. The place of a database that is gone is given back.
pub(super) fn is_wanted(database: u32) -> Option<Duration> {
    let tablespace = {
        let mut ring = RING.exclusive();
        let reader = ring.reader(database)?;
        if reader.latch != 0 {
            return None;
        }
        reader.is_registered = true;
        reader.since = now();
        reader.starts = reader.starts.saturating_add(1);
        reader.tablespace
    };
    let is_gone = !has_folder(database, tablespace);
    let mut ring = RING.exclusive();
    let reader = ring.reader(database)?;
    if is_gone {
        *reader = Reader::default();
        return None;
    }
    let seconds = match reader.starts.saturating_sub(QUICK_STARTS) {
        0 => 0,
        late => 1 << late.min(10),
    };
    Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
}

/// Whether a database has its files. That can be asked without being connected to it.
fn has_folder(database: u32, tablespace: u32) -> bool {
    // SAFETY: makes a path, relative to the data directory, which PostgreSQL's processes are in.
    let folder = unsafe {
        CStr::from_ptr(pg_sys::GetDatabasePath(
            pg_sys::Oid::from(database),
            pg_sys::Oid::from(tablespace),
        ))
    };
    // What cannot be seen for another reason is taken to be there.
    Path::new(&*folder.to_string_lossy())
        .join("PG_VERSION")
        .try_exists()
        .unwrap_or(true)
}

/// The announcer of this database has come up; false where another one has already, or there is no
/// place any more.
pub(super) fn announcer_began(latch: *mut pg_sys::Latch, process: i32) -> bool {
    let mut ring = RING.exclusive();
    let Some(reader) = ring.reader(this_database()) else {
        return false;
    };
    if reader.latch != 0 {
        return false;
    }
    reader.is_registered = true;
    reader.latch = latch as usize;
    reader.process = process;
    true
}

/// The announcer of this database has ended and will be started again; what it has left stays for
/// it.
pub(super) fn announcer_failed() {
    let since = now();
    // SAFETY: a variable of this process.
    let process = unsafe { pg_sys::MyProcPid };
    if let Some(reader) = RING.exclusive().reader(this_database())
        // It may be its successor's already.
        && reader.process == process
    {
        reader.latch = 0;
        reader.process = 0;
        reader.since = since;
    }
}

/// Gives the place of this database back, if there is nothing left to announce, nor will be in a
/// moment.
pub(super) fn give_up_place() -> bool {
    let mut ring = RING.exclusive();
    let Some(reader) = ring.reader(this_database()) else {
        return true;
    };
    if reader.is_needed() {
        return false;
    }
    *reader = Reader::default();
    true
}

/// The reader of this database, and how many ids wait for it. Without one, whether all places are
/// taken.
pub(super) fn look() -> Result<(Reader, u64), bool> {
    let ring = RING.share();
    let Some(place) = ring.place(this_database()) else {
        return Err(ring.place(0).is_none());
    };
    let reader = ring.readers[place];
    let oldest = reader.next.max(ring.written.saturating_sub(SIZE as u64));
    let waiting = (oldest..reader.end)
        .filter(|at| ring.entries[(at % SIZE as u64) as usize].database == reader.database)
        .count();
    Ok((reader, waiting as u64))
}

/// Microseconds, by PostgreSQL's clock.
fn now() -> i64 {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}
