//! Where statements are sent, how they are sent, and how their rows are read.

use std::fmt;
use std::future::Future;

use bytes::BytesMut;
use deadpool_postgres::Pool;
use tokio_postgres::Row;
use tokio_postgres::types::{Format, FromSqlOwned, IsNull, ToSql, Type};

use crate::error::Error;
use crate::hooks::SessionCache;

/// A value of a statement, and the type that it is sent as.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// How statements reach the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Statements {
    /// Each connection prepares a statement once and keeps it, if it has a cache of statements.
    #[default]
    Prepared,
    /// The server parses each statement anew. A pooler in transaction mode needs this: it may send
    /// each transaction to another server connection.
    Unnamed,
}

/// Runs the statements of a [`Store`](crate::Store): a pool, or a connection or transaction that
/// was passed to [`Store::on`](crate::Store::on).
///
/// The connections and transactions of deadpool-postgres keep prepared statements; those of
/// tokio-postgres do not. This trait is sealed: other crates cannot implement it.
pub trait Executor: sealed::Sealed + Sync {
    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn fetch(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
        statements: Statements,
    ) -> impl Future<Output = Result<Vec<Row>, Error>> + Send;

    /// The cache that a store on this asks first.
    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn session_cache(&self) -> Option<&dyn SessionCache> {
        None
    }
}

impl Executor for Pool {
    #[allow(private_interfaces)]
    async fn fetch(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
        statements: Statements,
    ) -> Result<Vec<Row>, Error> {
        let client = self.get().await?;
        client.fetch(sql, parameters, statements).await
    }
}

/// A store on a reference runs its statements on what is referred to, and asks no cache.
impl<E: Executor> Executor for &E {
    #[allow(private_interfaces)]
    async fn fetch(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
        statements: Statements,
    ) -> Result<Vec<Row>, Error> {
        (**self).fetch(sql, parameters, statements).await
    }
}

macro_rules! keeps_statements {
    ($($connection:ty),+) => {$(
        impl Executor for $connection {
            #[allow(private_interfaces)]
            async fn fetch(
                &self,
                sql: &str,
                parameters: &[Parameter<'_>],
                statements: Statements,
            ) -> Result<Vec<Row>, Error> {
                let hidden = hide(parameters);
                Ok(match statements {
                    Statements::Unnamed => {
                        self.query_typed(sql, &typed(&hidden, parameters)).await?
                    }
                    Statements::Prepared => {
                        let statement = self.prepare_cached(sql).await?;
                        let values: Vec<_> = hidden.iter().map(|value| value as _).collect();
                        self.query(&statement, &values).await?
                    }
                })
            }
        }
    )+};
}

macro_rules! keeps_nothing {
    ($($connection:ty),+) => {$(
        impl Executor for $connection {
            #[allow(private_interfaces)]
            async fn fetch(
                &self,
                sql: &str,
                parameters: &[Parameter<'_>],
                _: Statements,
            ) -> Result<Vec<Row>, Error> {
                let hidden = hide(parameters);
                Ok(self.query_typed(sql, &typed(&hidden, parameters)).await?)
            }
        }
    )+};
}

keeps_statements!(
    deadpool_postgres::Client,
    deadpool_postgres::Transaction<'_>
);
keeps_nothing!(tokio_postgres::Client, tokio_postgres::Transaction<'_>);

/// A transaction that was passed to [`Store::on`](crate::Store::on), on which
/// [`authenticate`](crate::Store::authenticate) can be called. This trait is sealed.
pub trait InTransaction: Executor {}

impl InTransaction for deadpool_postgres::Transaction<'_> {}
impl InTransaction for tokio_postgres::Transaction<'_> {}
impl<E: InTransaction> InTransaction for &E {}

mod sealed {
    pub trait Sealed {}

    impl Sealed for deadpool_postgres::Pool {}
    impl Sealed for deadpool_postgres::Client {}
    impl Sealed for deadpool_postgres::Transaction<'_> {}
    impl Sealed for tokio_postgres::Client {}
    impl Sealed for tokio_postgres::Transaction<'_> {}
    impl<E: super::Executor> Sealed for &E {}
}

#[cfg(feature = "cache")]
pub(crate) use sealed::Sealed;

/// An executor, and how statements are sent to it.
#[derive(Clone, Copy)]
pub(crate) struct Database<E> {
    pub(crate) executor: E,
    pub(crate) statements: Statements,
}

impl<E: Executor> Database<E> {
    pub(crate) async fn rows<T>(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
        read: impl Fn(&Row) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let rows = self.fetch(sql, parameters).await?;
        rows.iter().map(read).collect()
    }

    pub(crate) async fn optional_row<T>(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
        read: impl Fn(&Row) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let rows = self.fetch(sql, parameters).await?;
        rows.first().map(read).transpose()
    }

    /// For a function that always returns one row.
    pub(crate) async fn row<T>(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
        read: impl Fn(&Row) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let row = self.optional_row(sql, parameters, read).await?;
        Ok(row.expect("a function that returns no set returns a row"))
    }

    /// For a function that returns one value.
    pub(crate) async fn value<T: FromSqlOwned>(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<T, Error> {
        self.row(sql, parameters, |row| Ok(row.try_get(0)?)).await
    }

    /// For a function that returns a number of rows.
    pub(crate) async fn count(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<u64, Error> {
        let count: i64 = self.value(sql, parameters).await?;
        Ok(count.unsigned_abs())
    }

    /// For a function that returns nothing.
    pub(crate) async fn run(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<(), Error> {
        self.fetch(sql, parameters).await.map(drop)
    }

    async fn fetch(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Error> {
        match self.send(sql, parameters).await {
            Err(error) if error.may_be_of_another_version() => {
                // In a box, so that the future of each call is small.
                Err(Box::pin(self.explain(error)).await)
            }
            result => result,
        }
    }

    async fn send(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Error> {
        self.executor.fetch(sql, parameters, self.statements).await
    }

    /// Asks for the version of the extension, which only the error of a call makes necessary. In a
    /// transaction of the caller, which has failed, the server does not answer.
    async fn explain(&self, error: Error) -> Error {
        let sql = "SELECT (SELECT extversion FROM pg_catalog.pg_extension \
                   WHERE extname OPERATOR(pg_catalog.=) 'qsessions')";
        let Ok(rows) = self.send(sql, &[]).await else {
            return error;
        };
        match rows.first().map(|row| row.try_get(0)) {
            Some(Ok(found)) => Error::version(found).unwrap_or(error),
            _ => error,
        }
    }
}

/// The parameters as `query_typed` takes them. Each of them is hidden, because tokio-postgres logs
/// their `Debug` at the level `debug`.
fn typed<'a>(hidden: &'a [Hidden<'_>], parameters: &[Parameter<'_>]) -> Vec<Parameter<'a>> {
    let types = parameters.iter().map(|(_, ty)| ty.clone());
    hidden.iter().map(|value| value as _).zip(types).collect()
}

fn hide<'a>(parameters: &[Parameter<'a>]) -> Vec<Hidden<'a>> {
    parameters.iter().map(|(value, _)| Hidden(*value)).collect()
}

/// A parameter without a readable `Debug`. It may be a key, or a user's data or address.
#[derive(Clone, Copy)]
struct Hidden<'a>(&'a (dyn ToSql + Sync));

impl fmt::Debug for Hidden<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl ToSql for Hidden<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        self.0.to_sql_checked(ty, out)
    }

    /// The value inside accepts or refuses the type when it is written.
    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        self.0.to_sql_checked(ty, out)
    }

    fn encode_format(&self, ty: &Type) -> Format {
        self.0.encode_format(ty)
    }
}
