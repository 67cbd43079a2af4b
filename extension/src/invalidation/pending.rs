//! The ids of the sessions that the current transaction has changed so far, and their delivery.

use super::changes::{Changes, Id};
use super::ring::Backlog;
use super::{notifier, notify, prepared, ring};
use crate::metrics::{self, Counter};
use crate::savepoints::Savepoints;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::cell::RefCell;

/// A transaction that changes more rows than this sends `*`: a cache would drop most of its entries
/// anyway, and the list is kept in memory.
const MAX_IDS: usize = 10_000;

thread_local! {
    // A backend is one thread and runs one transaction at a time.
    static PENDING: RefCell<Pending> = const { RefCell::new(Pending::new()) };
    // How this transaction delivers its changes, from shortly before its commit to its end.
    static DELIVERY: RefCell<Delivery> = const { RefCell::new(Delivery::None) };
}

/// Ids in the order of the changes, and the length of the list before each nested transaction: a
/// rollback removes the end of the list.
#[derive(Debug)]
struct Pending {
    ids: Vec<Id>,
    all: bool,
    lengths: Savepoints<usize>,
}

/// How a transaction delivers its changes.
#[derive(Debug)]
enum Delivery {
    /// Not decided yet, or not at all: the queue has no room, and the record says so; or the
    /// changes are those of a prepared transaction, and stay in their table.
    None,
    /// By the ring, in which a push is reserved.
    Ring,
    /// By a NOTIFY of the transaction itself, together with the backlog of the ring: it may have no
    /// notifier.
    Notify(Option<Backlog>),
}

impl Pending {
    const fn new() -> Self {
        Self {
            ids: Vec::new(),
            all: false,
            lengths: Savepoints::new(),
        }
    }

    fn add(&mut self, id: Id, level: i32) {
        // Foreign-key cascades and patches of one session come in runs.
        if self.all || (self.ids.last() == Some(&id) && self.lengths.is_empty()) {
            return;
        }
        self.lengths.enter(level, self.ids.len());
        if self.ids.len() == MAX_IDS {
            self.add_all();
        } else {
            self.ids.push(id);
        }
    }

    /// A rollback to a savepoint does not undo this: once the list is gone, only `*` is safe.
    fn add_all(&mut self) {
        *self = Self {
            all: true,
            ..Self::new()
        };
    }

    fn is_empty(&self) -> bool {
        !self.all && self.ids.is_empty()
    }

    fn take(&mut self) -> Changes {
        std::mem::replace(self, Self::new()).into_changes()
    }

    fn changes(&self) -> Changes {
        let (ids, all) = (self.ids.clone(), self.all);
        Self {
            ids,
            all,
            ..Self::new()
        }
        .into_changes()
    }

    fn into_changes(self) -> Changes {
        let Self { mut ids, all, .. } = self;
        if all {
            return Changes::All;
        }
        ids.sort_unstable();
        ids.dedup();
        Changes::Some(ids)
    }
}

/// Registers callbacks for the ends of transactions.
pub(super) fn init() {
    // SAFETY: the callbacks live as long as the process, and are guarded against panics.
    unsafe {
        pg_sys::RegisterXactCallback(Some(transaction_ends), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(savepoint_ends), std::ptr::null_mut());
    }
}

/// Adds a session that has changed.
pub(super) fn add(id: Id) {
    // SAFETY: reads a variable of this process.
    let level = unsafe { pg_sys::GetCurrentTransactionNestLevel() };
    PENDING.with_borrow_mut(|pending| pending.add(id, level));
}

/// Records that any session may have changed.
pub(super) fn add_all() {
    PENDING.with_borrow_mut(Pending::add_all);
}

