//! The client's cache: it returns no replaced state, and saves statements.
//!
//! Two stores stand for two processes. A proxy holds back answers of the server, so that tests can
//! act between two steps of a store.

mod background_visits;
mod consistency;
mod failover;
mod fills;
mod grace;
mod heartbeats;
mod hits;
mod pooler_and_tls;
mod servers;
mod visits;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use qsessions::{CacheConfig, CachedStore, Executor, Key, NewSession, Store};
use qsessions_testkit::{Database, Proxy};
use serde_json::{Value, json};
use std::time::Duration;
use tokio_postgres::{Client, Config, NoTls};

/// A store with a cache, a second store, and the proxies between the first store and the server.
struct Cached {
    database: Database,
    /// The store with the cache. Its pool has at most two connections, and begins with one.
    store: CachedStore,
    /// The second store, which changes sessions.
    other: Store,
    /// The proxy of the pool.
    pool: Proxy,
    /// The proxy of the listener.
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
        // Prepares the statement on the pool's connection, so that a load is one statement.
        cached.begin().await;
        cached
    }

    /// A session of the second store that the cache has returned once.
    async fn begin(&self) -> NewSession {
        let session = self.other.create().data(one()).await.unwrap();
        assert_eq!(data(&self.store, &session.key).await, Some(json!({"n": 1})));
        session
    }

    /// The result of a call, and the number of statements that it sends to the database.
    async fn statements<T>(&self, call: impl IntoFuture<Output = T>) -> (T, u64) {
        let before = self.pool.executed();
        let result = call.await;
        (result, self.pool.executed() - before)
    }

    /// Whether the second of two loads is answered by the cache.
    async fn is_cached(&self, key: &Key) -> bool {
        self.store.load(key).await.unwrap();
        let (_, statements) = self.statements(self.store.load(key)).await;
        statements == 0
    }

    /// The value of a counter of the store.
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

/// A configuration in which probes are sent only on demand.
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
