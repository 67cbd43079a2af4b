//! The jobs of pg_cron that purge this database.
//!
//! pg_cron lives in one database, which may belong to anybody. Whoever may create objects there can
//! have made a schema `cron` of his own, with functions that run whatever he likes as the superuser
//! who calls them. So nothing there is touched before `pg_depend` has said that it is pg_cron's own,
//! in the same transaction, and every argument is given in exactly the type that it is declared with.

use crate::worker;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::spi::SpiClient;
use std::ffi::CStr;

/// With what each name of a job of ours begins.
const NAME: &str = "qsessions purge of ";

/// What is to be done with the jobs of a database.
pub(crate) struct Task {
    /// The database that they purge.
    pub(crate) database: pg_sys::Oid,
    /// Its name, by which pg_cron knows it.
    pub(crate) database_name: String,
    /// The job that is to be there afterwards.
    pub(crate) job: Option<Job>,
}

/// A job that purges.
pub(crate) struct Job {
    pub(crate) schedule: String,
    pub(crate) batch_size: i32,
    /// As whom it runs.
    pub(crate) username: String,
}

impl Task {
    fn here(job: Option<Job>) -> Self {
        let database = this_database();
        Self {
            database,
            database_name: database_name(database),
            job,
        }
    }

    /// With what the name of the job begins. The OID outlives a change of the database's name.
    fn name_by_oid(&self) -> String {
        format!("{NAME}database {}: ", self.database.to_u32())
    }

    /// The database's name at the end is for the reader, and may be cut: pg_cron 1.4 keeps 63 bytes.
    fn job_name(&self) -> String {
        let mut name = self.name_by_oid() + &self.database_name;
        name.truncate(name.floor_char_boundary(pg_sys::NAMEDATALEN as usize - 1));
        name
    }

    /// Does it, wherever pg_cron lives.
    fn carry_out(&self) -> i64 {
        let home = home();
        if home == this_database() {
            run(self)
        } else {
            worker::run_in_database(home, self)
        }
    }
}

/// Has pg_cron purge this database, in place of any job that did so before. The job's id.
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
    Task::here(Some(job)).carry_out()
}

/// Removes the jobs that purge this database. How many there were.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_unschedule_purge",
    volatile,
    parallel_unsafe
)]
#[search_path(pg_catalog, pg_temp)]
fn unschedule_purge() -> i64 {
    Task::here(None).carry_out()
}

/// The database that pg_cron lives in.
fn home() -> pg_sys::Oid {
    // SAFETY: the value is read before anything could change it; a database that is not there is an error.
    unsafe {
        let name = c"cron.database_name".as_ptr();
        let home = pg_sys::GetConfigOptionByName(name, std::ptr::null_mut(), false);
        pg_sys::get_database_oid(home, false)
    }
}

fn this_database() -> pg_sys::Oid {
    // SAFETY: a variable that PostgreSQL sets once, as this process connects.
    unsafe { pg_sys::MyDatabaseId }
}

pub(crate) fn database_name(database: pg_sys::Oid) -> String {
    // SAFETY: null where there is none of this OID, else a string of its own, which is copied.
    unsafe {
        let name = pg_sys::get_database_name(database);
        match name.is_null() {
            true => format!("with OID {}", database.to_u32()),
            false => CStr::from_ptr(name).to_string_lossy().into_owned(),
        }
    }
}

/// Carries out a task in pg_cron's own database, in the current transaction, under a pinned search_path.
pub(crate) fn run(task: &Task) -> i64 {
    let result = Spi::connect_mut(|client| {
        check_members(client)?;
        let removed = remove_jobs(client, task)?;
        match &task.job {
            Some(job) => create_job(client, task, job),
            None => Ok(removed),
        }
    });
    result.unwrap_or_else(|failed: pgrx::spi::Error| error!("{failed}"))
}

/// What is called and read of pg_cron: `what`, whether it is there, and whether it is pg_cron's own. The types of
/// arguments are bigint (20), text (25) and boolean (16).
const MEMBERS: &str = "
    SELECT w.what, o.oid IS NOT NULL,
           EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                   JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid
                   WHERE d.classid = w.catalog AND d.objid = o.oid AND d.objsubid = 0
                     AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
                     AND d.deptype = 'e' AND e.extname = 'pg_cron')
    FROM (VALUES
        ('table cron.job', 'pg_catalog.pg_class'::pg_catalog.regclass, 'job', NULL),
        ('function cron.unschedule(bigint)', 'pg_catalog.pg_proc', 'unschedule',
         '20'::pg_catalog.oidvector),
        ('function cron.schedule_in_database(text, text, text, text, text, boolean)', 'pg_catalog.pg_proc',
         'schedule_in_database', '25 25 25 25 25 16')
    ) AS w (what, catalog, name, arguments)
    LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = 'cron'
    LEFT JOIN LATERAL (
        SELECT c.oid FROM pg_catalog.pg_class AS c
        WHERE w.arguments IS NULL AND c.relnamespace = n.oid AND c.relname = w.name
        UNION ALL
        SELECT p.oid FROM pg_catalog.pg_proc AS p
        WHERE p.pronamespace = n.oid AND p.proname = w.name
          AND p.proargtypes = w.arguments
    ) AS o ON true";

