//! The client's cache: it never returns a state that has been replaced, and asks the database only
//! when it has to.
//!
//! Two stores stand for two processes. What lies between two steps of one of them is reached by a
//! proxy that keeps back what the server answers.

mod consistency;
mod failover;
mod fills;
mod hits;
mod pooler_and_tls;
mod visits;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use qsessions::{CacheConfig, CachedStore, Executor, Key, NewSession, Store};
use qsessions_testkit::{Database, Proxy};
use serde_json::{Value, json};
use std::time::Duration;
use tokio_postgres::{Client, Config, NoTls};

/// A process with a cache, another process, and proxies between the first one and the server.
struct Cached {
    database: Database,
    /// The store with the cache. Its pool has two connections, and begins with one.
    store: CachedStore,
    /// The store of the other process.
    other: Store,
    /// Leads the pool to the server.
    pool: Proxy,
    /// Leads the listener to the server.
    listener: Proxy,
    counters: Snapshotter,
}

impl Cached {
    async fn new() -> Self {
        Self::with(unhurried()).await
    }

    async fn with(config: CacheConfig) -> Self {
        let database = Database::new().await;
        let pool = Proxy::to(database.server()).await.unwrap();
        let listener = Proxy::to(database.server()).await.unwrap();
        let recorder = DebuggingRecorder::new();
        let counters = recorder.snapshotter();
        let builder = Store::builder(pool_to(&pool.config(&database.config()), 2))
            .cached(listener.config(&database.config()), NoTls)
            .config(config);
        let store = metrics::with_local_recorder(&recorder, || builder.build().unwrap());
        let other = Store::new(pool_to(&database.config(), 4));
        store.ready().await.unwrap();
        let cached = Self {
            database,
            store,
            other,
            pool,
            listener,
            counters,
        };
        // The statement is then prepared on the pool's connection, and a load is one round trip.
        cached.begin().await;
        cached
    }

    /// A session of the other process that the cache has answered for once.
    async fn begin(&self) -> NewSession {
        let session = self.other.create().data(one()).await.unwrap();
        assert_eq!(data(&self.store, &session.key).await, Some(json!({"n": 1})));
        session
    }

    /// How many statements a call sends to the database.
    async fn statements<T>(&self, call: impl IntoFuture<Output = T>) -> (T, u64) {
        let before = self.pool.executed();
        let result = call.await;
        (result, self.pool.executed() - before)
    }

    /// Loads twice. The second load does not reach the server if the session is cached.
    async fn is_cached(&self, key: &Key) -> bool {
        self.store.load(key).await.unwrap();
        let (_, statements) = self.statements(self.store.load(key)).await;
        statements == 0
    }

    /// A counter of the store.
    fn count(&self, name: &str) -> u64 {
        let name = format!("qsessions_cache_{name}_total");
        let counted = self.counters.snapshot().into_vec().into_iter();
        counted
            .filter(|(key, ..)| key.key().name() == name)
            .map(|(.., value)| match value {
                DebugValue::Counter(count) => count,
                other => panic!("{name} is no counter: {other:?}"),
            })
            .sum()
    }

    async fn client(&self) -> Client {
        self.database.connect().await
    }
}

/// No probe is sent in between, unless a call wants one.
fn unhurried() -> CacheConfig {
    CacheConfig::new().max_staleness(Duration::from_secs(300))
}

/// The data of a session that was not changed since it began.
fn one() -> Value {
    json!({"n": 1})
}

fn pool_to(config: &Config, size: usize) -> Pool {
    let recycling = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = Manager::from_config(config.clone(), NoTls, recycling);
    Pool::builder(manager).max_size(size).build().unwrap()
}

async fn data<E: Executor>(store: &Store<E>, key: &Key) -> Option<Value> {
    let session = store.load(key).await.unwrap()?;
    Some(session.data.clone())
}

/// Waits for a condition that no event reports.
async fn until<F: Future<Output = bool>>(mut is_so: impl FnMut() -> F) {
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    while !is_so().await {
        ticks.tick().await;
    }
}
