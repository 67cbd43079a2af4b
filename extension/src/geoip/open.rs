//! The databases that this backend has open. It maps copies that an import has made, and never
//! reads the files at `qsessions.geoip_path`, so that no look-up waits.

use super::shared;
use crate::gucs;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use qsessions_geoip::{Databases, Error, Options, Problem, Progress, Store, import};
use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::ffi::{CStr, CString, OsStr};
use std::mem::replace;
use std::os::unix::ffi::OsStrExt;
use std::panic::{catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Below the data directory. Base backups and pg_rewind leave out names that begin with pgsql_tmp;
/// PostgreSQL itself looks for such files in other folders.
const FOLDER: &str = "pgsql_tmp_qsessions";

thread_local! {
    // A backend is one thread, so this is the backend's own and needs no lock.
    static OPEN: RefCell<Option<Open>> = const { RefCell::new(None) };
}

struct Open {
    /// The setting that it was opened by.
    setting: CString,
    path: PathBuf,
    databases: Databases,
    /// The generation that `databases` are of, where there is shared memory.
    generation: Option<u64>,
    /// When the index was last looked at, where there is none.
    checked_at: Instant,
    // Connections get these warnings only once.
    warned_of_corruption: bool,
    warned_of_no_room: bool,
}

/// Asks the databases. Gives none where `qsessions.geoip_path` is not set: locations are then
/// unknown, which is no error.
pub(super) fn look_up<T>(ask: impl FnOnce(&Databases) -> Result<Option<T>, Error>) -> Option<T> {
    with_open(|open| match ask(&open.databases) {
        Ok(answer) => answer,
        Err(error) => {
            // A broken record is worth one line in the log, not one for each address that meets it.
            if !replace(&mut open.warned_of_corruption, true) {
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

/// Describes the databases.
pub(super) fn describe<T>(describe: impl FnOnce(&Databases) -> T) -> Option<T> {
    with_open(|open| describe(&open.databases))
}

/// Imports files that are new, in this process, and describes the databases.
pub(super) fn reload<T>(describe: impl FnOnce(&Databases) -> T) -> Option<T> {
    let path = gucs::with_geoip_path(path_of);
    let mut problem = None;
    if !path.as_os_str().is_empty() {
        let options = Options {
            max_bytes: gucs::geoip_max_bytes(),
            force: true,
        };
        let mut interrupts = Interrupts::default();
        let imported = import(&path, &store(), options, &mut interrupts);
        // Also after a cancel: some files may have been imported by then.
        shared::bump_generation();
        if let Some(raised) = interrupts.raised {
            resume_unwind(raised);
        }
        problem = imported.err().map(|error| Problem::now(&path, &error));
    }
    with_open(|open| {
        open.refresh(problem);
        describe(&open.databases)
    })
}

fn with_open<T>(use_it: impl FnOnce(&mut Open) -> T) -> Option<T> {
    OPEN.with_borrow_mut(|slot| {
        let setting = gucs::with_geoip_path(|path| match slot {
            Some(open) if open.setting.as_c_str() == path => None,
            _ => Some(path.to_owned()),
        });
        match setting {
            None => slot.as_mut()?.keep_up(),
            Some(setting) if setting.is_empty() => *slot = None,
            Some(setting) => *slot = Some(Open::at(setting)),
        }
        slot.as_mut().map(use_it)
    })
}

impl Open {
    fn at(setting: CString) -> Self {
        let path = path_of(&setting);
        let generation = shared::generation();
        let mut open = Self {
            databases: Databases::open(&path, store()),
            setting,
            path,
            generation,
            checked_at: Instant::now(),
            warned_of_corruption: false,
            warned_of_no_room: false,
        };
        open.watch_and_warn(None);
        open
    }

    /// Opens what was imported since the last call. Look-ups by the hundred thousand call this.
    fn keep_up(&mut self) {
        if let Some(generation) = shared::generation() {
            if self.generation == Some(generation) {
                return;
            }
        } else {
            if self.checked_at.elapsed() < gucs::geoip_check_interval() {
                return;
            }
            self.checked_at = Instant::now();
            if self.databases.is_current() {
                return;
            }
        }
        self.refresh(None);
    }

    /// `problem` is one that only this process knows.
    fn refresh(&mut self, problem: Option<Problem>) {
        self.generation = shared::generation();
        self.databases.refresh();
        self.watch_and_warn(problem);
    }

    fn watch_and_warn(&mut self, problem: Option<Problem>) {
        let is_watched = shared::watch(&self.path, gucs::geoip_max_bytes());
        if !is_watched && !replace(&mut self.warned_of_no_room, true) {
            warn(
                "could not watch GeoIP databases",
                &format!("no room for \"{}\"", self.path.display()),
                "Fewer or shorter settings of qsessions.geoip_path would do; \
                 after a change of these files, call qsessions.geoip_reload().",
            );
        }
        let has_worker = shared::has_worker();
        if has_worker && problem.is_none() && !self.databases.is_imported() {
            // It is about to import them.
            return;
        }
        if let Some(problem) = problem {
            self.databases.add_problem(problem);
        }
        let then = if has_worker || !self.databases.is_imported() {
            ""
        } else {
            " Then call qsessions.geoip_reload()."
        };
        for problem in self.databases.new_problems() {
            warn(
                NOT_USED,
                &problem.message,
                &format!("{}{then}", problem.hint),
            );
        }
    }
}

/// What warnings of files begin with.
pub(super) const NOT_USED: &str = "could not use a GeoIP database";

pub(super) fn warn(what: &str, message: &str, hint: &str) {
    let code = PgSqlErrorCode::ERRCODE_WARNING;
    let message = for_client(&format!("{what}: {message}")).into_owned();
    let report = ErrorReport::new(code, message, function_name!());
    uninterrupted(|| report.set_hint(hint).report(PgLogLevel::WARNING));
}

/// A text that every client can get. PostgreSQL raises an error for a character that the encoding
/// of the client does not have, and pgrx does not guard that either. Names of files have such
/// characters.
pub(super) fn for_client(text: &str) -> Cow<'_, str> {
    // SAFETY: variables and a plain function of this process. Without a port there is no client.
    let is_utf8 = unsafe {
        pg_sys::MyProcPort.is_null()
            || pg_sys::pg_get_client_encoding() == pg_sys::pg_enc::PG_UTF8 as i32
    };
    if is_utf8 || text.is_ascii() {
        return text.into();
    }
    let escape = |character: char| -> String {
        if character.is_ascii() {
            character.to_string()
        } else {
            character.escape_unicode().to_string()
        }
    };
    text.chars().map(escape).collect::<String>().into()
}

/// PostgreSQL looks for a cancelled statement when it has reported something, and pgrx does not
/// guard that: the statement would then be left by a jump, past the release of locks and borrows
/// here. So such a request waits until the report is made.
pub(super) fn uninterrupted(report: impl FnOnce()) {
    // SAFETY: a counter of this process, which only its one thread changes; nothing in between
    // leaves but by returning.
    unsafe { pg_sys::InterruptHoldoffCount += 1 };
    report();
    // SAFETY: as above.
    unsafe { pg_sys::InterruptHoldoffCount -= 1 };
}

pub(super) fn path_of(setting: &CStr) -> PathBuf {
    Path::new(OsStr::from_bytes(setting.to_bytes())).to_owned()
}

pub(super) fn store() -> Store {
    // SAFETY: set before any backend begins, and never changed. Where PostgreSQL does not flush,
    // neither does the store.
    let (data, durable) = unsafe { (CStr::from_ptr(pg_sys::DataDir), pg_sys::enableFsync) };
    Store::new(path_of(data).join(FOLDER), durable)
}

/// Stops an import when its statement is cancelled or its connection ended.
#[derive(Default)]
struct Interrupts {
    /// The error to go on with once the import has cleared away what is half done.
    raised: Option<Box<dyn Any + Send>>,
}

impl Progress for Interrupts {
    fn should_stop(&mut self) -> bool {
        self.raised = catch_unwind(|| {
            check_for_interrupts!();
        })
        .err();
        self.raised.is_some()
    }

    fn note(&mut self, line: &str) {
        uninterrupted(|| log!("{}", for_client(line)));
    }
}