fn check_members(client: &mut SpiClient<'_>) -> Result<(), pgrx::spi::Error> {
    for row in client.update(MEMBERS, None, &[])? {
        let what = row.get::<String>(1)?.unwrap_or_default();
        let is_there = row.get::<bool>(2)? == Some(true);
        if row.get::<bool>(3)? == Some(true) {
            continue;
        }
        let database = database_name(this_database());
        let (message, detail, hint) = if is_there {
            (
                format!("{what} in database \"{database}\" does not belong to extension pg_cron"),
                "It was not used: its owner could have it do anything with the rights of the caller.".to_owned(),
                "Have a superuser drop schema \"cron\" in that database, and run CREATE EXTENSION pg_cron there.",
            )
        } else {
            (
                format!("extension pg_cron 1.4 or later is not there in database \"{database}\""),
                format!("There is no {what}."),
                "Run CREATE EXTENSION pg_cron in that database, or ALTER EXTENSION pg_cron UPDATE where it is older.",
            )
        };
        ErrorReport::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            message,
            function_name!(),
        )
        .set_detail(detail)
        .set_hint(hint)
        .report(PgLogLevel::ERROR);
    }
    Ok(())
}

/// The jobs that purge the database, and whether pg_cron will replace one by that of the name, user and database that are given.
///
/// A job may still have a name of an older form, or the OID that the database had before its cluster was
/// restored: then it is known by the database that it runs in. After a change of the database's name,
/// it is known by the OID. But a job that runs in another database that exists is that one's, whatever OID it has in its name.
const JOBS: &str = "
    SELECT j.jobid, j.active AND j.jobname::text = $3 AND j.username = $4 AND j.database = $1
    FROM cron.job AS j
    WHERE starts_with(j.jobname::text, $5) AND starts_with(j.command, 'CALL qsessions.purge(')
      AND (j.database = $1
           OR starts_with(j.jobname::text, $2)
              AND NOT EXISTS (SELECT FROM pg_catalog.pg_database AS d WHERE d.datname::text = j.database))
    ORDER BY j.jobid";

/// Removes the jobs of the database but for the one that is to be replaced, which so keeps its id.
fn remove_jobs(client: &mut SpiClient<'_>, task: &Task) -> Result<i64, pgrx::spi::Error> {
    let username = task.job.as_ref().map(|job| job.username.as_str());
    let arguments = [
        task.database_name.as_str().into(),
        task.name_by_oid().into(),
        task.job_name().into(),
        username.into(),
        NAME.into(),
    ];
    let mut removed = 0;
    for row in client.update(JOBS, None, &arguments)? {
        let (id, is_replaced) = (row.get::<i64>(1)?, row.get::<bool>(2)?);
        if is_replaced != Some(true) {
            client.update("SELECT cron.unschedule($1)", None, &[id.into()])?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Of the same name and user, pg_cron replaces the schedule and the command only.
const NAMESAKE: &str = "
    SELECT j.database FROM cron.job AS j
    WHERE j.jobname::text = $1 AND j.username = $2 AND j.database <> $3";

fn create_job(client: &mut SpiClient<'_>, task: &Task, job: &Job) -> Result<i64, pgrx::spi::Error> {
    let name = task.job_name();
    let namesakes = [
        name.as_str().into(),
        job.username.as_str().into(),
        task.database_name.as_str().into(),
    ];
    let namesake = client.update(NAMESAKE, Some(1), &namesakes)?;
    if !namesake.is_empty() {
        let other = namesake.first().get_one::<String>()?.unwrap_or_default();
        ErrorReport::new(
            PgSqlErrorCode::ERRCODE_DUPLICATE_OBJECT,
            format!("job \"{name}\" purges database \"{other}\""),
            function_name!(),
        )
        .set_hint("Call qsessions.schedule_purge() in that database first, which gives its job a name of its own.")
        .report(PgLogLevel::ERROR);
    }
    // Only a superuser may name the user, even himself.
    // SAFETY: the name of a role that this process runs as.
    let current = unsafe { CStr::from_ptr(pg_sys::GetUserNameFromId(pg_sys::GetUserId(), false)) };
    let username = (current.to_string_lossy() != job.username).then_some(job.username.as_str());
    let arguments = [
        name.into(),
        job.schedule.as_str().into(),
        format!("CALL qsessions.purge(batch_size => {})", job.batch_size).into(),
        task.database_name.as_str().into(),
        username.into(),
        true.into(),
    ];
    let id = client
        .update(
            "SELECT cron.schedule_in_database($1, $2, $3, $4, $5, $6)",
            Some(1),
            &arguments,
        )?
        .first()
        .get_one::<i64>()?;
    Ok(id.unwrap_or_default())
}