#[pg_guard]
unsafe extern "C-unwind" fn transaction_ends(
    event: pg_sys::XactEvent::Type,
    _argument: *mut std::ffi::c_void,
) {
    use pg_sys::XactEvent::{
        XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PRE_COMMIT, XACT_EVENT_PRE_PREPARE,
        XACT_EVENT_PREPARE,
    };
    if event == XACT_EVENT_PRE_COMMIT && PENDING.with_borrow(Pending::is_empty) {
        announce_finished();
        return;
    }
    if PENDING.with_borrow(Pending::is_empty) {
        return;
    }
    match event {
        // The last moment at which an error is allowed, and a NOTIFY.
        XACT_EVENT_PRE_COMMIT => choose_delivery(notify::send_or_record),
        // From here on, other transactions see the changes, and no error is allowed.
        XACT_EVENT_COMMIT => {
            let changes = PENDING.with_borrow_mut(Pending::take);
            match DELIVERY.replace(Delivery::None) {
                Delivery::Ring => {
                    if let Some(latch) = ring::push(&changes) {
                        notifier::wake(latch);
                    }
                }
                Delivery::Notify(Some(backlog)) => {
                    ring::advance(&backlog);
                    metrics::add(Counter::Announced, changes.len());
                }
                Delivery::Notify(None) | Delivery::None => {}
            }
        }
        XACT_EVENT_ABORT => {
            PENDING.with_borrow_mut(Pending::take);
            if let Delivery::Ring = DELIVERY.replace(Delivery::None) {
                ring::release();
            }
        }
        XACT_EVENT_PRE_PREPARE => prepare(),
        XACT_EVENT_PREPARE => {
            PENDING.with_borrow_mut(Pending::take);
        }
        _ => {}
    }
}

/// Announces the changes of a prepared transaction that this one may have committed. At this point,
/// COMMIT PREPARED cannot be undone: if it reported an error, a transaction manager would take the
/// transaction for one that is not committed. So this waits for no lock of the tables or of the
/// queue, and an interrupt comes after it. If the ids cannot be sent now, they stay in their table.
/// The notifier looks there when it starts, and so does the next transaction that sends anything.
fn announce_finished() {
    let _uninterrupted = Uninterrupted::begin();
    match prepared::finished() {
        Changes::Some(ids) if ids.is_empty() => return,
        Changes::Some(ids) => ids.into_iter().for_each(add),
        Changes::All => add_all(),
    }
    choose_delivery(notify::send_if_free);
}

/// While this exists, PostgreSQL keeps interrupts, such as a cancellation, for later.
struct Uninterrupted;

impl Uninterrupted {
    fn begin() -> Self {
        // SAFETY: as HOLD_INTERRUPTS.
        unsafe { pg_sys::InterruptHoldoffCount += 1 };
        Self
    }
}

impl Drop for Uninterrupted {
    fn drop(&mut self) {
        // SAFETY: as RESUME_INTERRUPTS. An error has set it to zero already.
        unsafe {
            pg_sys::InterruptHoldoffCount = pg_sys::InterruptHoldoffCount.saturating_sub(1);
        }
    }
}

/// Reserves a push into the ring, or else sends the changes by this function, which returns whether
/// it has.
fn choose_delivery(send: impl FnOnce(&[&Changes]) -> bool) {
    if ring::exists() && notifier::reserve() {
        DELIVERY.set(Delivery::Ring);
        return;
    }
    let own = PENDING.with_borrow(Pending::changes);
    let backlog = ring::exists().then(ring::backlog);
    let is_sent = match &backlog {
        Some(backlog) => send(&[&backlog.changes, &own]),
        None => send(&[&own]),
    };
    if is_sent {
        DELIVERY.set(Delivery::Notify(backlog));
    }
    // Otherwise the backlog stays in the ring.
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
        if pending.lengths.is_empty() {
            return;
        }
        // SAFETY: reads a variable of this process, which still counts the transaction that ends.
        let level = unsafe { pg_sys::GetCurrentTransactionNestLevel() };
        match event {
            SUBXACT_EVENT_COMMIT_SUB => pending.lengths.released(level),
            SUBXACT_EVENT_ABORT_SUB => {
                if let Some(length) = pending.lengths.rolled_back(level) {
                    pending.ids.truncate(length);
                }
            }
            _ => {}
        }
    });
}

/// Leaves the changes in the database for whatever process sends them after COMMIT PREPARED.
/// Without the ring, that process may be one without this library, and would not: the transaction
/// is then refused, as PostgreSQL refuses one that has done NOTIFY.
fn prepare() {
    let hint = if !ring::exists() {
        "Add qsessions to shared_preload_libraries, or change sessions in a transaction of their own."
    } else if prepared::record(&PENDING.with_borrow(Pending::changes)) {
        return;
    } else {
        "Update the extension: ALTER EXTENSION qsessions UPDATE."
    };
    ErrorReport::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        "cannot PREPARE a transaction that has changed sessions",
        function_name!(),
    )
    .set_hint(hint)
    .report(PgLogLevel::ERROR);
}
