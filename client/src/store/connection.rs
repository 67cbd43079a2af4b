//! Where statements are sent, and how.

use std::borrow::Borrow;
use std::future::Future;

use deadpool_postgres::Pool;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::Error;

/// A value of a statement, and the type that it is sent as.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// How statements reach the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Statements {
    /// Prepared once for each connection, where there is a place to keep them.
    #[default]
    Prepared,
    /// Parsed anew each time, without a name: for poolers that hand out another server's connection
    /// with each transaction.
    Unnamed,
}

/// A connection or a transaction that [`Store::on`](crate::Store::on) takes: those of
/// deadpool-postgres, which keep prepared statements, and those of tokio-postgres, which don't.
///
/// Sealed: no other type can be one.
pub trait Connection: sealed::Connection + Sync {
    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn fetch(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
        statements: Statements,
    ) -> impl Future<Output = Result<Vec<Row>, tokio_postgres::Error>> + Send;
}

macro_rules! keeps_statements {
    ($($connection:ty),+) => {$(
        impl Connection for $connection {
            #[allow(private_interfaces)]
            async fn fetch(
                &self,
                sql: &str,
                parameters: &[Parameter<'_>],
                statements: Statements,
            ) -> Result<Vec<Row>, tokio_postgres::Error> {
                match statements {
                    Statements::Unnamed => self.query_typed(sql, parameters).await,
                    Statements::Prepared => {
                        let statement = self.prepare_cached(sql).await?;
                        let values: Vec<_> = parameters.iter().map(|(value, _)| *value).collect();
                        self.query(&statement, &values).await
                    }
                }
            }
        }
    )+};
}

macro_rules! keeps_nothing {
    ($($connection:ty),+) => {$(
        impl Connection for $connection {
            #[allow(private_interfaces)]
            async fn fetch(
                &self,
                sql: &str,
                parameters: &[Parameter<'_>],
                _: Statements,
            ) -> Result<Vec<Row>, tokio_postgres::Error> {
                self.query_typed(sql, parameters).await
            }
        }
    )+};
}

keeps_statements!(
    deadpool_postgres::Client,
    deadpool_postgres::Transaction<'_>
);
keeps_nothing!(tokio_postgres::Client, tokio_postgres::Transaction<'_>);

/// Where a [`Store`](crate::Store) sends its calls: a pool, or a connection or transaction that was
/// passed to [`Store::on`](crate::Store::on).
///
/// Sealed: no other type can be one.
pub trait Source: sealed::Source + Sync {
    #[doc(hidden)]
    type Connection: Connection;
    #[doc(hidden)]
    type Loan: Borrow<Self::Connection> + Send + Sync;

    /// A connection for the time of one call.
    #[doc(hidden)]
    fn connection(&self) -> impl Future<Output = Result<Self::Loan, Error>> + Send;
}

impl Source for Pool {
    type Connection = deadpool_postgres::Client;
    type Loan = deadpool_postgres::Client;

    async fn connection(&self) -> Result<Self::Loan, Error> {
        Ok(self.get().await?)
    }
}

impl<'c, C: Connection> Source for &'c C {
    type Connection = C;
    type Loan = &'c C;

    async fn connection(&self) -> Result<Self::Loan, Error> {
        Ok(self)
    }
}

mod sealed {
    pub trait Connection {}

    impl Connection for deadpool_postgres::Client {}
    impl Connection for deadpool_postgres::Transaction<'_> {}
    impl Connection for tokio_postgres::Client {}
    impl Connection for tokio_postgres::Transaction<'_> {}

    pub trait Source {}

    impl Source for deadpool_postgres::Pool {}
    impl<C: Connection> Source for &C {}
}
