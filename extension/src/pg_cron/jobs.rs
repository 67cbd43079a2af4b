//! The jobs of pg_cron, changed from the database that pg_cron lives in.
//!
//! That database may belong to any role. A role that may create objects there can have created a
//! schema `cron` with functions of its own, which would run with the rights of the superuser that
//! calls. So before anything there is used, `pg_depend` has to say, in the same transaction, that
//! it is a member of the extension pg_cron. Each argument has exactly the type that the function of
//! pg_cron declares, so that no other function of the name is preferred.

use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::spi::SpiClient;
use std::ffi::CStr;

/// The beginning of the name of each job.
const NAME: &str = "qsessions purge of ";

/// A change of the jobs of a database.
pub(super) struct Task {
    /// The database that the jobs purge.
    pub(super) database: pg_sys::Oid,
    /// Its name, by which pg_cron knows it.
    pub(super) database_name: String,
    /// The job that there is afterwards.
    pub(super) job: Option<Job>,
}

/// A job that purges.
pub(super) struct Job {
    pub(super) schedule: String,
    pub(super) batch_size: i32,
    /// The role that the job runs as.
    pub(super) username: String,
}

impl Task {
    pub(super) fn here(job: Option<Job>) -> Self {
        let database = this_database();
        Self {
            database,
            database_name: database_name(database),
            job,
        }
    }

    /// The beginning of the name of the job. The OID stays when the database is renamed.
    fn name_by_oid(&self) -> String {
        format!("{NAME}database {}: ", self.database.to_u32())
    }

    /// The name of the database at the end is for people, and may be cut: pg_cron 1.4 keeps 63
    /// bytes.
    fn job_name(&self) -> String {
        let mut name = self.name_by_oid() + &self.database_name;
        name.truncate(name.floor_char_boundary(pg_sys::NAMEDATALEN as usize - 1));
        name
    }
}

pub(super) fn this_database() -> pg_sys::Oid {
    // SAFETY: PostgreSQL sets this variable once, when the process connects.
    unsafe { pg_sys::MyDatabaseId }
}

pub(super) fn database_name(database: pg_sys::Oid) -> String {
    // SAFETY: the result is null, or a string that is copied here.
    unsafe {
        let name = pg_sys::get_database_name(database);
        match name.is_null() {
            true => format!("with OID {}", database.to_u32()),
            false => CStr::from_ptr(name).to_string_lossy().into_owned(),
        }
    }
}

/// Carries out a task in the database of pg_cron, where this process is connected. The
/// `search_path` is pinned by then.
pub(super) fn run(task: &Task) -> i64 {
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

/// What is used of pg_cron, whether it is there, and whether it is a member of the extension. The
/// types of arguments are bigint (20), text (25) and boolean (16).
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
                "It was not used, because its owner could run any code in it with the rights of the caller.".to_owned(),
                "Have a superuser drop schema \"cron\" in that database, and run CREATE EXTENSION pg_cron there.",
            )
        } else {
            (
                format!("extension pg_cron 1.4 or later does not exist in database \"{database}\""),
                format!("There is no {what}."),
                "Run CREATE EXTENSION pg_cron in that database, or ALTER EXTENSION pg_cron UPDATE if it is older.",
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

/// The jobs that purge the database, and for each whether pg_cron replaces it by the new job, which
/// has the given name, user and database.
///
/// A job belongs to the database that it runs in: its name may be of an older form, or have the OID
/// that the database had before the cluster was restored. If the database was renamed, the job
/// belongs to it by the OID in its name. But a job that runs in another database that exists
/// belongs to that one, whatever OID is in its name.
const JOBS: &str = "
    SELECT j.jobid, j.active AND j.jobname::text = $3 AND j.username = $4 AND j.database = $1
    FROM cron.job AS j
    WHERE starts_with(j.jobname::text, $5) AND starts_with(j.command, 'CALL qsessions.purge(')
      AND (j.database = $1
           OR starts_with(j.jobname::text, $2)
              AND NOT EXISTS (SELECT FROM pg_catalog.pg_database AS d WHERE d.datname::text = j.database))
    ORDER BY j.jobid";

/// Removes the jobs of the database except the one that pg_cron replaces, which keeps its id.
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

/// The database of a job with the same name and user that runs in another one: pg_cron would
/// replace its schedule and command, but not its database.
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
            format!("job \"{name}\" of pg_cron already exists for database \"{other}\""),
            function_name!(),
        )
        .set_hint("Call qsessions.schedule_purge() in that database first, which renames its job.")
        .report(PgLogLevel::ERROR);
    }
    // Only a superuser may name the user, even if it is the current one.
    // SAFETY: the current role exists, so the name is a string.
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
