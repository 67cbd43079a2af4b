//! A handle to the sessions in a database. The methods are in the files of their subjects.

use std::fmt;

use deadpool_postgres::Pool;
use uuid::Uuid;

use crate::database::{Database, Executor, Statements};
use crate::hooks::{Begin, Change, SessionCache};
use crate::key::Key;

/// The sessions in a database.
///
/// A `Store` is a handle: make it once, clone it cheaply, and share it among tasks. Each call takes
/// a connection from the pool and gives it back. [`on`](Self::on) makes calls on a connection or a
/// transaction of yours instead. A [`CachedStore`](crate::CachedStore) (feature `cache`) also keeps
/// sessions in memory.
///
/// Calls that have optional arguments return a builder, and are sent when that is awaited:
///
/// ```
/// use qsessions::deadpool_postgres::{Config, Runtime, tokio_postgres::NoTls};
/// use qsessions::Store;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let config = Config {
///     url: Some("postgres://app@localhost/shop".into()),
///     ..Config::default()
/// };
/// let store = Store::new(config.create_pool(Some(Runtime::Tokio1), NoTls)?);
/// let visit = store.create().user(42).await?;
/// let session = store.load(&visit.key).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Every call can fail with [`Error::Pool`](crate::Error::Pool) and
/// [`Error::Database`](crate::Error::Database). Other errors are listed at the calls that have
/// them. If the future of a call is dropped, the database may still finish the statement: use a
/// transaction for work that must not be left half done.
#[derive(Clone)]
#[must_use]
pub struct Store<E = Pool> {
    pub(crate) database: Database<E>,
}

impl Store {
    /// The sessions in the database that this pool connects to.
    pub fn new(pool: Pool) -> Self {
        Self::on_executor(pool, Statements::default())
    }
}

impl<E: Executor> Store<E> {
    pub(crate) fn on_executor(executor: E, statements: Statements) -> Self {
        Self {
            database: Database {
                executor,
                statements,
            },
        }
    }

    /// The same sessions by way of a connection or a transaction, so that a session changes
    /// together with your own tables, or not at all.
    ///
    /// These calls read what the transaction sees, and ask no cache. The cache of a
    /// [`CachedStore`](crate::CachedStore) knows their changes soon after the commit; its
    /// `catch_up` waits for that.
    ///
    /// ```
    /// use qsessions::{Store, deadpool_postgres::Pool};
    ///
    /// # async fn example(pool: Pool, store: Store) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut connection = pool.get().await?;
    /// let transaction = connection.transaction().await?;
    /// let row = transaction
    ///     .query_one("INSERT INTO users (name) VALUES ('Ada') RETURNING id", &[])
    ///     .await?;
    /// let session = store.on(&transaction).login(row.get::<_, i64>(0)).await?;
    /// transaction.commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on<'c, C: Executor>(&self, connection: &'c C) -> Store<&'c C> {
        Store::on_executor(connection, self.database.statements)
    }

    pub(crate) fn session_cache(&self) -> Option<&dyn SessionCache> {
        self.database.executor.session_cache()
    }

    /// For a call that changes this session.
    pub(crate) fn changes(&self, id: Option<Uuid>) -> Option<Change<'_>> {
        Some(Change::new(self.session_cache()?, id?))
    }

    /// For a call that ends this key: a visit by it that is not written yet would be left out.
    pub(crate) async fn write_visit(&self, key: &Key) {
        if let Some(writing) = self
            .session_cache()
            .and_then(|cache| cache.write_visit(key))
        {
            writing.await;
        }
    }

    /// For a call that may give this key a session.
    pub(crate) fn begins<'a>(&'a self, key: &'a Key) -> Option<Begin<'a>> {
        let cache = self.session_cache()?;
        Some(Begin { cache, key })
    }

    /// For a call that has changed sessions without saying which.
    pub(crate) async fn hear_of_changes(&self) {
        if let Some(cache) = self.session_cache() {
            cache.catch_up().await;
        }
    }
}

impl<E> fmt::Debug for Store<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}
