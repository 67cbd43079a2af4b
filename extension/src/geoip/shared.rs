//! What the background worker and the backends tell each other, in shared memory.
//!
//! Backends tell the worker the paths that they use, since it has no connection to a database and
//! cannot read the settings of databases and roles. Only a superuser can set
//! `qsessions.geoip_path`, so no other role can have a path watched.

use pgrx::lwlock::PgLwLock;
use pgrx::prelude::*;
use pgrx::shmem::PGRXSharedMemory;
use pgrx::{PgAtomic, pg_shmem_init, pg_sys};
use qsessions_geoip::Problem;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

/// Paths that the worker watches at a time. A server has one, or a few.
const PATHS: usize = 32;

/// Bytes of the longest path that it watches: the longest that PostgreSQL itself uses.
const PATH_BYTES: usize = 1024;
const MESSAGE_BYTES: usize = 1280;
const HINT_BYTES: usize = 128;

// SAFETY: it has this name in PostgreSQL's table of shared memory, and nothing else has.
static TABLE: PgLwLock<Table> = unsafe { PgLwLock::new(c"qsessions_geoip") };
// SAFETY: as above.
static GENERATION: PgAtomic<AtomicU64> = unsafe { PgAtomic::new(c"qsessions_geoip_generation") };
// SAFETY: as above.
static LATCH: PgAtomic<AtomicUsize> = unsafe { PgAtomic::new(c"qsessions_geoip_latch") };
static EXISTS: AtomicBool = AtomicBool::new(false);

struct Table {
    rows: [Row; PATHS],
    /// A path was left out, because all rows were taken.
    is_full: bool,
}

/// A path that is watched; an empty one where the row is free.
#[derive(Clone, Copy)]
struct Row {
    path: Text<PATH_BYTES>,
    max_bytes: u64,
    /// Why the folder of copies could not be written for this path; empty where it could.
    message: Text<MESSAGE_BYTES>,
    hint: Text<HINT_BYTES>,
    /// Seconds since 1970.
    failed_at: u64,
}

/// A text, cut where it is too long.
#[derive(Clone, Copy)]
struct Text<const BYTES: usize> {
    length: usize,
    bytes: [u8; BYTES],
}

// SAFETY: plain numbers, no references; the lock guards them.
unsafe impl PGRXSharedMemory for Table {}

impl<const BYTES: usize> Text<BYTES> {
    const EMPTY: Self = Self {
        length: 0,
        bytes: [0; BYTES],
    };

    fn of(text: &[u8]) -> Self {
        let mut new = Self::EMPTY;
        new.length = text.len().min(BYTES);
        new.bytes[..new.length].copy_from_slice(&text[..new.length]);
        new
    }

    fn get(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn to_text(self) -> String {
        String::from_utf8_lossy(self.get()).into_owned()
    }
}

impl Row {
    const EMPTY: Self = Self {
        path: Text::EMPTY,
        max_bytes: 0,
        message: Text::EMPTY,
        hint: Text::EMPTY,
        failed_at: 0,
    };

    fn path(&self) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(self.path.get()))
    }

    fn problem(&self) -> Option<Problem> {
        (self.message.length > 0).then(|| Problem {
            path: self.path(),
            message: self.message.to_text(),
            hint: self.hint.to_text(),
            at: UNIX_EPOCH + Duration::from_secs(self.failed_at),
        })
    }
}

impl Table {
    const EMPTY: Self = Self {
        rows: [Row::EMPTY; PATHS],
        is_full: false,
    };

    fn row(&self, path: &Path) -> Option<usize> {
        let path = path.as_os_str().as_bytes();
        self.rows.iter().position(|row| row.path.get() == path)
    }
}

/// A path that the worker watches.
pub(super) struct Watched {
    pub(super) path: PathBuf,
    pub(super) max_bytes: u64,
    pub(super) problem: Option<Problem>,
}

/// Asks for the shared memory. Called while the server is starting.
pub(super) fn init() {
    pg_shmem_init!(TABLE = Table::EMPTY);
    pg_shmem_init!(GENERATION);
    pg_shmem_init!(LATCH);
    EXISTS.store(true, Ordering::Relaxed);
}

