//! The way into another database of the cluster.
//!
//! pg_cron lives in one database and keeps the jobs of all. A backend can't leave its database, so a background worker goes
//! there for it: as the same role, with that role's rights, and without a password. It does nothing there but what
//! [`pg_cron`](crate::pg_cron) says. It commits on its own; a rollback of the caller doesn't undo it.

use crate::pg_cron::{self, Job, Task};
use crate::workers;
use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder};
use pgrx::pg_sys::panic::{CaughtError, ErrorReport};
use pgrx::prelude::*;
use pgrx::{PgTryBuilder, pg_sys};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, Ordering};

const SCHEDULE_BYTES: usize = 1024;
const NAME_BYTES: usize = pg_sys::NAMEDATALEN as usize;
const MESSAGE_BYTES: usize = 1024;

// What `state` says; zero, as the segment begins, is no answer yet.
const SUCCEEDED: u32 = 1;
const FAILED: u32 = 2;

/// A text in shared memory, cut where it is too long.
#[repr(C)]
struct Text<const BYTES: usize> {
    length: usize,
    bytes: [u8; BYTES],
}

impl<const BYTES: usize> Text<BYTES> {
    fn set(&mut self, text: &str) {
        self.length = text.floor_char_boundary(BYTES);
        self.bytes[..self.length].copy_from_slice(&text.as_bytes()[..self.length]);
    }

    fn get(&self) -> String {
        String::from_utf8_lossy(&self.bytes[..self.length]).into_owned()
    }
}

/// What lies in the shared segment: the order, then the answer.
#[repr(C)]
struct Order {
    role: pg_sys::Oid,
    home: pg_sys::Oid,
    database: pg_sys::Oid,
    database_name: Text<NAME_BYTES>,
    has_job: bool,
    schedule: Text<SCHEDULE_BYTES>,
    batch_size: i32,
    username: Text<NAME_BYTES>,
    state: AtomicU32,
    result: i64,
    sqlstate: i32,
    message: Text<MESSAGE_BYTES>,
    detail: Text<MESSAGE_BYTES>,
    hint: Text<MESSAGE_BYTES>,
}

/// Why a task could not be carried out.
struct Failure {
    sqlstate: PgSqlErrorCode,
    message: String,
    detail: String,
    hint: String,
}

impl Order {
    fn give(&mut self, task: &Task) {
        self.database = task.database;
        self.database_name.set(&task.database_name);
        if let Some(job) = &task.job {
            self.has_job = true;
            self.schedule.set(&job.schedule);
            self.batch_size = job.batch_size;
            self.username.set(&job.username);
        }
    }

    fn task(&self) -> Task {
        Task {
            database: self.database,
            database_name: self.database_name.get(),
            job: self.has_job.then(|| Job {
                schedule: self.schedule.get(),
                batch_size: self.batch_size,
                username: self.username.get(),
            }),
        }
    }

    fn fail(&mut self, error: &CaughtError) {
        let (CaughtError::PostgresError(report)
        | CaughtError::ErrorReport(report)
        | CaughtError::RustPanic {
            ereport: report, ..
        }) = error;
        self.sqlstate = report.sql_error_code() as i32;
        self.message.set(report.message());
        self.detail.set(report.detail().unwrap_or_default());
        self.hint.set(report.hint().unwrap_or_default());
        self.state.store(FAILED, Ordering::Release);
    }

    fn answer(&self) -> Result<i64, Failure> {
        match self.state.load(Ordering::Acquire) {
            SUCCEEDED => Ok(self.result),
            FAILED => Err(Failure {
                sqlstate: self.sqlstate.into(),
                message: self.message.get(),
                detail: self.detail.get(),
                hint: self.hint.get(),
            }),
            _ => Err(Failure {
                sqlstate: PgSqlErrorCode::ERRCODE_CONNECTION_EXCEPTION,
                message: "the worker ended without an answer".to_owned(),
                detail: String::new(),
                hint:
                    "The current role needs CONNECT on that database; the server's log says more."
                        .to_owned(),
            }),
        }
    }
}

