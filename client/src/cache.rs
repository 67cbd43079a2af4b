//! A store that keeps sessions in memory, and drops them when any process changes them.
//!
//! [`entries`] holds the sessions. The [`listener`] applies the notifications of changes, and sends
//! probes that show up to when all changes of a server are known: the [`freshness`] of the entries
//! from there. Each server has its [`station`]. The [`writer`] writes the [`visits`] for which no
//! request waits. docs/cache.md has the guarantee and its proof.

mod channels;
mod cluster;
mod config;
mod core;
mod counters;
mod deferral;
mod entries;
mod entry;
pub(crate) mod facts;
mod freshness;
mod health;
mod link;
mod listen_error;
mod listener;
mod load;
mod lock;
mod log;
mod row;
mod server_time;
mod station;
mod visits;
mod writer;

use std::fmt;
use std::sync::Arc;
#[cfg(feature = "purge")]
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::Row;

use crate::database::{Database, Executor, Parameter, Sealed, Statements};
use crate::error::Error;
use crate::hooks::SessionCache;
use crate::purge::Purge;
#[cfg(feature = "purge")]
use crate::purge::PurgeTask;
use crate::store::Store;

pub use config::CacheConfig;
pub use health::Health;
pub(crate) use listener::{Listener, Listeners};

use self::core::Cache;

/// A [`Store`] that keeps sessions in the memory of this process.
///
/// [`load`](Store::load), [`resume`](Store::resume) and [`exists`](Store::exists) ask the database
/// only for sessions that are not in memory. The visits that `resume` has to record are [written in
/// the background](CacheConfig::background_visits). A load never returns a state of a session that
/// had been replaced or ended, by a confirmed commit, more than
/// [`max_staleness`](CacheConfig::max_staleness) before the load was called. If the cache cannot
/// guarantee that, the database answers.
///
/// ```
/// use qsessions::deadpool_postgres::{Config, Runtime, tokio_postgres, tokio_postgres::NoTls};
/// use qsessions::Store;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let url = "postgres://app@localhost/shop";
/// let pool = Config {
///     url: Some(url.into()),
///     ..Config::default()
/// };
/// let store = Store::builder(pool.create_pool(Some(Runtime::Tokio1), NoTls)?)
///     .cached(url.parse::<tokio_postgres::Config>()?, NoTls)
///     .build()?;
/// # Ok(())
/// # }
/// ```
pub type CachedStore = Store<CachedPool>;

/// The pool of a [`CachedStore`], with its cache.
#[derive(Clone)]
pub struct CachedPool(Arc<RunningCache>);

impl fmt::Debug for CachedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedPool").finish_non_exhaustive()
    }
}

/// A cache, and the tasks that work for it. Dropping it ends them; the one that writes visits
/// writes those that are pending before.
struct RunningCache {
    cache: Arc<Cache>,
    tasks: Vec<JoinHandle<()>>,
    _open: watch::Sender<()>,
}

impl Drop for RunningCache {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Sealed for CachedPool {}

impl Executor for CachedPool {
    #[allow(private_interfaces)]
    async fn fetch(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
        statements: Statements,
    ) -> Result<Vec<Row>, Error> {
        let pool = &self.0.cache.database.executor;
        pool.fetch(sql, parameters, statements).await
    }

    #[inline]
    #[allow(private_interfaces)]
    fn session_cache(&self) -> Option<&dyn SessionCache> {
        Some(&self.0.cache)
    }
}

impl CachedStore {
    pub(crate) fn start(
        pool: Pool,
        statements: Statements,
        config: &CacheConfig,
        listeners: Listeners,
    ) -> Result<Self, Error> {
        config.check()?;
        let stations = listeners.stations(config.max_staleness)?;
        let runtime = Handle::try_current()
            .map_err(|_| Error::configuration("a cached store must be built in a tokio runtime"))?;
        let database = Database {
            executor: pool,
            statements,
        };
        let cache = Arc::new(Cache::new(database, config, stations));
        let interval = config.probe_interval();
        let (mut tasks, roll_call) = (Vec::new(), Arc::default());
        for (station, listener) in (0..).zip(listeners.into_all()) {
            let listening = listener::run(
                listener,
                Arc::clone(&cache),
                station,
                Arc::clone(&roll_call),
                interval,
            );
            tasks.push(runtime.spawn(listening));
        }
        if cache.stations.cluster.is_some() {
            let calling = listener::call_the_roll(Arc::clone(&cache), roll_call, interval);
            tasks.push(runtime.spawn(calling));
        }
        let (open, is_open) = watch::channel(());
        if config.background_visits {
            runtime.spawn(writer::run(Arc::clone(&cache), is_open));
        }
        let running = RunningCache {
            tasks,
            cache,
            _open: open,
        };
        Ok(Self::on_executor(CachedPool(Arc::new(running)), statements))
    }

