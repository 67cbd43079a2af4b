//! The sessions that prepared transactions have changed, in the table
//! `qsessions.invalidation_prepared`.
//!
//! PREPARE TRANSACTION inserts the ids as a part of the transaction. So PostgreSQL keeps them as
//! long and as safely as the transaction itself: through crashes, on standbys, for days. They
//! appear at the same moment as the changes do, and never if the transaction is rolled back.
//!
//! **Whatever is sent, the ids that have appeared by then are sent before it.** Each transaction
//! that does NOTIFY [takes](Prepared::take) the rows after it has got the lock of the NOTIFY queue,
//! deletes them, and sends their ids first (see [`notify`](super::notify)). Take a listener that
//! receives an id, such as a probe, which was requested after the client of COMMIT PREPARED got its
//! confirmation. The row had appeared by then, and the transaction that sends the probe looks for
//! rows later: it takes the lock when it already has the probe, from its own session or from the
//! ring. If it does not see the row, another transaction has deleted it, which was holding the lock
//! until after its commit, and whose notifications therefore come first in the queue.
//!
//! A scan of the table would visit the rows that were deleted since the oldest transaction began,
//! which may be one that has been prepared for days. So [`places`] remembers in shared memory where
//! the rows are, and who has inserted them.
//!
//! This does not depend on the session that executes COMMIT PREPARED. But that session causes a
//! NOTIFY before it confirms, so that listeners need not wait for the next one: see [`finished`].
//! It does not wait for the lock of the queue. If no notifier runs and the lock is not free, it has
//! registered a notifier, which looks for rows when it [starts](are_waiting).

mod places;

use super::changes::{Changes, Id};
use super::table::{Row, Table, Values};
use pgrx::pg_sys;
use places::Known;
use std::ffi::CStr;
use std::sync::OnceLock;

pub(super) use places::init;

const NAME: &CStr = c"invalidation_prepared";
const COLUMNS: [pg_sys::Oid; 1] = [pg_sys::BYTEAOID];

/// As many as a page has room for: the column is not compressed, nor stored out of line.
const IDS_PER_ROW: usize = 400;

/// Whether this server can prepare transactions. If not, the table need not be looked at: the
/// parameter can change only when the server starts, and then no listener is left.
fn is_possible() -> bool {
    static IS_POSSIBLE: OnceLock<bool> = OnceLock::new();
    *IS_POSSIBLE.get_or_init(|| {
        // SAFETY: a C string, or null.
        let value = unsafe {
            let text = pg_sys::GetConfigOption(c"max_prepared_transactions".as_ptr(), true, false);
            (!text.is_null()).then(|| CStr::from_ptr(text))
        };
        value != Some(c"0")
    })
}

/// Records the changes of the current transaction, which is about to be prepared. False if there is
/// no table for them.
pub(super) fn record(changes: &Changes) -> bool {
    let Some(table) = Table::open(NAME, &COLUMNS) else {
        return false;
    };
    match changes {
        Changes::All => insert(&table, &[]),
        Changes::Some(ids) => ids.chunks(IDS_PER_ROW).for_each(|ids| insert(&table, ids)),
    }
    true
}

/// A row without ids stands for all sessions.
fn insert(table: &Table, ids: &[Id]) {
    let bytes = ids.as_flattened();
    let size = pg_sys::VARHDRSZ + bytes.len();
    // SAFETY: makes a bytea of its header and the ids. The table was opened with such a column.
    unsafe {
        let value = pg_sys::palloc(size).cast::<u8>();
        pgrx::varlena::set_varsize_4b(value.cast(), size as i32);
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), value.add(pg_sys::VARHDRSZ), bytes.len());
        let place = table.insert(&mut [pg_sys::Datum::from(value)]);
        pg_sys::pfree(value.cast());
        places::add(table.file(), place, pg_sys::GetTopTransactionId());
    }
}

/// The ids of prepared transactions that have been committed, and were not sent.
pub(super) struct Prepared(Option<Table>);

