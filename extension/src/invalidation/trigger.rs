//! The trigger function `qsessions._announce()`: adds the rows that changed in a way that caches
//! must know of.
//!
//! The triggers on the session table name this function, and so do dumps of it: its name stays.

use super::changes::Id;
use super::pending;
use crate::current;
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ffi::CStr;

/// The columns that a visit changes. A cache computes the expiry from its copy, and reads the
/// session again once the copy has expired. So a change of these columns alone invalidates no copy,
/// unless the session now expires earlier.
const VISIT_COLUMNS: [&CStr; 4] = [c"last_seen_at", EXPIRES_AT, c"expires_hour", c"purge_after"];
const EXPIRES_AT: &CStr = c"expires_at";

/// PostgreSQL looks for this symbol to learn the calling convention of the function.
#[doc(hidden)]
#[allow(unreachable_pub, reason = "exported by its name")]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_finfo_qsessions_announce() -> *const pg_sys::Pg_finfo_record {
    static VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &raw const VERSION_1
}

/// The trigger function. It does without `#[pg_trigger]`, which would copy each row and its
/// descriptor: that costs more than the rest.
#[doc(hidden)]
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn qsessions_announce(
    fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: PostgreSQL passes a complete call. Its context is a TriggerData if a trigger calls.
    unsafe {
        let context = (*fcinfo).context;
        if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
                "qsessions._announce() must be called as a trigger"
            );
        }
        add_changes(&*context.cast::<pg_sys::TriggerData>());
    }
    pg_sys::Datum::null()
}

/// # Safety
///
/// The tuples are those that PostgreSQL passes to a trigger of this event.
unsafe fn add_changes(trigger: &pg_sys::TriggerData) {
    let event = trigger.tg_event;
    if event & pg_sys::TRIGGER_EVENT_ROW == 0 {
        // After TRUNCATE, the ids of the rows are not known.
        pending::add_all();
        current::all_ended();
        return;
    }
    // SAFETY: see the function's contract.
    unsafe {
        let descriptor = (*trigger.tg_relation).rd_att;
        let old = Row::read(trigger.tg_trigtuple, descriptor);
        match event & pg_sys::TRIGGER_EVENT_OPMASK {
            pg_sys::TRIGGER_EVENT_DELETE => {
                if !old.has_expired() {
                    pending::add(old.id());
                }
                current::ended(old.id());
            }
            pg_sys::TRIGGER_EVENT_UPDATE => {
                let new = Row::read(trigger.tg_newtuple, descriptor);
                if new.invalidates(&old) {
                    pending::add(old.id());
                    if new.id() != old.id() {
                        pending::add(new.id());
                    }
                }
            }
            // A new row is in no cache.
            _ => {}
        }
    }
}

/// The values of a row. They point into the tuple.
struct Row<'a> {
    attributes: &'a [pg_sys::FormData_pg_attribute],
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

