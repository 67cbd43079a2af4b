//! Events of sessions: whether they are recorded in this database, and why a session is deleted.
//!
//! A trigger on the session table records deletions, whatever makes them, and cannot see the
//! reason. So the functions that delete sessions leave it here, in the memory of the backend.

use pgrx::pg_sys;
use pgrx::prelude::*;
use std::cell::RefCell;
use std::ffi::CStr;

const SCHEMA: &CStr = c"qsessions";
const TABLE: &CStr = c"session_event";

/// What a function is about to do with sessions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reason {
    /// A login begins a session, and records that itself.
    Login,
    Logout,
    Expired,
    RevokedByUser,
    RevokedByAdministrator,
    /// The user has more sessions than `max_sessions` of a login.
    RevokedByLimit,
}

const REASONS: [(&str, Reason); 6] = [
    ("login", Reason::Login),
    ("logout", Reason::Logout),
    ("expired", Reason::Expired),
    ("user", Reason::RevokedByUser),
    ("administrator", Reason::RevokedByAdministrator),
    ("limit", Reason::RevokedByLimit),
];

/// A reason, and the level of the nested transaction that has given it.
#[derive(Clone, Copy, Debug)]
struct Given {
    reason: Reason,
    level: i32,
}

thread_local! {
    // A backend is one thread. A function may be called by a trigger that another one has fired, so
    // there can be several reasons. The last one counts.
    static REASONS_GIVEN: RefCell<Vec<Given>> = const { RefCell::new(Vec::new()) };
}

/// Registers callbacks for the ends of transactions: an error keeps a function from taking its
/// reason back.
pub(crate) fn init() {
    // SAFETY: the callbacks live as long as the process, and are guarded against panics.
    unsafe {
        pg_sys::RegisterXactCallback(Some(transaction_ends), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(savepoint_ends), std::ptr::null_mut());
    }
}

/// Whether there is a table of events. Functions ask at each login, so this reads the catalogue
/// caches only.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_has_events",
    stable,
    parallel_safe
)]
fn has_events() -> bool {
    // SAFETY: reads the catalogue caches; the names end with NUL.
    unsafe {
        let schema = pg_sys::get_namespace_oid(SCHEMA.as_ptr(), true);
        let table = pg_sys::get_relname_relid(TABLE.as_ptr(), schema);
        table != pg_sys::InvalidOid
            && pg_sys::get_rel_relkind(table) as u8 == pg_sys::RELKIND_PARTITIONED_TABLE
    }
}

/// Says why the statements that follow delete sessions, until [`end_reason`]. The results of the
/// two are always true and false: PL/pgSQL calls a function fastest in an assignment.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_begin_event_reason",
    volatile,
    parallel_unsafe,
    strict
)]
fn begin_reason(reason: &str) -> bool {
    let Some((_, reason)) = REASONS.iter().find(|(name, _)| *name == reason) else {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "argument \"reason\" is not the reason of an event"
        );
    };
    // SAFETY: reads a variable of this process.
    let level = unsafe { pg_sys::GetCurrentTransactionNestLevel() };
    REASONS_GIVEN.with_borrow_mut(|given| {
        given.push(Given {
            reason: *reason,
            level,
        });
    });
    true
}

/// Takes back what [`begin_reason`] has said.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_end_event_reason",
    volatile,
    parallel_unsafe
)]
fn end_reason() -> bool {
    REASONS_GIVEN.with_borrow_mut(Vec::pop);
    false
}

/// The reason of the function that is running, or null.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_event_reason",
    volatile,
    parallel_unsafe
)]
fn reason() -> Option<&'static str> {
    let given = REASONS_GIVEN.with_borrow(|given| given.last().copied())?;
    let named = REASONS.iter().find(|(_, reason)| *reason == given.reason);
    named.map(|(name, _)| *name)
}

/// Whether a function that begins a session of a user has to record a login: there are events, and
/// no login is running that records itself.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_records_logins",
    volatile,
    parallel_unsafe
)]
pub(crate) fn records_logins() -> bool {
    let given = REASONS_GIVEN.with_borrow(|given| given.last().copied());
    given.is_none_or(|given| given.reason != Reason::Login) && has_events()
}

#[pg_guard]
unsafe extern "C-unwind" fn transaction_ends(
    event: pg_sys::XactEvent::Type,
    _argument: *mut std::ffi::c_void,
) {
    use pg_sys::XactEvent::{XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PREPARE};
    if matches!(
        event,
        XACT_EVENT_ABORT | XACT_EVENT_COMMIT | XACT_EVENT_PREPARE
    ) {
        REASONS_GIVEN.with_borrow_mut(Vec::clear);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn savepoint_ends(
    event: pg_sys::SubXactEvent::Type,
    _this: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _argument: *mut std::ffi::c_void,
) {
    if event != pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB {
        return;
    }
    REASONS_GIVEN.with_borrow_mut(|given| {
        // SAFETY: reads a variable of this process, which still counts the transaction that ends.
        let level = unsafe { pg_sys::GetCurrentTransactionNestLevel() };
        given.retain(|one| one.level < level);
    });
}
