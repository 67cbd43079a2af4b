//! Checks of the values of parameters.

use pgrx::datum::Interval;
use pgrx::prelude::*;
use pgrx::{PgTryBuilder, pg_sys};
use std::ffi::{CStr, c_char, c_void};

/// A thousand years: the present time plus or minus an interval must be a valid timestamp.
const MAX_INTERVAL_MICROS: i128 = 1000 * 366 * 24 * 3600 * 1_000_000;

/// Raises PostgreSQL's own error if the text is not an interval.
pub(super) fn parse_interval(text: &CStr) -> Interval {
    // SAFETY: interval_in takes a cstring, a type OID that it ignores, and a typmod.
    let interval = unsafe {
        pgrx::direct_function_call::<Interval>(
            pg_sys::interval_in,
            &[
                Some(pg_sys::Datum::from(text.as_ptr())),
                Some(pg_sys::Datum::from(pg_sys::InvalidOid)),
                Some(pg_sys::Datum::from(-1_i32)),
            ],
        )
    };
    interval.expect("interval_in never returns null")
}

#[pg_guard]
pub(super) unsafe extern "C-unwind" fn check_positive_interval(
    new_value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: PostgreSQL passes a pointer to the new value.
    unsafe {
        check_interval(
            *new_value,
            1,
            c"The value must be an interval longer than zero, such as '14 days', and at most 1000 years.",
        )
    }
}

#[pg_guard]
pub(super) unsafe extern "C-unwind" fn check_interval_or_zero(
    new_value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: PostgreSQL passes a pointer to the new value.
    unsafe {
        check_interval(
            *new_value,
            0,
            c"The value must be an interval of zero or longer, such as '60 s', and at most 1000 years.",
        )
    }
}

/// # Safety
///
/// `text` is null or a C string.
unsafe fn check_interval(text: *const c_char, min_micros: i128, detail: &'static CStr) -> bool {
    let valid = !text.is_null() && {
        // SAFETY: see the function's contract.
        let text = unsafe { CStr::from_ptr(text) }.to_owned();
        let allowed = min_micros..=MAX_INTERVAL_MICROS;
        PgTryBuilder::new(move || allowed.contains(&parse_interval(&text).as_micros()))
            .catch_others(|_| false)
            .execute()
    };
    if !valid {
        reject(detail);
    }
    valid
}

#[pg_guard]
pub(super) unsafe extern "C-unwind" fn check_channel(
    new_value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: PostgreSQL passes a pointer to the new value, which is null or a C string.
    let length = unsafe {
        if (*new_value).is_null() {
            0
        } else {
            CStr::from_ptr(*new_value).count_bytes()
        }
    };
    let valid = (1..pg_sys::NAMEDATALEN as usize).contains(&length);
    if !valid {
        reject(c"The value must be a name of 1 to 63 bytes.");
    }
    valid
}

fn reject(detail: &'static CStr) {
    // SAFETY: the copy is in PostgreSQL's own memory, and PostgreSQL reads it right after the hook.
    // The process has one thread.
    unsafe { pg_sys::GUC_check_errdetail_string = pg_sys::pstrdup(detail.as_ptr()) };
}
