//! Connections, and transactions that cannot burden the server for long.

use crate::options::Options;
use crate::problem::Problem;
use qsessions::Store;
use qsessions::deadpool_postgres::{Client, Pool, Transaction};
use std::time::{Duration, SystemTime};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

/// How long a page waits for a connection, if the pool does not say.
const PATIENCE: Duration = Duration::from_secs(10);

/// A value of a statement, and its type. Statements are sent without preparing them first, so that
/// the console also works behind a pooler in transaction mode.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

pub(crate) struct Database {
    pool: Pool,
    pub(crate) store: Store,
    statement_timeout: Duration,
}

impl Database {
    pub(crate) fn new(pool: Pool, options: &Options) -> Self {
        let store = Store::builder(pool.clone()).unnamed_statements().build();
        Self {
            pool,
            store,
            statement_timeout: options.statement_timeout,
        }
    }

    pub(crate) async fn client(&self) -> Result<Client, Problem> {
        match tokio::time::timeout(PATIENCE, self.pool.get()).await {
            Ok(client) => Ok(client?),
            Err(_) => Err(qsessions::deadpool_postgres::PoolError::Timeout(
                qsessions::deadpool_postgres::TimeoutType::Wait,
            )
            .into()),
        }
    }

    /// A transaction that reads.
    pub(crate) async fn read<'c>(
        &self,
        client: &'c mut Client,
    ) -> Result<Transaction<'c>, Problem> {
        self.begin(client, true, self.statement_timeout).await
    }

    /// A transaction that looks for sessions to end. That may take longer than a page.
    pub(crate) async fn count<'c>(
        &self,
        client: &'c mut Client,
    ) -> Result<Transaction<'c>, Problem> {
        self.begin(client, true, self.statement_timeout * 6).await
    }

    /// A transaction that ends sessions. A batch may take longer than a page, but does not wait long
    /// for a session that another transaction has locked.
    pub(crate) async fn write<'c>(
        &self,
        client: &'c mut Client,
    ) -> Result<Transaction<'c>, Problem> {
        self.begin(client, false, self.statement_timeout * 6).await
    }

    async fn begin<'c>(
        &self,
        client: &'c mut Client,
        read_only: bool,
        timeout: Duration,
    ) -> Result<Transaction<'c>, Problem> {
        let transaction = client
            .build_transaction()
            .read_only(read_only)
            .start()
            .await?;
        let milliseconds = timeout.as_millis().clamp(1, i32::MAX as u128);
        transaction
            .batch_execute(&format!(
                "SET LOCAL statement_timeout = {milliseconds};
                 SET LOCAL lock_timeout = {};
                 SET LOCAL search_path = pg_catalog, pg_temp;",
                self.statement_timeout
                    .as_millis()
                    .clamp(1, i32::MAX as u128)
            ))
            .await?;
        Ok(transaction)
    }
}

/// What the database and the role allow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rights {
    pub(crate) can_end: bool,
    pub(crate) has_events: bool,
    pub(crate) can_read_events: bool,
    pub(crate) is_standby: bool,
}

impl Rights {
    /// Refuses to end sessions if the role or the server cannot.
    pub(crate) fn check_end(self) -> Result<(), Problem> {
        if self.is_standby {
            return Err(Problem::standby());
        }
        if !self.can_end {
            return Err(Problem::end_denied());
        }
        Ok(())
    }
}

/// The rights of the role, or what is missing in the database.
pub(crate) async fn rights(transaction: &Transaction<'_>) -> Result<Rights, Problem> {
    let row = one(
        transaction,
        "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'qsessions'),
                t.session IS NOT NULL,
                pg_is_in_recovery(),
                coalesce(has_table_privilege(t.session, 'DELETE'), false),
                t.event IS NOT NULL,
                coalesce(has_table_privilege(t.event, 'SELECT'), false)
         FROM (SELECT to_regclass('qsessions.session'), to_regclass('qsessions.session_event')) AS t (session, event)",
        &[],
    )
    .await?;
    if !row.try_get::<_, bool>(0)? {
        return Err(Problem::no_extension());
    }
    if !row.try_get::<_, bool>(1)? {
        return Err(Problem::no_table());
    }
    let is_standby: bool = row.try_get(2)?;
    Ok(Rights {
        can_end: !is_standby && row.try_get(3)?,
        has_events: row.try_get(4)?,
        can_read_events: row.try_get(5)?,
        is_standby,
    })
}

/// The row of a statement that always returns one.
pub(crate) async fn one(
    transaction: &Transaction<'_>,
    sql: &str,
    parameters: &[Parameter<'_>],
) -> Result<Row, Problem> {
    let rows = transaction.query_typed(sql, parameters).await?;
    rows.into_iter().next().ok_or_else(|| {
        Problem::new(
            axum::http::StatusCode::INTERNAL_SERVER_ERROR,
            "The database reports an error",
            "A statement that always returns a row has returned none.",
        )
    })
}

/// A column with seconds since 1970. Null and infinity are `None`.
pub(crate) fn moment(row: &Row, column: usize) -> Result<Option<SystemTime>, Problem> {
    let seconds: Option<f64> = row.try_get(column)?;
    Ok(seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since)))
}

/// A column with a number that is not negative.
pub(crate) fn count(row: &Row, column: usize) -> Result<u64, Problem> {
    Ok(row
        .try_get::<_, Option<i64>>(column)?
        .unwrap_or_default()
        .unsigned_abs())
}
