//! The one place that NOTIFYs: in the transaction of a writer, or in one of the
//! [announcer](super::announcer).
//!
//! Two things can come between a change and the listeners. The server's NOTIFY queue may be full.
//! Any role that may connect can bring that about: it LISTENs in a transaction that does not end.
//! PostgreSQL then fails the commit of every transaction that NOTIFYs. And
//! `qsessions.invalidation_channel` may be changed, which the backends learn of one after the
//! other. Neither may fail a change of a session, or leave a cache with an old copy that it takes
//! for a new one.
//!
//! So there is a record, `qsessions.invalidation_state`, of at most one row: the channel on which
//! this database announced last (without a row, the default one), and whether changes have been
//! committed since without being announced. It is read and written under PostgreSQL's own lock of
//! the queue. Each transaction that NOTIFYs takes that lock shortly before its commit and keeps it
//! until after. Here it is taken a moment earlier. Under that lock:
//!
//! - A transaction for which the queue has room announces on the channel of its own setting. If the
//!   record says that changes are owed, `*` goes first. If it names another channel, `*` goes first
//!   on both. The record then says what holds.
//! - A transaction for which the queue has no room sends nothing, and the record says that changes
//!   are owed.
//!
//! **A listener that hears an id on a channel has heard on it, before that and since it began to
//! listen, for each change that was committed earlier, either the id of the session or `*`.** Only
//! one transaction at a time is between taking the lock and the end of its commit. So these
//! transactions have an order, the queue keeps that order, and the record that a transaction reads
//! is what the one before it has left. If that one was rolled back, so were its changes, its
//! notifications and its record. Take a change whose id was not sent on this channel. Either it was
//! not sent at all. Then the record said so from that transaction on until one sent `*`, and no id
//! went out between the two. Or it was sent on another channel. Then the next transaction that
//! sends an id on this channel finds the other one in the record, and sends `*` on both first. A
//! probe is an id like any other, so what was lost is made good before any later probe is heard.
//!
//! Room is judged under the same lock: no other transaction can add to the queue between the look
//! at it and the NOTIFY.
//!
//! The table is unlogged. A crash empties it, but a crash also ends all connections, and a listener
//! that was cut off drops all it holds. The same is so for a standby that is promoted, where the
//! table begins empty.
//!
//! The lock is also held while the callbacks of other extensions run. If a transaction changes
//! sessions here and, through postgres_fdw, in another database of the same server, then the remote
//! commit may wait for it, in a circle that PostgreSQL cannot see. docs/invalidation.md warns of
//! that.

use super::payload::{Changes, EVERYTHING};
use crate::gucs;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::{direct_function_call, pg_sys};
use std::ffi::{CStr, CString};
use std::sync::OnceLock;

/// Pages of the queue before PostgreSQL 17, where no setting says how many there are.
const PAGES: f64 = 1_048_576.0;

/// Announces these changes, in this order, when the current transaction commits. It has to be about
/// to: the lock of the queue is held from here on. False where the queue has no room; then nothing
/// is sent.
pub(super) fn send(changes: &[&Changes]) -> bool {
    let payloads = payloads(changes);
    send_payloads(payloads, &Record::read())
}

/// As [`send`], but where the queue has no room, the record says from the commit on that changes
/// are owed.
pub(super) fn send_or_owe(changes: &[&Changes]) -> bool {
    let payloads = payloads(changes);
    let record = Record::read();
    let is_sent = send_payloads(payloads, &record);
    if !is_sent {
        record.owe();
    }
    is_sent
}

/// Made before the lock is taken, which all who NOTIFY wait for.
fn payloads(changes: &[&Changes]) -> Vec<String> {
    changes
        .iter()
        .flat_map(|changes| changes.payloads())
        .collect()
}

fn send_payloads(mut payloads: Vec<String>, record: &Record) -> bool {
    let usage = usage();
    // Without a record to write to there is only PostgreSQL's own error.
    if usage > gucs::notify_queue_limit() && record.exists() {
        return false;
    }
    let channel = gucs::invalidation_channel();
    let first = record.settle(&channel);
    // Each takes a page at most. The last page may be begun, and the next one has to be free too.
    if first.len() + payloads.len() + 2 > room(usage) {
        payloads = vec![EVERYTHING.to_owned()];
    }
    for channel in &first {
        notify(channel, EVERYTHING);
    }
    for payload in &payloads {
        notify(&channel, payload);
    }
    true
}

