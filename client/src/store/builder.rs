//! A store with more to say than which pool it uses.

use std::sync::Arc;

use deadpool_postgres::Pool;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Config, Socket};

use super::{Statements, Store};
use crate::Error;
use crate::cache::{Cache, CacheConfig, Listener, Listening};

/// Makes a [`Store`] with a cache, or for a pooler in transaction mode.
///
/// ```
/// use qsessions::deadpool_postgres::{Config, Runtime, tokio_postgres, tokio_postgres::NoTls};
/// use qsessions::{CacheConfig, Store};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let url = "postgres://app@localhost/shop";
/// let pool = Config {
///     url: Some(url.into()),
///     ..Config::default()
/// };
/// let store = Store::builder(pool.create_pool(Some(Runtime::Tokio1), NoTls)?)
///     .cache(CacheConfig::default())
///     .listener(url.parse::<tokio_postgres::Config>()?, NoTls)
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct StoreBuilder {
    pool: Pool,
    statements: Statements,
    cache: Option<CacheConfig>,
    listener: Option<Listener>,
}

impl StoreBuilder {
    pub(super) fn new(pool: Pool) -> Self {
        Self {
            pool,
            statements: Statements::default(),
            cache: None,
            listener: None,
        }
    }

    /// Keeps sessions in this process, and drops them when anybody changes them.
    ///
    /// [`load`](Store::load), [`resume`](Store::resume) and [`exists`](Store::exists) then ask the
    /// database only for what the cache doesn't hold. It needs a [`listener`](Self::listener).
    ///
    /// ```
    /// # use qsessions::{CacheConfig, Store, deadpool_postgres::Pool};
    /// # fn example(pool: Pool) {
    /// let builder = Store::builder(pool).cache(CacheConfig::default());
    /// # }
    /// ```
    pub fn cache(mut self, config: CacheConfig) -> Self {
        self.cache = Some(config);
        self
    }

    /// The connection on which the cache hears of changes: to the same server and database as the
    /// pool's, the primary, and without a pooler in transaction mode between.
    ///
    /// The TLS connector is the one that the pool was given, or `NoTls`.
    ///
    /// ```
    /// # use qsessions::{CacheConfig, Store, StoreBuilder};
    /// use qsessions::deadpool_postgres::tokio_postgres::{Config, NoTls};
    ///
    /// # fn example(builder: StoreBuilder) {
    /// let mut direct = Config::new();
    /// direct.host("db.example.org").user("app").dbname("shop");
    /// let builder = builder.listener(direct, NoTls);
    /// # }
    /// ```
    pub fn listener<T>(mut self, config: Config, tls: T) -> Self
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::Stream: Send,
        T::TlsConnect: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        self.listener = Some(Listener::new(config, tls));
        self
    }

    /// Sends every statement without preparing it, for a pool that connects through a pooler in
    /// transaction mode that doesn't keep prepared statements, such as PgBouncer before 1.21.
    ///
    /// The server then parses and plans each call anew.
    ///
    /// ```
    /// # use qsessions::{Store, deadpool_postgres::Pool};
    /// # fn example(pool: Pool) -> Result<(), qsessions::Error> {
    /// let store = Store::builder(pool).unnamed_statements().build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn unnamed_statements(mut self) -> Self {
        self.statements = Statements::Unnamed;
        self
    }

    /// The store. With a cache, this begins to listen, in the background and in the tokio runtime
    /// of the caller; loads are answered by the database until it does.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] for a cache without a listener, or with a `max_staleness` that is
    /// too short or too long.
    ///
    /// # Panics
    ///
    /// With a cache, outside of a tokio runtime.
    ///
    /// ```
    /// # use qsessions::{Store, deadpool_postgres::Pool};
    /// # fn example(pool: Pool) -> Result<(), qsessions::Error> {
    /// let store = Store::builder(pool).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn build(self) -> Result<Store, Error> {
        let mut store = Store::uncached(self.pool.clone(), self.statements);
        let Some(config) = self.cache else {
            return Ok(store);
        };
        config.check()?;
        let Some(listener) = self.listener else {
            return Err(Error::Configuration {
                message:
                    "a cache needs a connection on which to hear of changes: call listener() too"
                        .to_owned(),
            });
        };
        let cache = Cache::new(self.pool, self.statements, &config);
        store.cache = Some(Arc::new(Listening::new(cache, listener, &config)));
        Ok(store)
    }
}
