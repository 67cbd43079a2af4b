//! Counters of what has happened in each database since the server started.
//!
//! They are in shared memory, so they exist only where the library is preloaded. What a transaction
//! does is counted when it commits. What usually ends in an error is counted at once.

use crate::savepoints::Savepoints;
use pgrx::prelude::*;
use pgrx::shmem::PGRXSharedMemory;
use pgrx::{PgAtomic, pg_shmem_init, pg_sys};
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// The number of counters of a database.
const COUNTERS: usize = 11;

/// Databases that have counters. A database keeps them until the server stops, also if it is
/// dropped: 96 bytes each.
const DATABASES: usize = 256;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counter {
    SessionsCreated,
    Logins,
    LoadsOfNothing,
    Saves,
    Conflicts,
    Logouts,
    Revoked,
    Expired,
    Purged,
    Announced,
    Overflows,
}

impl Counter {
    /// A counter that functions in SQL count by its name.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "sessions_created" => Self::SessionsCreated,
            "logins" => Self::Logins,
            "loads_of_nothing" => Self::LoadsOfNothing,
            "saves" => Self::Saves,
            "conflicts" => Self::Conflicts,
            "logouts" => Self::Logouts,
            "revoked" => Self::Revoked,
            "expired" => Self::Expired,
            "purged" => Self::Purged,
            _ => return None,
        })
    }

    /// Whether it counts also in a transaction that is rolled back.
    fn counts_at_once(self) -> bool {
        matches!(self, Self::LoadsOfNothing | Self::Conflicts | Self::Expired)
    }
}

/// The counters of a database.
struct Slot {
    /// OID of the database; zero if the slot is free.
    database: AtomicU32,
    counts: [AtomicU64; COUNTERS],
}

struct Slots([Slot; DATABASES]);

// SAFETY: atomics, which processes can share.
unsafe impl PGRXSharedMemory for Slots {}

impl Slots {
    const fn free() -> Self {
        Self(
            [const {
                Slot {
                    database: AtomicU32::new(0),
                    counts: [const { AtomicU64::new(0) }; COUNTERS],
                }
            }; DATABASES],
        )
    }

    /// The position of the slot of a database, which gets a free one if it has none.
    fn acquire(&self, database: u32) -> Option<usize> {
        let relaxed = Ordering::Relaxed;
        self.0.iter().position(|slot| {
            let taken = slot
                .database
                .compare_exchange(0, database, relaxed, relaxed);
            taken.is_ok() || taken == Err(database)
        })
    }
}

// SAFETY: it has this name in PostgreSQL's table of shared memory, and nothing else has.
static SLOTS: PgAtomic<Slots> = unsafe { PgAtomic::new(c"qsessions_metrics") };
static EXISTS: AtomicBool = AtomicBool::new(false);

type Counts = [u64; COUNTERS];

/// What the current transaction has counted so far.
struct Pending {
    counts: Counts,
    savepoints: Savepoints<Counts>,
}

impl Pending {
    const EMPTY: Self = Self {
        counts: [0; COUNTERS],
        savepoints: Savepoints::new(),
    };
}

thread_local! {
    // A backend is one thread, runs one transaction at a time, and never changes its database.
    static PENDING: RefCell<Pending> = const { RefCell::new(Pending::EMPTY) };
    static SLOT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Requests the shared memory, if the server is just starting. All processes of the server inherit
/// it, and the callbacks.
pub(crate) fn init() {
    // SAFETY: a variable that PostgreSQL sets before it loads libraries. The callbacks live as long
    // as the process, and are guarded against panics.
    unsafe {
        if !pg_sys::process_shared_preload_libraries_in_progress {
            return;
        }
        pg_sys::RegisterXactCallback(Some(transaction_ends), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(savepoint_ends), std::ptr::null_mut());
    }
    pg_shmem_init!(SLOTS = Slots::free());
    EXISTS.store(true, Ordering::Relaxed);
}

fn exists() -> bool {
    EXISTS.load(Ordering::Relaxed)
}

/// The counters of this database. None without shared memory, or if other databases have all slots.
fn counts() -> Option<&'static [AtomicU64; COUNTERS]> {
    if !exists() {
        return None;
    }
    let position = SLOT.get().or_else(|| {
        // SAFETY: a variable that is set once, when the process connects.
        let position = SLOTS
            .get()
            .acquire(unsafe { pg_sys::MyDatabaseId }.to_u32());
        SLOT.set(position);
        position
    })?;
    Some(&SLOTS.get().0[position].counts)
}

/// Counts at once.
pub(crate) fn add(counter: Counter, amount: u64) {
    if let Some(counts) = counts() {
        counts[counter as usize].fetch_add(amount, Ordering::Relaxed);
    }
}