/// Whether the queue is too full at this moment.
pub(super) fn is_queue_full() -> bool {
    usage() > gucs::notify_queue_limit()
}

/// Why the queue is too full, and what to do.
pub(super) const FULL_QUEUE_HINT: &str = "A connection that has executed LISTEN stays in a transaction: end that \
     transaction (see pg_stat_activity), and set idle_in_transaction_session_timeout.";

/// A report of a queue that is too full for something.
pub(super) fn full_queue(wanted: &str) -> ErrorReport {
    ErrorReport::new(
        PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
        format!("the NOTIFY queue is too full {wanted}"),
        function_name!(),
    )
    .set_hint(FULL_QUEUE_HINT)
}

/// The share of the queue that is in use.
fn usage() -> f64 {
    // SAFETY: takes nothing, returns a float8.
    let usage = unsafe { direct_function_call::<f64>(pg_sys::pg_notification_queue_usage, &[]) };
    usage.expect("pg_notification_queue_usage never returns null")
}

/// How many pages of the queue are free.
fn room(usage: f64) -> usize {
    // The setting cannot change while the server runs.
    static TOTAL: OnceLock<f64> = OnceLock::new();
    let total = TOTAL.get_or_init(|| {
        // SAFETY: a C string, or null where this PostgreSQL does not know the setting.
        let pages = unsafe {
            let text = pg_sys::GetConfigOption(c"max_notify_queue_pages".as_ptr(), true, false);
            (!text.is_null()).then(|| CStr::from_ptr(text))
        };
        let pages = pages.and_then(|text| text.to_str().ok()?.parse().ok());
        pages.unwrap_or(PAGES)
    });
    ((1.0 - usage) * total) as usize
}

fn notify(channel: &str, payload: &str) {
    let arguments = [channel.into_datum(), payload.into_datum()];
    // SAFETY: pg_notify takes two texts and returns nothing.
    unsafe { direct_function_call::<()>(pg_sys::pg_notify, &arguments) };
}

/// The rows of `qsessions.invalidation_state`, of which there is usually none. They are read and
/// written here without SQL: the caller has no rights on the table, and nothing that its owner
/// could attach to it may run.
struct Record {
    /// Null where there is no such table: a newer library than the extension's objects, or no
    /// extension any more.
    table: pg_sys::Relation,
    rows: Vec<Row>,
}

struct Row {
    place: pg_sys::ItemPointerData,
    channel: String,
    is_behind: bool,
}

impl Record {
    /// Takes the lock of the queue and reads.
    fn read() -> Self {
        // The table's lock comes first: a role that drops the table may want that of the queue
        // afterwards.
        let table = open();
        lock_queue();
        // SAFETY: null, or an open table of the right columns.
        let rows = unsafe { if table.is_null() { vec![] } else { rows(table) } };
        Self { table, rows }
    }

    fn exists(&self) -> bool {
        !self.table.is_null()
    }

    /// The channels on which `*` has to go out before anything else goes out on this one, which the
    /// record then says is the last.
    fn settle(&self, channel: &str) -> Vec<String> {
        if !self.exists() || (self.rows.is_empty() && channel == gucs::DEFAULT_CHANNEL) {
            return vec![];
        }
        let mut channels: Vec<String> = self.rows.iter().map(|row| row.channel.clone()).collect();
        if channels.is_empty() {
            channels.push(gucs::DEFAULT_CHANNEL.to_owned());
        }
        let is_other = channels.iter().any(|recorded| recorded != channel);
        if !is_other && !self.rows.iter().any(|row| row.is_behind) {
            return vec![];
        }
        self.rows.iter().for_each(|row| self.delete(row));
        if channel != gucs::DEFAULT_CHANNEL {
            self.insert(channel, false);
        }
        channels.retain(|recorded| recorded != channel);
        channels.push(channel.to_owned());
        channels
    }

    /// Records that changes are owed.
    fn owe(&self) {
        if self.rows.iter().any(|row| row.is_behind) {
            return;
        }
        if let Some(row) = self.rows.first() {
            self.delete(row);
            self.insert(&row.channel, true);
        } else {
            self.insert(gucs::DEFAULT_CHANNEL, true);
        }
        full_queue("to announce changed sessions: caches will drop all sessions once it has room")
            .report(PgLogLevel::LOG);
    }

