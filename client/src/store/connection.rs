//! Where statements are sent, and how.

use std::borrow::Borrow;
use std::future::Future;

use deadpool_postgres::Pool;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::Error;
use crate::wire::Hidden;

/// A value of a statement, and the type that it is sent as.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// The parameters as `query_typed` takes them: the only way by which they reach tokio-postgres, which logs the `Debug` of
/// each at the level `debug`.
fn typed<'a>(hidden: &'a [Hidden<'_>], parameters: &[Parameter<'_>]) -> Vec<Parameter<'a>> {
    let types = parameters.iter().map(|(_, ty)| ty.clone());
    hidden.iter().map(|value| value as _).zip(types).collect()
}

fn hide<'a>(parameters: &[Parameter<'a>]) -> Vec<Hidden<'a>> {
    parameters.iter().map(|(value, _)| Hidden(*value)).collect()
}

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
                let hidden = hide(parameters);
                match statements {
                    Statements::Unnamed => self.query_typed(sql, &typed(&hidden, parameters)).await,
                    Statements::Prepared => {
                        let statement = self.prepare_cached(sql).await?;
                        let values: Vec<_> = hidden.iter().map(|value| value as _).collect();
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
                let hidden = hide(parameters);
                self.query_typed(sql, &typed(&hidden, parameters)).await
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
