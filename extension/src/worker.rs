//! A statement run in another database of the cluster.
//!
//! pg_cron lives in one database and keeps the jobs of all. A backend can't leave its database, so a background worker goes
//! there for it: as the same role, with that role's rights, and without a password. It
//! commits on its own; a rollback of the caller doesn't undo it.

use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder, SignalWakeFlags};
use pgrx::pg_sys::panic::{CaughtError, ErrorReport};
use pgrx::prelude::*;
use pgrx::{PgTryBuilder, pg_sys};
use std::ffi::CString;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, Ordering};

const STATEMENT_BYTES: usize = 4096;
const ERROR_BYTES: usize = 1024;

// What `state` says; zero, as the segment begins, is no answer yet.
const SUCCEEDED: u32 = 1;
const FAILED: u32 = 2;

/// What lies in the shared segment: the order, then the answer.
#[repr(C)]
struct Order {
    database: pg_sys::Oid,
    role: pg_sys::Oid,
    statement_length: usize,
    statement: [u8; STATEMENT_BYTES],
    state: AtomicU32,
    result: i64,
    sqlstate: i32,
    error_length: usize,
    error: [u8; ERROR_BYTES],
}

impl Order {
    fn answer_failure(&mut self, sqlstate: i32, message: &str) {
        let length = message.floor_char_boundary(ERROR_BYTES);
        self.error[..length].copy_from_slice(&message.as_bytes()[..length]);
        self.error_length = length;
        self.sqlstate = sqlstate;
        self.state.store(FAILED, Ordering::Release);
    }
}

/// Runs a statement that returns one bigint in another database, and returns that.
#[pg_extern(schema = "qsessions", volatile, parallel_unsafe)]
fn run_in_database(database: &str, statement: &str) -> Option<i64> {
    if statement.len() > STATEMENT_BYTES {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!("statement: has more than {STATEMENT_BYTES} bytes")
        );
    }
    let name = CString::new(database).expect("a text has no NUL");
    // SAFETY: a segment of the size of what is put into it, zeroed, which is a valid Order; it stays mapped until
    // dsm_detach below, or until the end of the transaction where an ERROR comes first.
    let (segment, order) = unsafe {
        let segment = pg_sys::dsm_create(size_of::<Order>(), 0);
        let order = pg_sys::dsm_segment_address(segment).cast::<Order>();
        order.write_bytes(0, 1);
        (*order).database = pg_sys::get_database_oid(name.as_ptr(), false);
        (*order).role = pg_sys::GetUserId();
        (*order).statement_length = statement.len();
        (&mut (*order).statement)[..statement.len()].copy_from_slice(statement.as_bytes());
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
    let ended = worker.wait_for_shutdown();

    // SAFETY: the worker has ended, so nobody else writes to the segment.
    let answer = unsafe {
        let order = &*order;
        match order.state.load(Ordering::Acquire) {
            SUCCEEDED => Ok(order.result),
            FAILED => Err(Some((
                order.sqlstate,
                String::from_utf8_lossy(&order.error[..order.error_length]).into_owned(),
            ))),
            _ => Err(None),
        }
    };
    // SAFETY: mapped by dsm_create above, not used after this.
    unsafe { pg_sys::dsm_detach(segment) };
    match answer {
        Ok(result) => Some(result),
        Err(failure) => {
            let (code, detail) = failure.map_or_else(
                || {
                    let why = if ended.is_ok() {
                        "it gave no answer"
                    } else {
                        "it was not run"
                    };
                    (PgSqlErrorCode::ERRCODE_CONNECTION_EXCEPTION, why.to_owned())
                },
                |(sqlstate, message)| (PgSqlErrorCode::from(sqlstate), message),
            );
            ErrorReport::new(
                code,
                format!("could not run a statement in database \"{database}\": {detail}"),
                function_name!(),
            )
            .set_hint("The current role needs CONNECT on that database and USAGE on its schema cron; the server's log says more.")
            .report(PgLogLevel::ERROR);
            unreachable!()
        }
    }
}

/// The worker's main function; PostgreSQL finds it by name.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn qsessions_worker_main(handle: pg_sys::Datum) {
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGTERM);
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
    let (database, role, statement) = unsafe {
        let order = &*order;
        let statement = String::from_utf8_lossy(&order.statement[..order.statement_length]);
        (order.database, order.role, statement.into_owned())
    };
    BackgroundWorker::connect_worker_to_spi_by_oid(Some(database), Some(role));

    let result = BackgroundWorker::transaction(AssertUnwindSafe(|| {
        PgTryBuilder::new(|| run(&statement))
            .catch_others(|caught| {
                // The error ends this worker, as it should: there is nothing to go on with. The caller gets told first.
                let (sqlstate, message) = describe(&caught);
                // SAFETY: as above.
                unsafe { (*order).answer_failure(sqlstate, &message) };
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

fn run(statement: &str) -> i64 {
    let result = Spi::connect_mut(|client| {
        client.update("SET LOCAL search_path = pg_catalog, pg_temp", None, &[])?;
        client
            .update(statement, Some(1), &[])?
            .first()
            .get_one::<i64>()
    });
    match result {
        Ok(value) => value.unwrap_or_default(),
        Err(failed) => error!("{failed}"),
    }
}

fn describe(caught: &CaughtError) -> (i32, String) {
    let (CaughtError::PostgresError(report)
    | CaughtError::ErrorReport(report)
    | CaughtError::RustPanic {
        ereport: report, ..
    }) = caught;
    (report.sql_error_code() as i32, report.message().to_owned())
}
