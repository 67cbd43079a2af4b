//! Whether notifications, purges, GeoIP files and the table are as they should be.

use crate::database::{Database, count, moment, one, rights};
use crate::problem::Problem;
use qsessions::Stats;
use qsessions::deadpool_postgres::Transaction;
use std::time::SystemTime;

pub(crate) struct Health {
    pub(crate) is_standby: bool,
    pub(crate) server: String,
    pub(crate) extension: String,
    pub(crate) stats: Stats,
    pub(crate) invalidation: Result<Invalidation, Problem>,
    pub(crate) purge: Result<Purge, Problem>,
    pub(crate) geoip: Result<Vec<GeoipFile>, Problem>,
    pub(crate) table: Result<Table, Problem>,
}

pub(crate) struct Invalidation {
    pub(crate) mode: String,
    pub(crate) channel: String,
    pub(crate) backlog: Option<i64>,
    pub(crate) announced: Option<i64>,
    pub(crate) overflows: Option<i64>,
    pub(crate) problem: Option<String>,
}

pub(crate) struct Purge {
    /// `None`: the jobs of pg_cron cannot be seen from this database or by this role.
    pub(crate) jobs: Option<Vec<Job>>,
    pub(crate) oldest_expired_at: Option<SystemTime>,
    pub(crate) expired: u64,
    /// Purged since the server started. `None`: there are no counters.
    pub(crate) purged: Option<u64>,
}

pub(crate) struct Job {
    pub(crate) schedule: String,
    pub(crate) command: String,
    pub(crate) role: String,
    pub(crate) is_active: bool,
}

pub(crate) struct GeoipFile {
    pub(crate) path: String,
    pub(crate) database_type: Option<String>,
    pub(crate) built_at: Option<SystemTime>,
    pub(crate) loaded_at: Option<SystemTime>,
    pub(crate) bytes: Option<u64>,
    pub(crate) error: Option<String>,
}

pub(crate) struct Table {
    pub(crate) dead: u64,
    pub(crate) live: u64,
    pub(crate) vacuumed_at: Option<SystemTime>,
    pub(crate) analyzed_at: Option<SystemTime>,
    pub(crate) main_bytes: u64,
    /// What the rows would take without free space. `None`: the table was never analyzed.
    pub(crate) needed_bytes: Option<u64>,
    pub(crate) event_bytes: Option<u64>,
}

/// Each part is read in a transaction of its own, so that what one lacks does not hide the others.
pub(crate) async fn read(database: &Database) -> Result<Health, Problem> {
    let mut client = database.client().await?;
    let (rights, server, extension, stats) = {
        let transaction = database.read(&mut client).await?;
        let rights = rights(&transaction).await?;
        let row = one(
            &transaction,
            "SELECT current_setting('server_version'), e.extversion
             FROM pg_extension AS e WHERE e.extname = 'qsessions'",
            &[],
        )
        .await?;
        let stats = database.store.on(&transaction).stats().exact(false).await?;
        (rights, row.try_get(0)?, row.try_get(1)?, stats)
    };
    let invalidation = {
        let transaction = database.read(&mut client).await?;
        invalidation(&transaction).await
    };
    let purge = {
        let purged = {
            let transaction = database.read(&mut client).await?;
            purged(&transaction).await.unwrap_or_default()
        };
        let transaction = database.read(&mut client).await?;
        jobs(&transaction).await.map(|jobs| Purge {
            jobs,
            purged,
            oldest_expired_at: stats.oldest_expired_at,
            expired: stats.expired,
        })
    };
    let geoip = {
        let transaction = database.read(&mut client).await?;
        geoip(&transaction).await
    };
    let table = {
        let transaction = database.read(&mut client).await?;
        table(&transaction).await
    };
    Ok(Health {
        is_standby: rights.is_standby,
        server,
        extension,
        stats,
        invalidation,
        purge,
        geoip,
        table,
    })
}

async fn invalidation(transaction: &Transaction<'_>) -> Result<Invalidation, Problem> {
    let row = one(
        transaction,
        "SELECT mode, channel, backlog, announced, overflows, problem FROM qsessions.invalidation_status()",
        &[],
    )
    .await?;
    Ok(Invalidation {
        mode: row.try_get(0)?,
        channel: row.try_get(1)?,
        backlog: row.try_get(2)?,
        announced: row.try_get(3)?,
        overflows: row.try_get(4)?,
        problem: row.try_get(5)?,
    })
}