    fn delete(&self, row: &Row) {
        let mut place = row.place;
        // SAFETY: an open table and a row that it has. A row that is being deleted by hand at this
        // moment stays, and is not waited for: one `*` too many does no harm.
        unsafe {
            let mut failure = std::mem::zeroed();
            pg_sys::heap_delete(
                self.table,
                &raw mut place,
                pg_sys::GetCurrentCommandId(true),
                std::ptr::null_mut(),
                false,
                &raw mut failure,
                false,
            );
        }
    }

    fn insert(&self, channel: &str, is_behind: bool) {
        let channel = CString::new(channel).expect("a setting has no NUL");
        // SAFETY: open() has seen that the columns are these two.
        unsafe {
            let mut name = pg_sys::NameData::default();
            pg_sys::namestrcpy(&raw mut name, channel.as_ptr());
            let mut values = [
                pg_sys::Datum::from(&raw const name),
                pg_sys::Datum::from(is_behind),
            ];
            let tuple = pg_sys::heap_form_tuple(
                (*self.table).rd_att,
                values.as_mut_ptr(),
                [false; COLUMNS].as_mut_ptr(),
            );
            pg_sys::simple_heap_insert(self.table, tuple);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.exists() {
            // SAFETY: it is open. The lock stays until the transaction ends.
            unsafe { pg_sys::table_close(self.table, pg_sys::NoLock as pg_sys::LOCKMODE) };
        }
    }
}

/// Columns of `qsessions.invalidation_state`.
const COLUMNS: usize = 2;

/// The table, or null where there is none with the right columns.
fn open() -> pg_sys::Relation {
    // SAFETY: looks up names; the table is locked before it is looked at, and closed again where it
    // is another one.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"qsessions".as_ptr(), true);
        let id = pg_sys::get_relname_relid(c"invalidation_state".as_ptr(), schema);
        if id == pg_sys::InvalidOid {
            return std::ptr::null_mut();
        }
        let lock = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
        let table = pg_sys::try_table_open(id, lock);
        if table.is_null() {
            return table;
        }
        let description = (*table).rd_att;
        let is_of = |column, of| pg_sys::SPI_gettypeid(description, column) == of;
        if (*description).natts as usize == COLUMNS
            && is_of(1, pg_sys::NAMEOID)
            && is_of(2, pg_sys::BOOLOID)
        {
            return table;
        }
        pg_sys::table_close(table, lock);
        std::ptr::null_mut()
    }
}

/// What PostgreSQL's `PreCommit_Notify` locks: database 0, which there is none of. To lock it twice
/// costs nothing.
fn lock_queue() {
    // SAFETY: a lock like any other; the end of the transaction releases it.
    unsafe {
        pg_sys::LockSharedObject(
            pg_sys::DatabaseRelationId,
            pg_sys::InvalidOid,
            0,
            pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE,
        );
    }
}

/// # Safety
///
/// The table is open, and its columns are those of `qsessions.invalidation_state`.
unsafe fn rows(table: pg_sys::Relation) -> Vec<Row> {
    let mut rows = Vec::new();
    // SAFETY: see the contract. The snapshot shows what is committed at this moment, and has no
    // part in serializable transactions, which must not fail each other here.
    unsafe {
        let scan = pg_sys::systable_beginscan(
            table,
            pg_sys::InvalidOid,
            false,
            &raw mut pg_sys::SnapshotSelfData,
            0,
            std::ptr::null_mut(),
        );
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            let mut values = [pg_sys::Datum::null(); COLUMNS];
            let mut nulls = [true; COLUMNS];
            pg_sys::heap_deform_tuple(
                tuple,
                (*table).rd_att,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
            let name = &*values[0].cast_mut_ptr::<pg_sys::NameData>();
            rows.push(Row {
                place: (*tuple).t_self,
                channel: CStr::from_ptr(name.data.as_ptr())
                    .to_string_lossy()
                    .into_owned(),
                is_behind: values[1].value() != 0,
            });
        }
        pg_sys::systable_endscan(scan);
    }
    rows
}
