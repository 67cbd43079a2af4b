//! What the background worker and the backends tell each other, in shared memory.
//!
//! Backends tell the worker the paths that they use, since it has no connection to a database and
//! cannot read the settings of databases and roles. Only a superuser can set
//! `qsessions.geoip_path`, so no other role can have a path watched.

use pgrx::lwlock::PgLwLock;
use pgrx::prelude::*;
use pgrx::shmem::PGRXSharedMemory;
use pgrx::{PgAtomic, pg_shmem_init, pg_sys};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Paths that the worker watches at a time. A server has one, or a few.
const PATHS: usize = 32;

/// Bytes of the longest path that it watches: the longest that PostgreSQL itself uses.
const PATH_BYTES: usize = 1024;

// SAFETY: it has this name in PostgreSQL's table of shared memory, and nothing else has.
static TABLE: PgLwLock<Table> = unsafe { PgLwLock::new(c"qsessions_geoip") };
// SAFETY: as above.
static GENERATION: PgAtomic<AtomicU64> = unsafe { PgAtomic::new(c"qsessions_geoip_generation") };
// SAFETY: as above.
static LATCH: PgAtomic<AtomicUsize> = unsafe { PgAtomic::new(c"qsessions_geoip_latch") };
static EXISTS: AtomicBool = AtomicBool::new(false);

/// The paths to watch.
struct Table {
    rows: [Row; PATHS],
    /// A path was left out, because all rows were taken.
    is_full: bool,
}

#[derive(Clone, Copy)]
struct Row {
    path: [u8; PATH_BYTES],
    /// Zero where the row is free.
    path_length: usize,
    max_bytes: u64,
}

// SAFETY: plain numbers, no references; the lock guards them.
unsafe impl PGRXSharedMemory for Table {}

impl Row {
    const FREE: Self = Self {
        path: [0; PATH_BYTES],
        path_length: 0,
        max_bytes: 0,
    };

    fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path[..self.path_length]))
    }
}

impl Table {
    const EMPTY: Self = Self {
        rows: [Row::FREE; PATHS],
        is_full: false,
    };

    fn row(&self, path: &Path) -> Option<usize> {
        let path = path.as_os_str();
        self.rows
            .iter()
            .position(|row| row.path().as_os_str() == path)
    }

    /// False if there is no room for the path.
    fn add(&mut self, path: &Path, max_bytes: u64) -> bool {
        let free = Path::new("");
        let Some(row) = self.row(path).or_else(|| self.row(free)) else {
            self.is_full = true;
            return false;
        };
        let row = &mut self.rows[row];
        let bytes = path.as_os_str().as_bytes();
        row.path[..bytes.len()].copy_from_slice(bytes);
        row.path_length = bytes.len();
        row.max_bytes = max_bytes;
        true
    }
}

/// Asks for the shared memory. Called while the server is starting.
pub(super) fn init() {
    pg_shmem_init!(TABLE = Table::EMPTY);
    pg_shmem_init!(GENERATION);
    pg_shmem_init!(LATCH);
    EXISTS.store(true, Ordering::Relaxed);
}

/// Whether this server has the shared memory. Backends are forked from the process that knows.
fn exists() -> bool {
    EXISTS.load(Ordering::Relaxed)
}

/// A number that is another one after each import that has changed something.
pub(super) fn generation() -> Option<u64> {
    exists().then(|| GENERATION.get().load(Ordering::Acquire))
}

/// Has every backend open anew what has changed.
pub(super) fn bump_generation() {
    if exists() {
        GENERATION.get().fetch_add(1, Ordering::Release);
    }
}

/// Whether a background worker watches paths.
pub(super) fn has_worker() -> bool {
    exists() && LATCH.get().load(Ordering::Acquire) != 0
}

/// The worker has begun, with this latch, or has ended, with none.
pub(super) fn set_worker(latch: *mut pg_sys::Latch) {
    LATCH.get().store(latch as usize, Ordering::Release);
}

/// Has the worker watch a path from now on, if there is one. False if it has no room for it.
pub(super) fn watch(path: &Path, max_bytes: u64) -> bool {
    let length = path.as_os_str().len();
    if !exists() || length == 0 {
        return true;
    }
    let is_watched = {
        let table = TABLE.share();
        let row = table.row(path).map(|row| &table.rows[row]);
        row.is_some_and(|row| row.max_bytes == max_bytes)
    };
    if is_watched {
        return true;
    }
    if length > PATH_BYTES || !TABLE.exclusive().add(path, max_bytes) {
        return false;
    }
    let latch = LATCH.get().load(Ordering::Acquire) as *mut pg_sys::Latch;
    if !latch.is_null() {
        // SAFETY: the latch is one of PostgreSQL's shared ones, which are never freed. Should
        // another process own it by now, that wakes for nothing.
        unsafe { pg_sys::SetLatch(latch) };
    }
    true
}

/// The paths to watch, and the largest file to import from each. If one was left out, all are
/// forgotten after this: the backends tell again those in use.
pub(super) fn watched() -> Vec<(PathBuf, u64)> {
    let mut table = TABLE.exclusive();
    let rows = table.rows.iter().filter(|row| row.path_length > 0);
    let watched = rows
        .map(|row| (row.path().to_owned(), row.max_bytes))
        .collect();
    if table.is_full {
        *table = Table::EMPTY;
        bump_generation();
    }
    watched
}
