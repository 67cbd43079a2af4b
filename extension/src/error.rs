//! Errors with SQLSTATEs of our own, which pgrx's `ereport!` doesn't know.

use pgrx::pg_sys;
use pgrx::pg_sys::elog::PgLogLevel;
use std::ffi::CString;

/// An error of the contract that Rust code raises; SQL code raises the others.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Condition {
    /// QS003: a text that can't be a key.
    InvalidKey,
    /// QS004: session data over `qsessions.max_data_bytes`.
    DataTooLarge,
}

impl Condition {
    const fn sqlstate(self) -> [u8; 5] {
        match self {
            Self::InvalidKey => *b"QS003",
            Self::DataTooLarge => *b"QS004",
        }
    }
}

/// Raises an ERROR. The message is in lower case without a full stop, the hint a sentence.
pub(crate) fn raise(condition: Condition, message: &str, hint: &str) -> ! {
    throw(condition.sqlstate(), message, hint);
    unreachable!("ThrowErrorData returns only for what is less than an ERROR")
}

fn throw(sqlstate: [u8; 5], message: &str, hint: &str) {
    let message = CString::new(message).unwrap_or_default();
    let hint = CString::new(hint).unwrap_or_default();
    let mut data = pg_sys::ErrorData {
        elevel: PgLogLevel::ERROR as i32,
        sqlerrcode: encode(sqlstate),
        // PostgreSQL copies both before it jumps.
        message: message.as_ptr().cast_mut(),
        hint: hint.as_ptr().cast_mut(),
        ..Default::default()
    };
    // SAFETY: `data` is a whole ErrorData with null for what is not given, and lives through the call.
    unsafe { pg_sys::ThrowErrorData(&raw mut data) };
}

/// Five characters, six bits each, the first lowest (`MAKE_SQLSTATE` in PostgreSQL's `elog.h`).
const fn encode(state: [u8; 5]) -> i32 {
    let mut code = 0;
    let mut at = 0;
    while at < state.len() {
        code |= (((state[at] - b'0') & 0x3f) as i32) << (6 * at);
        at += 1;
    }
    code
}