/// A number that is another one after each import that has changed something. None where this
/// server has no shared memory for it.
pub(super) fn generation() -> Option<u64> {
    // Backends are forked from the process that knows.
    EXISTS
        .load(Ordering::Relaxed)
        .then(|| GENERATION.get().load(Ordering::Acquire))
}

/// Has every backend open anew what has changed.
pub(super) fn bump_generation() {
    if EXISTS.load(Ordering::Relaxed) {
        GENERATION.get().fetch_add(1, Ordering::Release);
    }
}

/// Whether a background worker watches paths.
pub(super) fn has_worker() -> bool {
    EXISTS.load(Ordering::Relaxed) && LATCH.get().load(Ordering::Acquire) != 0
}

/// The worker has begun, with this latch, or has ended, with none.
pub(super) fn set_worker(latch: *mut pg_sys::Latch) {
    LATCH.get().store(latch as usize, Ordering::Release);
}

fn wake_worker() {
    let latch = LATCH.get().load(Ordering::Acquire) as *mut pg_sys::Latch;
    if !latch.is_null() {
        // SAFETY: the latch is one of PostgreSQL's shared ones, which are never freed. Should
        // another process own it by now, that wakes for nothing.
        unsafe { pg_sys::SetLatch(latch) };
    }
}

/// Has the worker watch a path from now on. False if it has no room for it.
pub(super) fn watch(path: &Path, max_bytes: u64) -> bool {
    if !EXISTS.load(Ordering::Relaxed) || path.as_os_str().is_empty() {
        return true;
    }
    if path.as_os_str().len() > PATH_BYTES {
        return false;
    }
    let is_watched = {
        let table = TABLE.share();
        let row = table.row(path).map(|row| &table.rows[row]);
        row.is_some_and(|row| row.max_bytes == max_bytes)
    };
    let has_room = is_watched || add(path, max_bytes);
    if has_room && !is_watched {
        wake_worker();
    }
    has_room
}

fn add(path: &Path, max_bytes: u64) -> bool {
    let mut table = TABLE.exclusive();
    let Some(row) = table.row(path).or_else(|| table.row(Path::new(""))) else {
        table.is_full = true;
        return false;
    };
    let row = &mut table.rows[row];
    if row.path.length == 0 {
        row.path = Text::of(path.as_os_str().as_bytes());
    }
    row.max_bytes = max_bytes;
    true
}

/// The paths to watch. If one was left out, all are forgotten after this: backends tell the ones
/// in use again.
pub(super) fn watched() -> Vec<Watched> {
    let mut table = TABLE.exclusive();
    let rows = table.rows.iter().filter(|row| row.path.length > 0);
    let watched = rows
        .map(|row| Watched {
            path: row.path(),
            max_bytes: row.max_bytes,
            problem: row.problem(),
        })
        .collect();
    if table.is_full {
        *table = Table::EMPTY;
        bump_generation();
    }
    watched
}

/// Notes for all that the folder of copies could not be written for a path, or that it could.
pub(super) fn set_problem(path: &Path, problem: Option<&Problem>) {
    if !EXISTS.load(Ordering::Relaxed) {
        return;
    }
    let mut table = TABLE.exclusive();
    let Some(row) = table.row(path) else {
        return;
    };
    let row = &mut table.rows[row];
    (row.message, row.hint) = (Text::EMPTY, Text::EMPTY);
    if let Some(problem) = problem {
        row.message = Text::of(problem.message.as_bytes());
        row.hint = Text::of(problem.hint.as_bytes());
        let at = problem.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        row.failed_at = at.as_secs();
    }
}

/// Why the folder of copies could not be written for a path.
pub(super) fn problem(path: &Path) -> Option<Problem> {
    if !EXISTS.load(Ordering::Relaxed) {
        return None;
    }
    let table = TABLE.share();
    table.row(path).and_then(|row| table.rows[row].problem())
}