/// Carries out a task in another database, and returns what came of it.
pub(crate) fn run_in_database(home: pg_sys::Oid, task: &Task) -> i64 {
    let schedule = task.job.as_ref().map(|job| job.schedule.len());
    if schedule.is_some_and(|bytes| bytes > SCHEDULE_BYTES) {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!("schedule: has more than {SCHEDULE_BYTES} bytes")
        );
    }
    // SAFETY: asks for the state of the server.
    if unsafe { pg_sys::RecoveryInProgress() } {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
            "cannot change the jobs of pg_cron during recovery"
        );
    }
    // SAFETY: a segment of the size of what is put into it, zeroed, which is a valid Order; it stays mapped until
    // dsm_detach below, or until the end of the transaction where an ERROR comes first.
    let (segment, order) = unsafe {
        let segment = pg_sys::dsm_create(size_of::<Order>(), 0);
        let order = pg_sys::dsm_segment_address(segment).cast::<Order>();
        order.write_bytes(0, 1);
        (*order).home = home;
        (*order).role = pg_sys::GetUserId();
        (*order).give(task);
        (segment, order)
    };
    // SAFETY: the segment is ours.
    let handle = unsafe { pg_sys::dsm_segment_handle(segment) };
    let worker = BackgroundWorkerBuilder::new("qsessions worker")
        .set_type("qsessions worker")
        .set_library("qsessions")
        .set_function("qsessions_worker_main")
        .set_argument(Some(pg_sys::Datum::from(handle)))
        // SAFETY: a variable that PostgreSQL sets once, at the start of this backend.
        .set_notify_pid(unsafe { pg_sys::MyProcPid })
        .enable_spi_access()
        .load_dynamic();
    let Ok(worker) = worker else {
        ErrorReport::new(
            PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
            "could not start a background worker",
            function_name!(),
        )
        .set_hint("Raise max_worker_processes.")
        .report(PgLogLevel::ERROR);
        unreachable!()
    };
    // However it ends, what counts is the answer it has left.
    let _ = worker.wait_for_shutdown();

    // SAFETY: the worker has ended, so nobody else writes to the segment, which is not used after dsm_detach.
    let answer = unsafe {
        let answer = (*order).answer();
        pg_sys::dsm_detach(segment);
        answer
    };
    answer.unwrap_or_else(|failure| {
        report(home, failure);
        unreachable!()
    })
}

fn report(home: pg_sys::Oid, failure: Failure) {
    let message = match failure.sqlstate {
        // It names the database itself.
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE => failure.message,
        _ => format!(
            "database \"{}\": {}",
            pg_cron::database_name(home),
            failure.message
        ),
    };
    let mut report = ErrorReport::new(failure.sqlstate, message, function_name!());
    if !failure.detail.is_empty() {
        report = report.set_detail(failure.detail);
    }
    if !failure.hint.is_empty() {
        report = report.set_hint(failure.hint);
    }
    report.report(PgLogLevel::ERROR);
}

/// The worker's main function; PostgreSQL finds it by name.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn qsessions_worker_main(handle: pg_sys::Datum) {
    workers::prepare();
    // SAFETY: the caller keeps the segment until this worker has ended, and looks at it only then. dsm_attach wants a resource owner to
    // belong to, which there is none of before the first transaction.
    let order = unsafe {
        pg_sys::CurrentResourceOwner =
            pg_sys::ResourceOwnerCreate(std::ptr::null_mut(), c"qsessions worker".as_ptr());
        let segment = pg_sys::dsm_attach(handle.value() as pg_sys::dsm_handle);
        if segment.is_null() {
            return;
        }
        pg_sys::dsm_pin_mapping(segment);
        pg_sys::dsm_segment_address(segment).cast::<Order>()
    };
    // SAFETY: see above; this is the only thread that has the pointer.
    let (home, role, task) = unsafe {
        let order = &*order;
        (order.home, order.role, order.task())
    };
    BackgroundWorker::connect_worker_to_spi_by_oid(Some(home), Some(role));

    let result = BackgroundWorker::transaction(AssertUnwindSafe(|| {
        PgTryBuilder::new(|| run(&task))
            .catch_others(|caught| {
                // The error ends this worker, as it should: there is nothing to go on with. The caller gets told first.
                // SAFETY: as above.
                unsafe { (*order).fail(&caught) };
                caught.rethrow()
            })
            .execute()
    }));
    // SAFETY: as above.
    unsafe {
        (*order).result = result;
        (*order).state.store(SUCCEEDED, Ordering::Release);
    }
}

fn run(task: &Task) -> i64 {
    // The owner of that database may have set another path for it.
    if let Err(failed) = Spi::run("SET LOCAL search_path = pg_catalog, pg_temp") {
        error!("{failed}");
    }
    pg_cron::run(task)
}
