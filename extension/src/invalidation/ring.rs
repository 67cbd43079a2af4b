//! A ring in shared memory that holds the ids of changed sessions between a commit and its announcement.
//!
//! Writers never wait for readers: they overwrite the oldest entry. Each database has one reader, its announcer, with
//! a place in the ring of its own; a reader that was overtaken knows, and announces `*`.

use super::payload::{Changes, Id};
use pgrx::lwlock::PgLwLock;
use pgrx::prelude::*;
use pgrx::shmem::PGRXSharedMemory;
use pgrx::{pg_shmem_init, pg_sys};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

/// Entries of the ring: at 20 bytes each, 640 kB.
pub(super) const SIZE: usize = 32_768;

/// Databases that can have an announcer at once; another one's transactions NOTIFY by themselves.
const DATABASES: usize = 64;

/// How long a commit trusts that an announcer that is being started will come up.
const START_PATIENCE_MICROS: i64 = 1_000_000;

/// How soon a commit tries anew to start an announcer that has not come up.
const RETRY_MICROS: i64 = 10_000_000;

/// How often an announcer may come up in vain before it is left to the next commit to start one: that of a database that was
/// dropped would try for ever.
const MOST_ATTEMPTS: u32 = 3;

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
    pub(super) database: u32,
    /// Where in the ring to go on.
    next: u64,
    /// The latch of the announcer, an address in shared memory, which is the same in all processes; zero
    /// while there is none.
    latch: usize,
    pub(super) process: i32,
    /// When the announcer was last started, or ended.
    since: i64,
    /// Transactions that are committing and will push then. As long as there are any, the place is not given back.
    promised: u32,
    /// How often its announcer has been coming up since it last was there.
    attempts: u32,
    pub(super) announced: u64,
    pub(super) overflows: u64,
}

struct Ring {
    /// Entries written since the server started; the next goes to this, modulo the size.
    written: u64,
    entries: [Entry; SIZE],
    readers: [Reader; DATABASES],
    /// A database has lost its place to another one, with what it may have had in the ring.
    is_overcrowded: bool,
}

// SAFETY: plain numbers, no references; the lock guards them.
unsafe impl PGRXSharedMemory for Ring {}

impl Default for Ring {
    fn default() -> Self {
        Self {
            written: 0,
            entries: [Entry::default(); SIZE],
            readers: [Reader::default(); DATABASES],
            is_overcrowded: false,
        }
    }
}

impl Ring {
    fn reader(&mut self, database: u32) -> Option<&mut Reader> {
        self.readers
            .iter_mut()
            .find(|reader| reader.database == database)
    }

