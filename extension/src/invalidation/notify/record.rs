//! The record of the last channel and of whether listeners are behind,
//! `qsessions.invalidation_state`.

use super::queue;
use crate::gucs;
use crate::invalidation::table::{Row, Table};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ffi::{CStr, CString};

const NAME: &CStr = c"invalidation_state";
const COLUMNS: [pg_sys::Oid; 2] = [pg_sys::NAMEOID, pg_sys::BOOLOID];

/// The rows of `qsessions.invalidation_state`; usually there is none.
pub(super) struct Record {
    table: Option<Table>,
    rows: Vec<Row<State>>,
}

struct State {
    channel: String,
    is_behind: bool,
}

impl Record {
    /// Takes the lock of the queue and reads the rows.
    pub(super) fn read() -> Self {
        // The lock of the table comes first: a transaction that drops the table may take that of
        // the queue afterwards.
        let table = Table::open(NAME, &COLUMNS);
        queue::lock();
        let rows = table.as_ref().map(rows).unwrap_or_default();
        Self { table, rows }
    }

    /// As [`read`](Self::read), but `None` if it would have to wait, or there is no record.
    pub(super) fn read_if_free() -> Option<Self> {
        let table = Table::open_without_waiting(NAME, &COLUMNS)?;
        queue::lock_if_free().then(|| Self {
            rows: rows(&table),
            table: Some(table),
        })
    }

    pub(super) fn exists(&self) -> bool {
        self.table.is_some()
    }

    /// The channels on which `*` must be sent before anything else is sent on this one. The record
    /// then names this channel, with no listener behind.
    pub(super) fn settle(&self, channel: &str) -> Vec<String> {
        let Some(table) = &self.table else {
            return vec![];
        };
        if self.rows.is_empty() && channel == gucs::DEFAULT_CHANNEL {
            return vec![];
        }
        let states = || self.rows.iter().map(|row| &row.value);
        let mut channels: Vec<String> = states().map(|state| state.channel.clone()).collect();
        if channels.is_empty() {
            channels.push(gucs::DEFAULT_CHANNEL.to_owned());
        }
        let is_other = channels.iter().any(|recorded| recorded != channel);
        if !is_other && !states().any(|state| state.is_behind) {
            return vec![];
        }
        self.rows.iter().for_each(|row| table.delete(row.place));
        if channel != gucs::DEFAULT_CHANNEL {
            insert(table, channel, false);
        }
        channels.retain(|recorded| recorded != channel);
        channels.push(channel.to_owned());
        channels
    }

    /// Records that listeners are behind.
    pub(super) fn set_behind(&self) {
        let Some(table) = &self.table else { return };
        if self.rows.iter().any(|row| row.value.is_behind) {
            return;
        }
        if let Some(row) = self.rows.first() {
            table.delete(row.place);
            insert(table, &row.value.channel, true);
        } else {
            insert(table, gucs::DEFAULT_CHANNEL, true);
        }
        queue::full_report(
            "to notify of changed sessions: caches will drop all sessions once it has room",
        )
        .report(PgLogLevel::LOG);
    }
}

fn insert(table: &Table, channel: &str, is_behind: bool) {
    let channel = CString::new(channel).expect("the value of a parameter has no NUL");
    let mut name = pg_sys::NameData::default();
    // SAFETY: a name has room for a channel, which is cut off otherwise. These are the columns.
    unsafe {
        pg_sys::namestrcpy(&raw mut name, channel.as_ptr());
        table.insert(&mut [
            pg_sys::Datum::from(&raw const name),
            pg_sys::Datum::from(is_behind),
        ]);
    }
}

fn rows(table: &Table) -> Vec<Row<State>> {
    table.rows(|values| {
        let [Some(channel), Some(is_behind)] = values else {
            // The owner of the table has changed this row: what it said is not known.
            return State {
                channel: gucs::DEFAULT_CHANNEL.to_owned(),
                is_behind: true,
            };
        };
        // SAFETY: the table was opened with these columns. A NameData ends with NUL.
        let name = unsafe {
            let name = &*channel.cast_mut_ptr::<pg_sys::NameData>();
            CStr::from_ptr(name.data.as_ptr())
        };
        State {
            channel: name.to_string_lossy().into_owned(),
            is_behind: is_behind.value() != 0,
        }
    })
}