    fn cache(&self) -> &Cache {
        &self.database.executor.0.cache
    }

    /// The state of the cache. This is cheap.
    ///
    /// ```
    /// # fn example(store: qsessions::CachedStore) {
    /// println!("{} sessions in memory", store.health().sessions);
    /// # }
    /// ```
    #[must_use]
    pub fn health(&self) -> Health {
        self.cache().health()
    }

    /// Waits until the cache answers, for tests and for applications that check their setup when
    /// they start. A store that is not ready gives the same answers, only later.
    ///
    /// It waits as long as the server cannot be reached or the pool has no connection: put a
    /// timeout around it.
    ///
    /// # Errors
    ///
    /// [`Error::Listener`] if the cache will never answer with this setup: the listener leads to
    /// another database, or through a pooler in transaction mode, or the server refuses it.
    ///
    /// ```
    /// # async fn example(store: qsessions::CachedStore) -> Result<(), qsessions::Error> {
    /// store.ready().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn ready(&self) -> Result<(), Error> {
        self.cache().ready().await
    }

    /// Waits until the cache knows every change that was committed before the call, by any process:
    /// usually some milliseconds, and at most `max_staleness`.
    ///
    /// A call of this store that changes a session is known when it returns. Use this after the
    /// commit of a transaction that was used with [`on`](Store::on), and after SQL of your own.
    /// What only visits change is not announced:
    /// [`last_seen_at`](crate::SessionData::last_seen_at), and
    /// [`expires_at`](crate::SessionData::expires_at) if it becomes later.
    ///
    /// ```
    /// # use qsessions::{CachedStore, Key, deadpool_postgres::Pool};
    /// # async fn example(pool: Pool, store: CachedStore, key: Key) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut connection = pool.get().await?;
    /// let transaction = connection.transaction().await?;
    /// store.on(&transaction).logout(&key).await?;
    /// transaction.execute("DELETE FROM users WHERE id = 42", &[]).await?;
    /// transaction.commit().await?;
    /// store.catch_up().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn catch_up(&self) {
        self.cache().catch_up().await;
    }

    /// Writes all visits that are pending, for which [`resume`](Store::resume) does not wait.
    ///
    /// Call it before the process ends, and in tests that look into the table. A visit of a session
    /// that another transaction keeps changing for a second stays pending:
    /// [`Health::pending_visits`] tells. Dropping the last clone of a store also writes the pending
    /// visits, in a task that ends with its runtime.
    ///
    /// # Errors
    ///
    /// That of the database. The visits that were not written stay pending, and the store goes on
    /// trying.
    ///
    /// ```
    /// # async fn serve(store: &qsessions::CachedStore) {}
    /// # async fn example(store: qsessions::CachedStore) -> Result<(), qsessions::Error> {
    /// serve(&store).await; // until the process is to end
    /// store.flush_visits().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn flush_visits(&self) -> Result<(), Error> {
        self.cache().flush_visits().await
    }

    /// Deletes all expired sessions in batches, and commits each batch. See
    /// [`Store::purge`](Store::purge).
    pub fn purge(&self) -> Purge<'_, CachedPool> {
        self.purge_call()
    }

    /// Starts a task that deletes expired sessions at this interval. See
    /// [`Store::purge_every`](Store::purge_every).
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] if the interval is shorter than a second, or if the caller is not
    /// in a tokio runtime.
    #[cfg(feature = "purge")]
    pub fn purge_every(&self, interval: Duration) -> Result<PurgeTask, Error> {
        let database = &self.cache().database;
        Store::on_executor(database.executor.clone(), database.statements).purge_every(interval)
    }
}
