//! How a store with settings is built.

use std::fmt;

use deadpool_postgres::Pool;

use crate::database::Statements;
use crate::store::Store;

#[cfg(feature = "cache")]
use crate::cache::{CacheConfig, CachedStore, Listener, Listeners};
#[cfg(feature = "cache")]
use crate::error::Error;
#[cfg(feature = "cache")]
use tokio_postgres::{
    Config, Socket,
    tls::{MakeTlsConnect, TlsConnect},
};

/// Builds a [`Store`] for a pooler in transaction mode, or a `CachedStore`.
///
/// ```
/// # use qsessions::{Store, deadpool_postgres::Pool};
/// # fn example(pool: Pool) {
/// let store = Store::builder(pool).unnamed_statements().build();
/// # }
/// ```
#[must_use]
pub struct StoreBuilder {
    pool: Pool,
    statements: Statements,
}

impl Store {
    /// A store with settings of its own.
    pub fn builder(pool: Pool) -> StoreBuilder {
        StoreBuilder {
            pool,
            statements: Statements::default(),
        }
    }
}

impl StoreBuilder {
    /// Sends statements without preparing them, for a pool that connects through a pooler in
    /// transaction mode that does not keep prepared statements, such as PgBouncer before 1.21.
    ///
    /// The server then parses and plans each call anew.
    pub fn unnamed_statements(mut self) -> Self {
        self.statements = Statements::Unnamed;
        self
    }

    /// Keeps sessions in the memory of this process, and drops them when any process changes them.
    ///
    /// `listener` says how to connect for LISTEN: to the same server and database as the pool, to
    /// the primary, and not through a pooler in transaction mode. `tls` is the TLS connector that
    /// the pool was given, or `NoTls`.
    ///
    /// ```
    /// use qsessions::deadpool_postgres::{Pool, tokio_postgres::{Config, NoTls}};
    /// use qsessions::{CachedStore, Error, Store};
    ///
    /// fn cached(pool: Pool) -> Result<CachedStore, Error> {
    ///     let mut direct = Config::new();
    ///     direct.host("db.example.org").user("app").dbname("shop");
    ///     Store::builder(pool).cached(direct, NoTls).build()
    /// }
    /// ```
    #[cfg(feature = "cache")]
    pub fn cached<T>(self, listener: Config, tls: T) -> CachedStoreBuilder
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::Stream: Send,
        T::TlsConnect: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        CachedStoreBuilder {
            pool: self.pool,
            statements: self.statements,
            listeners: Listeners::One(Listener::new(listener, tls)),
            config: CacheConfig::default(),
        }
    }

    /// Keeps sessions in the memory of this process although they are [distributed over several
    /// servers](https://github.com/citusdata/citus), each of which announces the changes of its own
    /// sessions.
    ///
    /// `listeners` says how to connect to each server that has sessions: up to 64 of them, each in
    /// the database that has the extension. `tls` is the TLS connector for all of them. Sessions of
    /// a server without a listener are not cached, and [`health`](CachedStore::health) names it.
    /// While one server cannot be reached, the sessions of the others are answered from memory.
    ///
    /// ```
    /// use qsessions::deadpool_postgres::{Pool, tokio_postgres::{Config, NoTls}};
    /// use qsessions::{CachedStore, Error, Store};
    ///
    /// fn cached(pool: Pool) -> Result<CachedStore, Error> {
    ///     let listeners = ["worker-1.example", "worker-2.example"].map(|host| {
    ///         let mut config = Config::new();
    ///         config.host(host).user("app").dbname("shop");
    ///         config
    ///     });
    ///     Store::builder(pool).cached_on_servers(listeners, NoTls).build()
    /// }
    /// ```
    #[cfg(feature = "cache")]
    pub fn cached_on_servers<T>(
        self,
        listeners: impl IntoIterator<Item = Config>,
        tls: T,
    ) -> CachedStoreBuilder
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::Stream: Send,
        T::TlsConnect: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        CachedStoreBuilder {
            pool: self.pool,
            statements: self.statements,
            listeners: Listeners::of_servers(listeners, &tls),
            config: CacheConfig::default(),
        }
    }

    /// The store.
    pub fn build(self) -> Store {
        Store::on_executor(self.pool, self.statements)
    }
}

impl fmt::Debug for StoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreBuilder")
            .field("statements", &self.statements)
            .finish_non_exhaustive()
    }
}

/// Builds a [`CachedStore`].
#[cfg(feature = "cache")]
#[must_use]
pub struct CachedStoreBuilder {
    pool: Pool,
    statements: Statements,
    listeners: Listeners,
    config: CacheConfig,
}

#[cfg(feature = "cache")]
impl CachedStoreBuilder {
    /// How much the cache holds, and how late it may be.
    pub fn config(mut self, config: CacheConfig) -> Self {
        self.config = config;
        self
    }

    /// The store. It begins to listen in the background, in the tokio runtime of the caller. Until
    /// it listens, the database answers all loads.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] if `max_staleness` is too short or too long, if there is no listener
    /// or there are more than 64, or if the caller is not in a tokio runtime.
    pub fn build(self) -> Result<CachedStore, Error> {
        let (config, listeners) = (self.config, self.listeners);
        CachedStore::start(self.pool, self.statements, &config, listeners)
    }
}

#[cfg(feature = "cache")]
impl fmt::Debug for CachedStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedStoreBuilder")
            .field("statements", &self.statements)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
