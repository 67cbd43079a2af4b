//! Where calls go, and how they get there. What can be called is in the files of the folder, in the
//! order that a session lives.

mod access;
mod builder;
mod caching;
mod connection;
mod life;
mod login;
mod places;
mod purge;
mod seeing;
mod table;
mod user_agents;

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use deadpool_postgres::Pool;
use tokio_postgres::Row;
use tokio_postgres::types::FromSqlOwned;

use crate::Error;
use crate::cache::Listening;

pub use builder::StoreBuilder;
pub(crate) use caching::Announced;
pub use connection::{Connection, Source};
pub(crate) use connection::{Parameter, Statements};

/// The sessions in a database.
///
/// A `Store` is a handle: cheap to clone, made once, shared by all tasks. Each call takes a
/// connection from the pool and gives it back; [`on`](Self::on) calls on a connection or a
/// transaction of yours instead.
///
/// ```
/// use qsessions::deadpool_postgres::{Config, Runtime, tokio_postgres::NoTls};
/// use qsessions::Store;
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let config = Config {
///     url: Some("postgres://app@localhost/shop".into()),
///     ..Config::default()
/// };
/// let store = Store::new(config.create_pool(Some(Runtime::Tokio1), NoTls)?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Every method can fail with [`Error::Pool`] and [`Error::Database`]; what else can go wrong is
/// said where it can. A dropped future leaves the database to finish or not, as with any statement:
/// what mustn't be left half done belongs in a transaction.
#[derive(Clone)]
pub struct Store<S = Pool> {
    source: S,
    statements: Statements,
    cache: Option<Arc<Listening>>,
}

impl Store {
    /// The sessions in the database that this pool connects to.
    ///
    /// ```
    /// # use qsessions::{Store, deadpool_postgres::Pool};
    /// fn sessions(pool: &Pool) -> Store {
    ///     Store::new(pool.clone())
    /// }
    /// ```
    #[must_use]
    pub fn new(pool: Pool) -> Self {
        Self::uncached(pool, Statements::default())
    }

    /// A store with more than a pool: a cache, for one.
    ///
    /// ```
    /// # use qsessions::{Store, deadpool_postgres::Pool};
    /// # fn example(pool: Pool) -> Result<(), qsessions::Error> {
    /// let store = Store::builder(pool).unnamed_statements().build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(pool: Pool) -> StoreBuilder {
        StoreBuilder::new(pool)
    }

    pub(crate) fn uncached(pool: Pool, statements: Statements) -> Self {
        Self {
            source: pool,
            statements,
            cache: None,
        }
    }
}

impl<S: Source> Store<S> {
    /// The same sessions by way of this connection or transaction, so that a session changes
    /// together with tables of yours. It reads what the transaction sees, and so without the cache; what it
    /// changes is known to the cache soon after the commit, or after [`catch_up`](Self::catch_up).
    ///
    /// ```
    /// use qsessions::{Login, NewSession, Store, deadpool_postgres::Pool};
    ///
    /// # async fn example(pool: Pool, store: Store) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut connection = pool.get().await?;
    /// let transaction = connection.transaction().await?;
    /// let row = transaction
    ///     .query_one("INSERT INTO users (name) VALUES ('Ada') RETURNING id", &[])
    ///     .await?;
    /// let session = store
    ///     .on(&transaction)
    ///     .login(Login::user(row.get::<_, i64>(0)))
    ///     .await?;
    /// transaction.commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn on<'c, C: Connection>(&self, connection: &'c C) -> Store<&'c C> {
        Store {
            source: connection,
            statements: self.statements,
            cache: None,
        }
    }
}

impl<S: Source> Store<S> {
    async fn rows<T>(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<T>, Error>
    where
        T: TryFrom<Row, Error = Error>,
    {
        let rows = self.fetch(sql, parameters).await?;
        rows.into_iter().map(T::try_from).collect()
    }

    pub(crate) async fn optional_row<T>(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Option<T>, Error>
    where
        T: TryFrom<Row, Error = Error>,
    {
        let row = self.fetch(sql, parameters).await?.pop();
        row.map(T::try_from).transpose()
    }

    /// For functions that return one row whatever happens.
    async fn row<T>(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<T, Error>
    where
        T: TryFrom<Row, Error = Error>,
    {
        let row = self.optional_row(sql, parameters).await?;
        Ok(row.expect("a function that returns no set returns a row"))
    }

    /// For functions that return one value.
    async fn value<T>(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<T, Error>
    where
        T: FromSqlOwned,
    {
        let Value(value) = self.row(sql, parameters).await?;
        Ok(value)
    }

    /// For functions that return how many there were.
    async fn count(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<u64, Error> {
        self.value::<i64>(sql, parameters)
            .await
            .map(i64::unsigned_abs)
    }

    /// For functions that return nothing to look at.
    async fn run(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<(), Error> {
        self.fetch(sql, parameters).await.map(drop)
    }

    async fn fetch(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Error> {
        let loan = self.source.connection().await?;
        let connection = loan.borrow();
        Ok(connection.fetch(sql, parameters, self.statements).await?)
    }
}

/// A row that is one value.
struct Value<T>(T);

impl<T: FromSqlOwned> TryFrom<Row> for Value<T> {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self(row.try_get(0)?))
    }
}

impl<S> fmt::Debug for Store<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use deadpool_postgres::Transaction;

    use super::*;
    use crate::{Key, NewSession};

    /// Web frameworks spawn what handles a request. That this compiles is the test.
    #[expect(dead_code)]
    fn futures_are_send(store: &Store, transaction: &Transaction<'_>, key: &Key) {
        fn send(_: impl Future + Send) {}
        send(store.load(key));
        send(store.save(key, [1]));
        send(store.create(NewSession::new()));
        send(store.on(transaction).load(key));
        send(async move { store.on(transaction).create(NewSession::new()).await });
    }
}
