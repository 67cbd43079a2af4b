//! Where the rows of `qsessions.invalidation_prepared` are, in shared memory.
//!
//! For each database it either knows the places of *all* rows that are committed, or may yet be; or
//! it knows none, and the table is scanned. It begins with none when the server starts. The next
//! transaction that sends anything [learns](learn) the places by a scan. It says so first: from
//! then on, PREPARE TRANSACTION [adds](add) the place of each row, after it has inserted the row.
//! So a row is either inserted before the scan begins, which then sees it, or added. If there is no
//! room for a place, the database is forgotten.
//!
//! A place may stay for longer than its row, and that of another row may then be the same. The
//! table says what is there.

use crate::invalidation::ring::current_database;
use crate::invalidation::table::Place;
use pgrx::lwlock::PgLwLock;
use pgrx::prelude::*;
use pgrx::shmem::PGRXSharedMemory;
use pgrx::{pg_shmem_init, pg_sys};
use std::sync::atomic::{AtomicBool, Ordering};

/// Rows of all databases: at 16 bytes each, 32 kB. A prepared transaction has one for each 400
/// sessions that it has changed.
const ROWS: usize = 2_048;

/// Databases whose rows are known.
const DATABASES: usize = 64;

/// Where a row is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::invalidation) struct Known {
    /// OID of the database; zero if there is no row.
    database: u32,
    pub(super) transaction: pg_sys::TransactionId,
    pub(super) place: Place,
}

#[derive(Clone, Copy, Default)]
struct Database {
    /// Its OID; zero if this is free.
    id: u32,
    /// The file of the table: VACUUM FULL gives the rows other places, in another file.
    file: u32,
    /// Whether all rows are known. If not, a transaction is learning them, or has failed to.
    is_complete: bool,
}

struct Places {
    rows: [Known; ROWS],
    databases: [Database; DATABASES],
}

// SAFETY: plain numbers, no references; the lock guards them.
unsafe impl PGRXSharedMemory for Places {}

impl Default for Places {
    fn default() -> Self {
        Self {
            rows: [Known::default(); ROWS],
            databases: [Database::default(); DATABASES],
        }
    }
}

// SAFETY: the lock has this name in PostgreSQL's table of locks, and no other lock has it.
static PLACES: PgLwLock<Places> = unsafe { PgLwLock::new(c"qsessions_prepared") };
static EXISTS: AtomicBool = AtomicBool::new(false);

/// Requests the shared memory, if the server is just starting.
pub(in crate::invalidation) fn init() {
    // SAFETY: a variable that PostgreSQL sets before it loads libraries.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        pg_shmem_init!(PLACES);
        EXISTS.store(true, Ordering::Relaxed);
    }
}

fn exists() -> bool {
    EXISTS.load(Ordering::Relaxed)
}

impl Places {
    fn add(&mut self, row: Known) {
        match self.rows.iter_mut().find(|free| free.database == 0) {
            Some(free) => *free = row,
            None => self.forget(row.database),
        }
    }

    fn forget(&mut self, database: u32) {
        for row in &mut self.rows {
            if row.database == database {
                *row = Known::default();
            }
        }
        for known in &mut self.databases {
            if known.id == database {
                *known = Database::default();
            }
        }
    }

    /// A free entry for a database, or that of one which has no rows at present.
    fn acquire(&mut self) -> Option<&mut Database> {
        let Self { rows, databases } = self;
        let has_rows = |id: u32| rows.iter().any(|row| row.database == id);
        databases
            .iter_mut()
            .find(|known| known.id == 0 || known.is_complete && !has_rows(known.id))
    }

    fn database(&mut self, id: u32, file: u32) -> Option<&mut Database> {
        let mut databases = self.databases.iter_mut();
        databases.find(|known| known.id == id && known.file == file)
    }
}

/// Adds the place of a row that the current transaction has inserted.
pub(super) fn add(file: u32, place: Place, transaction: pg_sys::TransactionId) {
    if !exists() {
        return;
    }
    let database = current_database();
    let mut places = PLACES.exclusive();
    if places.database(database, file).is_some() {
        places.add(Known {
            database,
            transaction,
            place,
        });
    }
}

/// The places of all rows in this database, if they are known.
pub(super) fn known(file: u32) -> Option<Vec<Known>> {
    if !exists() {
        return None;
    }
    let id = current_database();
    let places = PLACES.share();
    let is_known = |known: &Database| known.id == id && known.file == file && known.is_complete;
    if !places.databases.iter().any(is_known) {
        return None;
    }
    let rows = places.rows.iter();
    Some(rows.filter(|row| row.database == id).copied().collect())
}

/// Learns the places of the rows in this database by a scan. Only one transaction at a time may do
/// so.
pub(super) fn learn(file: u32, scan: impl FnOnce() -> Vec<(Place, pg_sys::TransactionId)>) {
    if !exists() {
        return;
    }
    let id = current_database();
    {
        let mut places = PLACES.exclusive();
        places.forget(id);
        let Some(database) = places.acquire() else {
            return;
        };
        *database = Database {
            id,
            file,
            is_complete: false,
        };
    }
    let found = scan();
    let mut places = PLACES.exclusive();
    for (place, transaction) in found {
        // Whatever has no room causes the database to be forgotten.
        if places.database(id, file).is_some() {
            places.add(Known {
                database: id,
                transaction,
                place,
            });
        }
    }
    if let Some(database) = places.database(id, file) {
        database.is_complete = true;
    }
}

/// Forgets the place of a row that is gone.
pub(super) fn remove(gone: &Known) {
    let mut places = PLACES.exclusive();
    if let Some(row) = places.rows.iter_mut().find(|row| *row == gone) {
        *row = Known::default();
    }
}
