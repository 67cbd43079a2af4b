//! The databases that this backend has open.

use crate::gucs;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use qsessions_geoip::{Directory, Error, Monitor, Options, Problem, Store};
use std::cell::RefCell;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Below the data directory. Base backups and pg_rewind leave out what begins with pgsql_tmp; all else that
/// PostgreSQL looks for is elsewhere.
const FOLDER: &str = "pgsql_tmp_qsessions";

/// How long a statement that copies and checks a file can't be cancelled. That takes a second or two, once for each change. If it
/// could be, applications with a short statement_timeout would begin again and again and never have the file.
const UNCANCELLED: Duration = Duration::from_secs(20);

thread_local! {
    // A backend is one thread, so this is the backend's own and needs no lock.
    static OPEN: RefCell<Option<Open>> = const { RefCell::new(None) };
}

struct Open {
    /// The setting that it was opened by.
    path: CString,
    directory: Directory,
    checked_at: Instant,
    /// A broken record is worth one line in the log, not one for each address that meets it.
    warned: bool,
}

/// Asks the databases. Nothing where `qsessions.geoip_path` is not set: places are then unknown, which is no error.
pub(super) fn look_up<T>(ask: impl FnOnce(&Directory) -> Result<Option<T>, Error>) -> Option<T> {
    with_open(false, |open| match ask(&open.directory) {
        Ok(answer) => answer,
        Err(error) => {
            if !open.warned {
                open.warned = true;
                warn(
                    "could not look up an address",
                    &error.to_string(),
                    error.hint(),
                );
            }
            None
        }
    })
    .flatten()
}

/// Describes the databases, after taking changes of files at once if `reload`.
pub(super) fn describe<T>(reload: bool, describe: impl FnOnce(&Directory) -> T) -> Option<T> {
    with_open(reload, |open| describe(&open.directory))
}

fn with_open<T>(reload: bool, use_it: impl FnOnce(&mut Open) -> T) -> Option<T> {
    OPEN.with_borrow_mut(|slot| {
        let path = gucs::with_geoip_path(|path| match slot {
            Some(open) if open.path.as_c_str() == path => None,
            _ => Some(path.to_owned()),
        });
        match (path, slot.as_mut()) {
            (None, Some(open)) => open.keep_up(reload),
            (Some(path), _) if path.is_empty() => *slot = None,
            (Some(path), _) => {
                let open = slot.insert(Open::at(path));
                if reload {
                    open.keep_up(reload);
                }
            }
            (None, None) => {}
        }
        slot.as_mut().map(use_it)
    })
}

impl Open {
    fn at(path: CString) -> Self {
        let folder = PathBuf::from(OsStr::from_bytes(path.as_bytes()));
        let options = Options {
            store: store(),
            max_bytes: gucs::geoip_max_bytes(),
        };
        let mut open = Self {
            path,
            directory: Directory::open(&folder, options, &mut Interrupts::new()),
            checked_at: Instant::now(),
            warned: false,
        };
        open.warn_of_problems();
        open
    }

    fn keep_up(&mut self, reload: bool) {
        if !reload && self.checked_at.elapsed() < gucs::geoip_check_interval() {
            return;
        }
        self.checked_at = Instant::now();
        self.directory.options_mut().max_bytes = gucs::geoip_max_bytes();
        if reload {
            self.directory.reload(&mut Interrupts::new());
        } else {
            self.directory.refresh(&mut Interrupts::new());
        }
        self.warn_of_problems();
    }

    fn warn_of_problems(&mut self) {
        for Problem { message, hint, .. } in self.directory.new_problems() {
            warn("could not use a GeoIP database", &message, &hint);
        }
    }
}

fn warn(what: &str, message: &str, hint: &str) {
    let code = PgSqlErrorCode::ERRCODE_WARNING;
    let report = ErrorReport::new(code, format!("{what}: {message}"), function_name!());
    uninterrupted(|| report.set_hint(hint).report(PgLogLevel::WARNING));
}

/// PostgreSQL looks for a cancelled statement when it has reported something, and pgrx doesn't guard that: the statement would
/// then be left by a jump, past the release of locks and borrows here. So such a request waits until the report is made.
fn uninterrupted(report: impl FnOnce()) {
    // SAFETY: a counter of this process, which only its one thread changes; nothing in between leaves but by returning.
    unsafe { pg_sys::InterruptHoldoffCount += 1 };
    report();
    // SAFETY: as above.
    unsafe { pg_sys::InterruptHoldoffCount -= 1 };
}

fn store() -> Store {
    // SAFETY: set before any backend begins, and never changed; where PostgreSQL doesn't flush, nobody expects it.
    let (data, durable) = unsafe { (CStr::from_ptr(pg_sys::DataDir), pg_sys::enableFsync) };
    let data = PathBuf::from(OsStr::from_bytes(data.to_bytes()));
    Store::new(data.join(FOLDER), durable)
}

/// Lets a backend be ended while it copies, but its statement be cancelled only after a while.
struct Interrupts {
    began: Instant,
    holds_cancel: bool,
}

impl Interrupts {
    fn new() -> Self {
        let mut interrupts = Self {
            began: Instant::now(),
            holds_cancel: false,
        };
        interrupts.hold_cancel();
        interrupts
    }

    /// As PostgreSQL does while it reads a message: requests to cancel are kept for later.
    fn hold_cancel(&mut self) {
        if !self.holds_cancel {
            self.holds_cancel = true;
            // SAFETY: a counter of this process, which only its one thread changes.
            unsafe { pg_sys::QueryCancelHoldoffCount += 1 };
        }
    }

    fn allow_cancel(&mut self) {
        if self.holds_cancel {
            self.holds_cancel = false;
            // SAFETY: as above. An error sets it back to zero on its way.
            unsafe {
                pg_sys::QueryCancelHoldoffCount = pg_sys::QueryCancelHoldoffCount.saturating_sub(1);
            }
        }
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.allow_cancel();
    }
}

impl Monitor for Interrupts {
    fn tick(&mut self) {
        if self.began.elapsed() > UNCANCELLED {
            self.allow_cancel();
        }
        check_for_interrupts!();
    }

    fn wait(&mut self) {
        self.allow_cancel();
        check_for_interrupts!();
        self.hold_cancel();
    }

    fn note(&mut self, line: &str) {
        uninterrupted(|| log!("{line}"));
    }
}