fn add_at_commit(counter: Counter, amount: u64) {
    // SAFETY: reads a variable of this process.
    let level = unsafe { pg_sys::GetCurrentTransactionNestLevel() };
    PENDING.with_borrow_mut(|pending| {
        pending.savepoints.enter(level, pending.counts);
        pending.counts[counter as usize] += amount;
    });
}

#[pg_guard]
unsafe extern "C-unwind" fn transaction_ends(
    event: pg_sys::XactEvent::Type,
    _argument: *mut std::ffi::c_void,
) {
    use pg_sys::XactEvent::{XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PREPARE};
    let is_done = matches!(event, XACT_EVENT_COMMIT | XACT_EVENT_PREPARE);
    if !is_done && event != XACT_EVENT_ABORT {
        return;
    }
    PENDING.with_borrow_mut(|pending| {
        if pending.counts == Pending::EMPTY.counts {
            return;
        }
        if is_done && let Some(counts) = counts() {
            for (total, amount) in counts.iter().zip(pending.counts) {
                if amount > 0 {
                    total.fetch_add(amount, Ordering::Relaxed);
                }
            }
        }
        *pending = Pending::EMPTY;
    });
}

#[pg_guard]
unsafe extern "C-unwind" fn savepoint_ends(
    event: pg_sys::SubXactEvent::Type,
    _this: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _argument: *mut std::ffi::c_void,
) {
    use pg_sys::SubXactEvent::{SUBXACT_EVENT_ABORT_SUB, SUBXACT_EVENT_COMMIT_SUB};
    PENDING.with_borrow_mut(|pending| {
        if pending.savepoints.is_empty() {
            return;
        }
        // SAFETY: reads a variable of this process, which still counts the transaction that ends.
        let level = unsafe { pg_sys::GetCurrentTransactionNestLevel() };
        match event {
            SUBXACT_EVENT_COMMIT_SUB => pending.savepoints.released(level),
            SUBXACT_EVENT_ABORT_SUB => {
                if let Some(counts) = pending.savepoints.rolled_back(level) {
                    pending.counts = counts;
                }
            }
            _ => {}
        }
    });
}

/// Counts something that a function in SQL has done, for a role with a privilege on the session
/// table: functions run as their caller, so any role can call this one. Returns whether it was
/// counted.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_count",
    volatile,
    parallel_unsafe,
    strict
)]
fn count(counter: &str, amount: default!(i64, 1)) -> bool {
    if !exists() || !may_count() {
        return false;
    }
    let (Some(counter), Ok(amount)) = (Counter::named(counter), u64::try_from(amount)) else {
        return false;
    };
    if counter.counts_at_once() {
        add(counter, amount);
    } else {
        add_at_commit(counter, amount);
    }
    true
}

/// Counts a session that a statement is about to create, which needs a privilege of its own.
pub(crate) fn count_session() {
    if exists() && may_count() {
        add_at_commit(Counter::SessionsCreated, 1);
    }
}

fn may_count() -> bool {
    let any_of = pg_sys::ACL_SELECT | pg_sys::ACL_INSERT | pg_sys::ACL_UPDATE | pg_sys::ACL_DELETE;
    // SAFETY: looks up names and privileges in the catalogue.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"qsessions".as_ptr(), true);
        let table = pg_sys::get_relname_relid(c"session".as_ptr(), schema);
        table != pg_sys::InvalidOid
            && pg_sys::pg_class_aclcheck(table, pg_sys::GetUserId(), any_of as pg_sys::AclMode)
                == pg_sys::AclResult::ACLCHECK_OK
    }
}

/// The counters of this database; null if the library is not preloaded.
#[allow(
    clippy::type_complexity,
    reason = "the columns of a table function are a tuple"
)]
#[pg_extern(create_or_replace, schema = "qsessions", volatile, parallel_restricted)]
fn metrics() -> TableIterator<
    'static,
    (
        name!(sessions_created_total, Option<i64>),
        name!(logins_total, Option<i64>),
        name!(loads_of_nothing_total, Option<i64>),
        name!(saves_total, Option<i64>),
        name!(conflicts_total, Option<i64>),
        name!(logouts_total, Option<i64>),
        name!(revoked_total, Option<i64>),
        name!(expired_total, Option<i64>),
        name!(purged_total, Option<i64>),
        name!(announced_total, Option<i64>),
        name!(overflows_total, Option<i64>),
    ),
> {
    let counts = counts();
    let total =
        |counter| counts.map(|counts| counts[counter as usize].load(Ordering::Relaxed) as i64);
    TableIterator::once((
        total(Counter::SessionsCreated),
        total(Counter::Logins),
        total(Counter::LoadsOfNothing),
        total(Counter::Saves),
        total(Counter::Conflicts),
        total(Counter::Logouts),
        total(Counter::Revoked),
        total(Counter::Expired),
        total(Counter::Purged),
        total(Counter::Announced),
        total(Counter::Overflows),
    ))
}
