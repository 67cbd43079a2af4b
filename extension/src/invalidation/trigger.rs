//! The trigger: which rows changed in a way that a cache must know of.

use super::payload::Id;
use super::pending;
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ffi::CStr;

/// Columns that change with every visit. A cache reckons expiry by what it holds and reads again
/// when its copy says dead, so these alone are not worth an announcement; unless a session is to
/// end earlier than its copies say.
const QUIET: [&CStr; 3] = [c"last_seen_at", EXPIRES_AT, c"expires_hour"];
const EXPIRES_AT: &CStr = c"expires_at";

/// PostgreSQL looks for this to learn how the function is called.
#[doc(hidden)]
#[allow(unreachable_pub, reason = "exported by its name")]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_finfo_qsessions_announce() -> *const pg_sys::Pg_finfo_record {
    static VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &raw const VERSION_1
}

/// The trigger function, by hand rather than by `#[pg_trigger]`: that would copy each row and its
/// description, which costs more than the rest.
#[doc(hidden)]
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn qsessions_announce(
    fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: PostgreSQL passes a whole call; its context is a TriggerData where a trigger is what
    // calls.
    unsafe {
        let context = (*fcinfo).context;
        if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
                "qsessions._announce() must be called as a trigger"
            );
        }
        note(&*context.cast::<pg_sys::TriggerData>());
    }
    pg_sys::Datum::null()
}

/// # Safety
///
/// The tuples are those that PostgreSQL hands to the trigger of this event.
unsafe fn note(trigger: &pg_sys::TriggerData) {
    let event = trigger.tg_event;
    if event & pg_sys::TRIGGER_EVENT_ROW == 0 {
        // TRUNCATE: nobody says which rows there were.
        pending::add_all();
        return;
    }
    // SAFETY: see the function's contract.
    unsafe {
        let description = (*trigger.tg_relation).rd_att;
        let old = Row::read(trigger.tg_trigtuple, description);
        match event & pg_sys::TRIGGER_EVENT_OPMASK {
            pg_sys::TRIGGER_EVENT_DELETE => pending::add(old.id()),
            pg_sys::TRIGGER_EVENT_UPDATE => {
                let new = Row::read(trigger.tg_newtuple, description);
                if new.is_news_after(&old) {
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

/// A row taken apart; the values point into the tuple.
struct Row<'a> {
    attributes: &'a [pg_sys::FormData_pg_attribute],
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

impl Row<'_> {
    /// # Safety
    ///
    /// The tuple is of this description, and both outlive the row.
    unsafe fn read(tuple: pg_sys::HeapTuple, description: pg_sys::TupleDesc) -> Self {
        // SAFETY: see the contract; both arrays have a place for each attribute.
        unsafe {
            let attributes = attributes(&*description);
            let mut values = vec![pg_sys::Datum::null(); attributes.len()];
            let mut nulls = vec![true; attributes.len()];
            pg_sys::heap_deform_tuple(tuple, description, values.as_mut_ptr(), nulls.as_mut_ptr());
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
            error!("qsessions._announce() is for a table with a column id of type uuid")
        };
        assert!(!self.nulls[column], "the id of a session is not null");
        // SAFETY: a uuid is 16 bytes, passed by reference.
        unsafe { *self.values[column].cast_mut_ptr::<Id>() }
    }

    /// Whether caches that hold the old row must drop it. A value that is stored in another form
    /// (compressed anew, say) counts as another: one announcement too many does no harm.
    fn is_news_after(&self, old: &Self) -> bool {
        (0..self.values.len()).any(|column| {
            let name = name(&self.attributes[column]);
            !self.same(old, column)
                && (!QUIET.contains(&name) || name == EXPIRES_AT && self.is_less(old, column))
        })
    }

    /// Whether an instant is an earlier one than in the other row.
    fn is_less(&self, other: &Self, column: usize) -> bool {
        let is_instant = self.attributes[column].atttypid == pg_sys::TIMESTAMPTZOID;
        let instant = |row: &Self| row.values[column].value() as i64;
        // Of what is no instant nobody knows what it means.
        !is_instant || self.nulls[column] || other.nulls[column] || instant(self) < instant(other)
    }

    fn same(&self, other: &Self, column: usize) -> bool {
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
fn attributes(description: &pg_sys::TupleDescData) -> &[pg_sys::FormData_pg_attribute] {
    // SAFETY: a description has as many as it says.
    unsafe { description.attrs.as_slice(description.natts as usize) }
}

#[cfg(feature = "pg18")]
fn attributes(description: &pg_sys::TupleDescData) -> &[pg_sys::FormData_pg_attribute] {
    let count = description.natts as usize;
    // SAFETY: the attributes lie behind as many compact ones (`TupleDescAttr` in PostgreSQL's
    // `access/tupdesc.h`).
    unsafe {
        let first = description.compact_attrs.as_ptr().add(count).cast();
        std::slice::from_raw_parts(first, count)
    }
}

fn name(attribute: &pg_sys::FormData_pg_attribute) -> &CStr {
    // SAFETY: a NameData ends with NUL.
    unsafe { CStr::from_ptr(attribute.attname.data.as_ptr()) }
}

/// The bytes of a value as it is stored, compressed or elsewhere as it may be.
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
