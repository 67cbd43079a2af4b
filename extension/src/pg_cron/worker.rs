//! Jobs of pg_cron in another database.
//!
//! A backend cannot leave its database, so a background worker changes the jobs: with the role and
//! the rights of the caller, and without a password. It runs no statement but those of
//! [`jobs`]. It commits on its own, so a rollback of the caller does not undo the change.

use super::jobs::{self, Job, Task};
use crate::workers;
use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder};
use pgrx::pg_sys::panic::{CaughtError, ErrorReport};
use pgrx::prelude::*;
use pgrx::{PgTryBuilder, pg_sys};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, Ordering};

const SCHEDULE_BYTES: usize = 1024;
const TEXT_BYTES: usize = 4096;

// Values of `state`. The segment begins with zeros: no answer yet.
const SUCCEEDED: u32 = 1;
const FAILED: u32 = 2;

/// The shared segment: the task, and then the answer in its place.
#[repr(C)]
struct Shared {
    home: pg_sys::Oid,
    role: pg_sys::Oid,
    database: pg_sys::Oid,
    has_job: bool,
    batch_size: i32,
    state: AtomicU32,
    /// The result, or the SQLSTATE of the error.
    result: i64,
    /// Three texts: name of the database, schedule and user name; or message, detail and hint.
    length: usize,
    texts: [u8; TEXT_BYTES],
}

impl Shared {
    fn set_texts(&mut self, texts: [&str; 3]) {
        // No text from PostgreSQL has a NUL.
        let joined = texts.join("\0");
        self.length = joined.floor_char_boundary(TEXT_BYTES);
        self.texts[..self.length].copy_from_slice(&joined.as_bytes()[..self.length]);
    }

    fn texts(&self) -> [String; 3] {
        let joined = String::from_utf8_lossy(&self.texts[..self.length]);
        let mut texts = joined.splitn(3, '\0').map(str::to_owned);
        std::array::from_fn(|_| texts.next().unwrap_or_default())
    }

    fn set_task(&mut self, task: &Task) {
        self.database = task.database;
        self.has_job = task.job.is_some();
        let (schedule, username) = match &task.job {
            Some(job) => (job.schedule.as_str(), job.username.as_str()),
            None => ("", ""),
        };
        self.batch_size = task.job.as_ref().map_or(0, |job| job.batch_size);
        self.set_texts([&task.database_name, schedule, username]);
    }

    fn task(&self) -> Task {
        let [database_name, schedule, username] = self.texts();
        Task {
            database: self.database,
            database_name,
            job: self.has_job.then_some(Job {
                schedule,
                batch_size: self.batch_size,
                username,
            }),
        }
    }

    fn fail(&mut self, error: &CaughtError) {
        let (CaughtError::PostgresError(report)
        | CaughtError::ErrorReport(report)
        | CaughtError::RustPanic {
            ereport: report, ..
        }) = error;
        self.result = (report.sql_error_code() as i32).into();
        let (detail, hint) = (report.detail(), report.hint());
        self.set_texts([
            report.message(),
            detail.unwrap_or_default(),
            hint.unwrap_or_default(),
        ]);
        self.state.store(FAILED, Ordering::Release);
    }
}

