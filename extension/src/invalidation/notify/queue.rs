//! The server's NOTIFY queue: how full it is, and its lock.

use crate::gucs;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::{direct_function_call, pg_sys};
use std::ffi::CStr;
use std::sync::OnceLock;

/// Pages of the queue before PostgreSQL 17, which added a parameter for their number.
const PAGES: f64 = 1_048_576.0;

/// Whether more of the queue is in use than `qsessions.notify_queue_limit` at this moment.
pub(in crate::invalidation) fn is_full() -> bool {
    usage() > gucs::notify_queue_limit()
}

/// A report that the queue is too full for something.
pub(in crate::invalidation) fn full_report(purpose: &str) -> ErrorReport {
    ErrorReport::new(
        PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
        format!("the NOTIFY queue is too full {purpose}"),
        function_name!(),
    )
    .set_hint(
        "A connection that has executed LISTEN stays in a transaction. End that transaction (see pg_stat_activity), \
         and set idle_in_transaction_session_timeout.",
    )
}

/// The share of the queue that is in use.
pub(super) fn usage() -> f64 {
    // SAFETY: takes nothing, returns a float8.
    let usage = unsafe { direct_function_call::<f64>(pg_sys::pg_notification_queue_usage, &[]) };
    usage.expect("pg_notification_queue_usage never returns null")
}

/// The number of free pages.
pub(super) fn room(usage: f64) -> usize {
    // The parameter cannot change while the server runs.
    static TOTAL: OnceLock<f64> = OnceLock::new();
    let total = TOTAL.get_or_init(|| {
        // SAFETY: a C string, or null if this PostgreSQL does not have the parameter.
        let pages = unsafe {
            let text = pg_sys::GetConfigOption(c"max_notify_queue_pages".as_ptr(), true, false);
            (!text.is_null()).then(|| CStr::from_ptr(text))
        };
        let pages = pages.and_then(|text| text.to_str().ok()?.parse().ok());
        pages.unwrap_or(PAGES)
    });
    ((1.0 - usage) * total) as usize
}

const LOCK: pg_sys::LOCKMODE = pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE;

/// Takes the lock that PostgreSQL's `PreCommit_Notify` takes: database 0, which does not exist. To
/// take it twice costs nothing.
pub(super) fn lock() {
    // SAFETY: a lock like any other; the end of the transaction releases it.
    unsafe {
        pg_sys::LockSharedObject(pg_sys::DatabaseRelationId, pg_sys::InvalidOid, 0, LOCK);
    }
}

/// Takes the lock if it is free.
pub(super) fn lock_if_free() -> bool {
    // What ConditionalLockSharedObject does, which came with PostgreSQL 17.
    let tag = pg_sys::LOCKTAG {
        locktag_field1: pg_sys::InvalidOid.to_u32(),
        locktag_field2: pg_sys::DatabaseRelationId.to_u32(),
        locktag_field3: pg_sys::InvalidOid.to_u32(),
        locktag_field4: 0,
        locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
        locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
    };
    // SAFETY: as above.
    unsafe {
        let answer = pg_sys::LockAcquire(&raw const tag, LOCK, false, true);
        let is_taken = answer != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL;
        if is_taken {
            pg_sys::AcceptInvalidationMessages();
        }
        is_taken
    }
}