async fn purged(transaction: &Transaction<'_>) -> Result<Option<u64>, Problem> {
    let row = one(
        transaction,
        "SELECT purged_total FROM qsessions.metrics()",
        &[],
    )
    .await?;
    Ok(row.try_get::<_, Option<i64>>(0)?.map(i64::unsigned_abs))
}

/// pg_cron shows a role its own jobs only, and lives in one database of the server.
async fn jobs(transaction: &Transaction<'_>) -> Result<Option<Vec<Job>>, Problem> {
    let row = one(
        transaction,
        "SELECT coalesce(has_schema_privilege(to_regnamespace('cron'), 'USAGE')
                         AND has_table_privilege(to_regclass('cron.job'), 'SELECT'), false)",
        &[],
    )
    .await?;
    if !row.try_get::<_, bool>(0)? {
        return Ok(None);
    }
    let rows = transaction
        .query_typed(
            "SELECT j.schedule, j.command, j.username::text, j.active FROM cron.job AS j
             WHERE j.database = current_database() AND j.command LIKE '%qsessions.purge%' ORDER BY j.jobid",
            &[],
        )
        .await?;
    let jobs: Result<Vec<_>, Problem> = rows
        .iter()
        .map(|row| {
            Ok(Job {
                schedule: row.try_get(0)?,
                command: row.try_get(1)?,
                role: row.try_get(2)?,
                is_active: row.try_get(3)?,
            })
        })
        .collect();
    jobs.map(Some)
}

async fn geoip(transaction: &Transaction<'_>) -> Result<Vec<GeoipFile>, Problem> {
    let rows = transaction
        .query_typed(
            "SELECT path, database_type, extract(epoch FROM build_time)::float8,
                    extract(epoch FROM loaded_at)::float8, bytes, error
             FROM qsessions.geoip_databases() ORDER BY path",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(GeoipFile {
                path: row.try_get(0)?,
                database_type: row.try_get(1)?,
                built_at: moment(row, 2)?,
                loaded_at: moment(row, 3)?,
                bytes: row.try_get::<_, Option<i64>>(4)?.map(i64::unsigned_abs),
                error: row.try_get(5)?,
            })
        })
        .collect()
}

/// The size that the rows need is estimated from the statistics that ANALYZE gathers: 28 bytes of
/// headers, the average widths of the columns that are not null, rounded up to 8 bytes.
async fn table(transaction: &Transaction<'_>) -> Result<Table, Problem> {
    let row = one(
        transaction,
        "WITH widths AS (
             SELECT sum(s.avg_width * (1 - s.null_frac)) AS row
             FROM pg_stats AS s WHERE s.schemaname = 'qsessions' AND s.tablename = 'session' AND NOT s.inherited)
         SELECT t.n_dead_tup, t.n_live_tup, extract(epoch FROM greatest(t.last_vacuum, t.last_autovacuum))::float8,
                extract(epoch FROM greatest(t.last_analyze, t.last_autoanalyze))::float8,
                pg_relation_size(t.relid),
                CASE WHEN c.reltuples > 0 THEN (c.reltuples * (28 + 8 * ceil(w.row / 8)))::bigint END,
                CASE WHEN to_regclass('qsessions.session_event') IS NOT NULL
                     THEN (SELECT sum(pg_total_relation_size(p.relid))::bigint
                           FROM pg_partition_tree(to_regclass('qsessions.session_event')) AS p) END
         FROM pg_stat_all_tables AS t
         JOIN pg_class AS c ON c.oid = t.relid
         CROSS JOIN widths AS w
         WHERE t.relid = 'qsessions.session'::regclass",
        &[],
    )
    .await?;
    Ok(Table {
        dead: count(&row, 0)?,
        live: count(&row, 1)?,
        vacuumed_at: moment(&row, 2)?,
        analyzed_at: moment(&row, 3)?,
        main_bytes: count(&row, 4)?,
        needed_bytes: row.try_get::<_, Option<i64>>(5)?.map(i64::unsigned_abs),
        event_bytes: row.try_get::<_, Option<i64>>(6)?.map(i64::unsigned_abs),
    })
}
