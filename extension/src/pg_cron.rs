//! Scheduling purges of this database with pg_cron, which may live in another database.

mod jobs;
mod worker;

use jobs::{Job, Task};
use pgrx::pg_sys;
use pgrx::prelude::*;

/// Makes the job that purges this database, in place of any there was, and returns its id.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_schedule_purge",
    volatile,
    parallel_unsafe,
    strict
)]
#[search_path(pg_catalog, pg_temp)]
fn schedule_purge(schedule: &str, batch_size: i32, username: &str) -> i64 {
    let job = Job {
        schedule: schedule.to_owned(),
        batch_size,
        username: username.to_owned(),
    };
    carry_out(&Task::here(Some(job)))
}

/// Removes the jobs that purge this database, and returns their number.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_unschedule_purge",
    volatile,
    parallel_unsafe
)]
#[search_path(pg_catalog, pg_temp)]
fn unschedule_purge() -> i64 {
    carry_out(&Task::here(None))
}

/// Carries a task out in the database of pg_cron, and returns its result.
fn carry_out(task: &Task) -> i64 {
    let home = home();
    if home == jobs::this_database() {
        jobs::run(task)
    } else {
        worker::run_in_database(home, task)
    }
}

/// The database that pg_cron lives in.
fn home() -> pg_sys::Oid {
    // SAFETY: the value is read before anything can change it. If there is no such database, an
    // error is raised.
    unsafe {
        let name = c"cron.database_name".as_ptr();
        let home = pg_sys::GetConfigOptionByName(name, std::ptr::null_mut(), false);
        pg_sys::get_database_oid(home, false)
    }
}
