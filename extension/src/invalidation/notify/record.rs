//! The record of the last channel and of whether listeners are behind,
//! `qsessions.invalidation_state`.

use super::queue;
use crate::gucs;
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ffi::{CStr, CString};

/// The rows of `qsessions.invalidation_state`; usually there is none. They are read and written
/// without SQL: the caller has no privileges on the table, and no trigger or policy that its owner
/// may add must run.
pub(super) struct Record {
    /// Null if there is no such table: the library is newer than the objects of the extension, or
    /// the extension was dropped.
    table: pg_sys::Relation,
    rows: Vec<Row>,
}

struct Row {
    tid: pg_sys::ItemPointerData,
    channel: String,
    is_behind: bool,
}

impl Record {
    /// Takes the lock of the queue and reads the rows.
    pub(super) fn read() -> Self {
        // The lock of the table comes first: a transaction that drops the table may take that of
        // the queue afterwards.
        let table = open();
        queue::lock();
        // SAFETY: null, or an open table of the right columns.
        let rows = unsafe { if table.is_null() { vec![] } else { rows(table) } };
        Self { table, rows }
    }

    pub(super) fn exists(&self) -> bool {
        !self.table.is_null()
    }

    /// The channels on which `*` must be sent before anything else is sent on this one. The record
    /// then names this channel, with no listener behind.
    pub(super) fn settle(&self, channel: &str) -> Vec<String> {
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

    /// Records that listeners are behind.
    pub(super) fn set_behind(&self) {
        if self.rows.iter().any(|row| row.is_behind) {
            return;
        }
        if let Some(row) = self.rows.first() {
            self.delete(row);
            self.insert(&row.channel, true);
        } else {
            self.insert(gucs::DEFAULT_CHANNEL, true);
        }
        queue::full_report(
            "to notify of changed sessions: caches will drop all sessions once it has room",
        )
        .report(PgLogLevel::LOG);
    }

    fn delete(&self, row: &Row) {
        let mut tid = row.tid;
        // SAFETY: an open table and one of its rows. If another transaction is deleting the row by
        // hand at this moment, it is not waited for: an extra `*` does no harm.
        unsafe {
            let mut failure = std::mem::zeroed();
            pg_sys::heap_delete(
                self.table,
                &raw mut tid,
                pg_sys::GetCurrentCommandId(true),
                std::ptr::null_mut(),
                false,
                &raw mut failure,
                false,
            );
        }
    }

    fn insert(&self, channel: &str, is_behind: bool) {
        let channel = CString::new(channel).expect("the value of a parameter has no NUL");
        // SAFETY: open() has checked that these are the columns.
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
            // SAFETY: it is open. The transaction keeps the lock until its end.
            unsafe { pg_sys::table_close(self.table, pg_sys::NoLock as pg_sys::LOCKMODE) };
        }
    }
}

/// Columns of `qsessions.invalidation_state`.
const COLUMNS: usize = 2;

/// The table, or null if there is none with the right columns.
fn open() -> pg_sys::Relation {
    // SAFETY: looks up names. The table is locked before it is read, and closed again if it has
    // other columns.
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

/// # Safety
///
/// The table is open, and its columns are those of `qsessions.invalidation_state`.
unsafe fn rows(table: pg_sys::Relation) -> Vec<Row> {
    let mut rows = Vec::new();
    // SAFETY: see the contract. The snapshot shows the rows that are committed at this moment. It
    // takes no part in the checks of serializable transactions, which must not fail each other
    // here.
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
                tid: (*tuple).t_self,
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