    /// A place for a database that has none: a free one, or else that of a database that was probably dropped.
    fn take_place(&mut self, database: u32) -> Option<&mut Reader> {
        let is_free = |reader: &Reader| reader.database == 0;
        let is_given_up = |reader: &Reader| {
            reader.latch == 0 && reader.attempts > MOST_ATTEMPTS && reader.promised == 0
        };
        let place = self
            .readers
            .iter()
            .position(is_free)
            .or_else(|| self.readers.iter().position(is_given_up))?;
        let next = self.written;
        self.is_overcrowded |= self.readers[place].database != 0;
        if self.is_overcrowded {
            // It may be the one that has lost its place.
            self.write(database, ALL);
        }
        let reader = &mut self.readers[place];
        *reader = Reader {
            database,
            next,
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
        let upto = self.written;
        let Some(from) = self
            .readers
            .iter()
            .find(|reader| reader.database == database)
            .map(|reader| reader.next)
        else {
            return Waiting {
                changes: Changes::Some(vec![]),
                upto,
                overtaken: false,
            };
        };
        let overtaken = upto - from > SIZE as u64;
        let changes = if overtaken {
            Changes::All
        } else {
            self.changes(database, from)
        };
        Waiting {
            changes,
            upto,
            overtaken,
        }
    }

    fn changes(&self, database: u32, from: u64) -> Changes {
        let ids: Vec<Id> = (from..self.written)
            .map(|at| &self.entries[(at % SIZE as u64) as usize])
            .filter(|entry| entry.database == database)
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
    overtaken: bool,
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

/// Puts the changes of a transaction that has committed into the ring, as was [promised](promise), and tells
/// the latch of who is to announce them. Never fails.
pub(super) fn push(changes: &Changes) -> Option<*mut pg_sys::Latch> {
    let database = this_database();
    let mut ring = RING.exclusive();
    match changes {
        Changes::All => ring.write(database, ALL),
        Changes::Some(ids) => ids.iter().for_each(|id| ring.write(database, *id)),
    }
    let reader = ring.reader(database)?;
    reader.promised = reader.promised.saturating_sub(1);
    // One that is just starting looks by itself.
    (reader.latch != 0).then_some(reader.latch as *mut pg_sys::Latch)
}

/// The transaction that has [promised](promise) to push does not commit after all.
pub(super) fn withdraw() {
    if let Some(reader) = RING.exclusive().reader(this_database()) {
        reader.promised = reader.promised.saturating_sub(1);
    }
}

/// What this database has in the ring. It stays there until [`announced`] is told, so that nothing is lost with a
/// transaction that fails to announce it; what two have announced was announced twice, which is harmless.
pub(super) fn peek() -> Waiting {
    let mut waiting = RING.share().peek(this_database());
    // Not under the lock, for writers wait for it.
    if let Changes::Some(ids) = &mut waiting.changes {
        // They keep their order: whoever hears an id has heard of all that was committed before, also where it takes
        // several notifications.
        let mut seen = HashSet::with_capacity(ids.len());
        ids.retain(|id| seen.insert(*id));
    }
    waiting
}

/// What waited has been announced.
pub(super) fn announced(waiting: &Waiting) {
    if let Some(reader) = RING.exclusive().reader(this_database()) {
        if waiting.overtaken {
            reader.overflows += 1;
        }
        reader.next = reader.next.max(waiting.upto);
        reader.announced += match &waiting.changes {
            Changes::Some(ids) => ids.len() as u64,
            Changes::All => 1,
        };
    }
}

/// How far the announcer of this database is.
pub(super) enum State {
    /// It runs, or was told to start a moment ago.
    Present,
    /// There is none, and it is for the caller to start one; what is pushed from now on will wait for it.
    Absent,
    /// It should have come up and has not, or there is no place for one.
    Unavailable,
}

/// Looks up the announcer of this database; where there is none, the caller is the only one who is told so. Unless it is
/// unavailable, the caller has thereby promised to [`push`] or to [`withdraw`], and the announcer stays until then.
pub(super) fn promise() -> State {
    let database = this_database();
    let now = now();
    let mut ring = RING.exclusive();
    if let Some(reader) = ring.reader(database) {
        let waited = now - reader.since;
        if reader.latch != 0 || waited < START_PATIENCE_MICROS {
            reader.promised += 1;
            return State::Present;
        }
        if waited < RETRY_MICROS {
            return State::Unavailable;
        }
        reader.since = now;
        reader.attempts = 0;
        reader.promised += 1;
        return State::Absent;
    }
    let Some(reader) = ring.take_place(database) else {
        return State::Unavailable;
    };
    reader.since = now;
    reader.promised = 1;
    State::Absent
}

/// Whether the announcer of a database that is coming up is wanted: none is there, nobody has given its place back, and it
/// hasn't been coming up in vain too often.
pub(super) fn is_wanted(database: u32) -> bool {
    let mut ring = RING.exclusive();
    let Some(reader) = ring.reader(database) else {
        return false;
    };
    reader.attempts += 1;
    reader.latch == 0 && reader.attempts <= MOST_ATTEMPTS
}

/// The announcer of this database has come up.
pub(super) fn announcer_began(latch: *mut pg_sys::Latch, process: i32) {
    let since = now();
    if let Some(reader) = RING.exclusive().reader(this_database()) {
        reader.latch = latch as usize;
        reader.process = process;
        reader.since = since;
        reader.attempts = 0;
    }
}

/// The announcer of this database has ended and will be started again; what it has left stays for it.
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

/// Gives the place of this database back, if there is nothing left to announce, nor will be in a moment.
pub(super) fn give_up_place() -> bool {
    let database = this_database();
    let mut ring = RING.exclusive();
    let written = ring.written;
    let entries = &ring.entries;
    let Some(reader) = ring
        .readers
        .iter()
        .find(|reader| reader.database == database)
    else {
        return true;
    };
    let overtaken = written - reader.next > SIZE as u64;
    let waiting = overtaken
        || reader.promised > 0
        || (reader.next..written)
            .any(|at| entries[(at % SIZE as u64) as usize].database == database);
    if !waiting && let Some(reader) = ring.reader(database) {
        *reader = Reader::default();
    }
    !waiting
}

/// The reader of this database, and how many ids wait for it.
pub(super) fn look() -> Option<(Reader, u64)> {
    let database = this_database();
    let ring = RING.share();
    let reader = ring
        .readers
        .iter()
        .find(|reader| reader.database == database)?;
    let oldest = reader.next.max(ring.written.saturating_sub(SIZE as u64));
    let waiting = (oldest..ring.written)
        .filter(|at| ring.entries[(at % SIZE as u64) as usize].database == database)
        .count();
    Some((*reader, waiting as u64))
}

/// Microseconds, by PostgreSQL's clock.
fn now() -> i64 {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}