impl Prepared {
    /// Opens the table. The transaction must not have the lock of the NOTIFY queue yet.
    pub(super) fn open() -> Self {
        Self(is_possible().then(|| Table::open(NAME, &COLUMNS)).flatten())
    }

    /// Takes the ids, if the current transaction commits. It must have the lock of the queue, and
    /// send them.
    pub(super) fn take(&self) -> Changes {
        let Some(table) = &self.0 else {
            return Changes::Some(vec![]);
        };
        let file = table.file();
        if places::known(file).is_none() {
            places::learn(file, || table.places());
        }
        let rows = rows(table);
        rows.iter().for_each(|row| table.delete(row.place));
        sum(rows)
    }
}

/// What the current transaction, which is about to commit and has changed no session, must announce
/// because it may have committed a prepared one.
///
/// COMMIT PREPARED is alone in its transaction. That transaction has written to the log of the
/// database without having an id of its own. Few others have, such as a SELECT that has cleaned a
/// page. They look at the table too, and announce what they find: a row that was left there, as its
/// own COMMIT PREPARED could not send it. None of them waits for the table.
pub(super) fn finished() -> Changes {
    // SAFETY: reads variables of this process.
    let may_be = is_possible()
        && unsafe {
            pg_sys::XactLastRecEnd != 0
                && pg_sys::GetTopTransactionIdIfAny() == pg_sys::InvalidTransactionId
                && pg_sys::MyDatabaseId != pg_sys::InvalidOid
        };
    if !may_be {
        return Changes::Some(vec![]);
    }
    Table::open_without_waiting(NAME, &COLUMNS)
        .map_or_else(|| Changes::Some(vec![]), |table| sum(rows(&table)))
}

/// Whether ids are waiting to be sent.
pub(super) fn are_waiting() -> bool {
    let table = Prepared::open().0;
    table.is_some_and(|table| !rows(&table).is_empty())
}

/// The rows that are committed at this moment. They stay until they are taken by a transaction that
/// sends them.
fn rows(table: &Table) -> Vec<Row<Changes>> {
    let known = places::known(table.file());
    known.map_or_else(|| table.rows(changes), |known| rows_at(table, &known))
}

/// The rows at these places that are committed at this moment.
fn rows_at(table: &Table, known: &[Known]) -> Vec<Row<Changes>> {
    let mut rows: Vec<Row<Changes>> = Vec::new();
    for known in known {
        // In this order: it may end in between.
        // SAFETY: looks for the transaction in shared memory.
        let is_running = unsafe { pg_sys::TransactionIdIsInProgress(known.transaction) };
        let row = table.row(known.place, changes);
        if row.is_none() && !is_running {
            // Rolled back, or sent.
            places::remove(known);
        }
        // The same place can be known twice.
        rows.extend(row.filter(|row| rows.iter().all(|other| other.place != row.place)));
    }
    rows
}

fn changes(values: &Values) -> Changes {
    let [Some(ids)] = values else {
        return Changes::All;
    };
    // SAFETY: the table was opened with such a column. A value that the owner has stored compressed
    // or out of line is not read. The header of the latter begins like a short one.
    let bytes = unsafe {
        let value = ids.cast_mut_ptr::<pg_sys::varlena>();
        let is_short = pgrx::varlena::varatt_is_1b(value) && !pgrx::varlena::varatt_is_1b_e(value);
        if !is_short && !pgrx::varlena::varatt_is_4b_u(value) {
            return Changes::All;
        }
        pgrx::varlena::varlena_to_byte_slice(value)
    };
    match bytes.as_chunks() {
        (ids, []) if !ids.is_empty() => Changes::Some(ids.to_vec()),
        _ => Changes::All,
    }
}

fn sum(rows: Vec<Row<Changes>>) -> Changes {
    let mut ids = Vec::new();
    for row in rows {
        match row.value {
            Changes::All => return Changes::All,
            Changes::Some(more) => ids.extend(more),
        }
    }
    Changes::Some(ids)
}