impl Row<'_> {
    /// # Safety
    ///
    /// The tuple has this descriptor, and both outlive the row.
    unsafe fn read(tuple: pg_sys::HeapTuple, descriptor: pg_sys::TupleDesc) -> Self {
        // SAFETY: see the contract; both arrays have an element for each attribute.
        unsafe {
            let attributes = attributes(&*descriptor);
            let mut values = vec![pg_sys::Datum::null(); attributes.len()];
            let mut nulls = vec![true; attributes.len()];
            pg_sys::heap_deform_tuple(tuple, descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
            Self {
                attributes,
                values,
                nulls,
            }
        }
    }

    fn id(&self) -> Id {
        let is_id = |attribute: &pg_sys::FormData_pg_attribute| {
            attribute.atttypid == pg_sys::UUIDOID && name(attribute) == c"id"
        };
        let Some(column) = self.attributes.iter().position(is_id) else {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
                "qsessions._announce() must be called for a table with a column id of type uuid"
            );
        };
        assert!(!self.nulls[column], "the id of a session is not null");
        // SAFETY: a uuid is 16 bytes, passed by reference.
        unsafe { *self.values[column].cast_mut_ptr::<Id>() }
    }

    /// Whether the session had expired when the transaction began. No cache serves a copy of such
    /// a row: a copy tells until when it is valid, and a change to an earlier time was announced.
    /// A purge would otherwise announce so many ids that it empties all caches.
    fn has_expired(&self) -> bool {
        let is_expiry = |attribute: &pg_sys::FormData_pg_attribute| {
            attribute.atttypid == pg_sys::TIMESTAMPTZOID && name(attribute) == EXPIRES_AT
        };
        let Some(column) = self.attributes.iter().position(is_expiry) else {
            return false;
        };
        // SAFETY: reads a variable of this process.
        let now = unsafe { pg_sys::GetCurrentTransactionStartTimestamp() };
        !self.nulls[column] && self.values[column].value() as i64 <= now
    }

    /// Whether caches must drop their copies of the old row. A value that is stored in another
    /// form, such as compressed, counts as another value: an extra notification does no harm.
    fn invalidates(&self, old: &Self) -> bool {
        (0..self.values.len()).any(|column| {
            let name = name(&self.attributes[column]);
            !self.is_same(old, column)
                && (!VISIT_COLUMNS.contains(&name)
                    || name == EXPIRES_AT && self.is_earlier(old, column))
        })
    }

    /// Whether a timestamp is earlier than that in the other row.
    fn is_earlier(&self, other: &Self, column: usize) -> bool {
        let is_timestamp = self.attributes[column].atttypid == pg_sys::TIMESTAMPTZOID;
        let timestamp = |row: &Self| row.values[column].value() as i64;
        // A value of another type may mean an earlier time.
        !is_timestamp
            || self.nulls[column]
            || other.nulls[column]
            || timestamp(self) < timestamp(other)
    }

    fn is_same(&self, other: &Self, column: usize) -> bool {
        if self.nulls[column] || other.nulls[column] {
            return self.nulls[column] == other.nulls[column];
        }
        let attribute = &self.attributes[column];
        let (one, two) = (self.values[column], other.values[column]);
        // SAFETY: both are values of the attribute's type, neither null.
        attribute.attbyval && one.value() == two.value()
            || !attribute.attbyval
                && unsafe { bytes(one, attribute.attlen) == bytes(two, attribute.attlen) }
    }
}

#[cfg(not(feature = "pg18"))]
fn attributes(descriptor: &pg_sys::TupleDescData) -> &[pg_sys::FormData_pg_attribute] {
    // SAFETY: a descriptor has as many attributes as it says.
    unsafe { descriptor.attrs.as_slice(descriptor.natts as usize) }
}

#[cfg(feature = "pg18")]
fn attributes(descriptor: &pg_sys::TupleDescData) -> &[pg_sys::FormData_pg_attribute] {
    let count = descriptor.natts as usize;
    // SAFETY: the attributes follow as many compact ones (`TupleDescAttr` in PostgreSQL's
    // `access/tupdesc.h`).
    unsafe {
        let first = descriptor.compact_attrs.as_ptr().add(count).cast();
        std::slice::from_raw_parts(first, count)
    }
}

fn name(attribute: &pg_sys::FormData_pg_attribute) -> &CStr {
    // SAFETY: a NameData ends with NUL.
    unsafe { CStr::from_ptr(attribute.attname.data.as_ptr()) }
}

/// The bytes of a value as it is stored. It may be compressed, or a pointer to a TOAST table.
///
/// # Safety
///
/// The value is passed by reference, and of a type of this length.
unsafe fn bytes<'a>(value: pg_sys::Datum, length: i16) -> &'a [u8] {
    const VARLENA: i16 = -1;
    // SAFETY: see the contract; a type whose length is neither fixed nor in a header is a C string.
    unsafe {
        let size = match length {
            VARLENA => pgrx::varlena::varsize_any(value.cast_mut_ptr()),
            1.. => length as usize,
            _ => CStr::from_ptr(value.cast_mut_ptr()).count_bytes(),
        };
        std::slice::from_raw_parts(value.cast_mut_ptr(), size)
    }
}