/// Carries out a task in another database, and returns its result.
pub(super) fn run_in_database(home: pg_sys::Oid, task: &Task) -> i64 {
    let schedule = task.job.as_ref().map(|job| job.schedule.len());
    if schedule.is_some_and(|bytes| bytes > SCHEDULE_BYTES) {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!("argument \"schedule\" must not be longer than {SCHEDULE_BYTES} bytes")
        );
    }
    // SAFETY: raises an error on a standby, where pg_cron runs no jobs.
    unsafe { pg_sys::PreventCommandDuringRecovery(c"a change of jobs of pg_cron".as_ptr()) };
    // SAFETY: the segment has the size of a Shared, and zeros are a valid Shared. It stays mapped
    // until dsm_detach, or until the end of the transaction if an error is raised before.
    let (segment, shared) = unsafe {
        let segment = pg_sys::dsm_create(size_of::<Shared>(), 0);
        let shared = pg_sys::dsm_segment_address(segment).cast::<Shared>();
        shared.write_bytes(0, 1);
        (*shared).home = home;
        (*shared).role = pg_sys::GetUserId();
        (*shared).set_task(task);
        (segment, shared)
    };
    // SAFETY: the segment is mapped, and MyProcPid is set when the backend starts.
    let (handle, pid) = unsafe { (pg_sys::dsm_segment_handle(segment), pg_sys::MyProcPid) };
    let worker = BackgroundWorkerBuilder::new("qsessions pg_cron")
        .set_type("qsessions pg_cron")
        .set_library("qsessions")
        .set_function("qsessions_worker_main")
        .set_argument(Some(pg_sys::Datum::from(handle)))
        .set_notify_pid(pid)
        .enable_spi_access()
        .load_dynamic();
    let Ok(worker) = worker else {
        fail(
            PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
            "could not start a background worker",
            "",
            "Raise max_worker_processes.",
        )
    };
    // The worker leaves its answer in the segment, however it ends.
    let _ = worker.wait_for_shutdown();

    // SAFETY: the worker has ended, so no other process writes to the segment, which is not used
    // after dsm_detach.
    let (state, result, texts) = unsafe {
        let state = (*shared).state.load(Ordering::Acquire);
        let answer = (state, (*shared).result, (*shared).texts());
        pg_sys::dsm_detach(segment);
        answer
    };
    let name = jobs::database_name(home);
    match state {
        SUCCEEDED => result,
        FAILED => {
            let sqlstate = PgSqlErrorCode::from(result as i32);
            let [message, detail, hint] = texts;
            let message = match sqlstate {
                // This message names the database already.
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE => message,
                _ => format!("database \"{name}\": {message}"),
            };
            fail(sqlstate, &message, &detail, &hint)
        }
        _ => fail(
            PgSqlErrorCode::ERRCODE_CONNECTION_EXCEPTION,
            &format!("database \"{name}\": the background worker has ended without an answer"),
            "",
            "The current role needs CONNECT on that database. The log of the server has the reason.",
        ),
    }
}

fn fail(sqlstate: PgSqlErrorCode, message: &str, detail: &str, hint: &str) -> ! {
    let mut report = ErrorReport::new(sqlstate, message.to_owned(), function_name!());
    if !detail.is_empty() {
        report = report.set_detail(detail.to_owned());
    }
    if !hint.is_empty() {
        report = report.set_hint(hint.to_owned());
    }
    report.report(PgLogLevel::ERROR);
    unreachable!("an error does not return")
}

/// The main function of the worker; PostgreSQL finds it by its name.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn qsessions_worker_main(handle: pg_sys::Datum) {
    workers::prepare();
    // SAFETY: the caller keeps the segment until this worker has ended, and reads it only then.
    // dsm_attach needs a resource owner, and there is none before the first transaction.
    let shared = unsafe {
        pg_sys::CurrentResourceOwner =
            pg_sys::ResourceOwnerCreate(std::ptr::null_mut(), c"qsessions pg_cron".as_ptr());
        let segment = pg_sys::dsm_attach(handle.value() as pg_sys::dsm_handle);
        if segment.is_null() {
            return;
        }
        pg_sys::dsm_pin_mapping(segment);
        pg_sys::dsm_segment_address(segment).cast::<Shared>()
    };
    // SAFETY: see above; no other reference to the segment is alive.
    let (home, role, task) = unsafe { ((*shared).home, (*shared).role, (*shared).task()) };
    BackgroundWorker::connect_worker_to_spi_by_oid(Some(home), Some(role));

    let result = BackgroundWorker::transaction(AssertUnwindSafe(|| {
        PgTryBuilder::new(|| run(&task))
            .catch_others(|caught| {
                // The error ends this worker. The caller is told before.
                // SAFETY: as above.
                unsafe { (*shared).fail(&caught) };
                caught.rethrow()
            })
            .execute()
    }));
    // SAFETY: as above.
    unsafe {
        (*shared).result = result;
        (*shared).state.store(SUCCEEDED, Ordering::Release);
    }
}

fn run(task: &Task) -> i64 {
    // The database may have another search_path.
    if let Err(failed) = Spi::run("SET LOCAL search_path = pg_catalog, pg_temp") {
        error!("{failed}");
    }
    jobs::run(task)
}
