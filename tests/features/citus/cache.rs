//! The Rust client's cache in front of a table that Citus has distributed.

use super::{Cluster, DATABASE, call};
use deadpool_postgres::{Manager, Pool};
use qsessions::{CacheConfig, CachedStore, Error, Executor, Key, Store};
use qsessions_testkit::{Proxy, Server, StopMode};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::time::Duration;
use tokio_postgres::{Config, NoTls};

fn pool_to(config: &Config) -> Pool {
    let manager = Manager::new(config.clone(), NoTls);
    Pool::builder(manager).max_size(2).build().unwrap()
}

async fn until<F: Future<Output = bool>>(mut is_so: impl FnMut() -> F) {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while !is_so().await {
        ticks.tick().await;
    }
}

async fn data<E: Executor>(store: &Store<E>, key: &Key) -> Option<Value> {
    let session = store.load(key).await.unwrap()?;
    Some(session.data.clone())
}

/// A process with a cache, whose pool leads to the coordinator, and the proxy of the pool.
struct Process {
    store: CachedStore,
    pool: Proxy,
}

impl Process {
    async fn start(cluster: &Cluster, servers: &[Server]) -> Self {
        let pool = Proxy::to(&cluster.servers[0]).await.unwrap();
        let config = pool.config(&cluster.servers[0].config(DATABASE));
        let listeners = servers.iter().map(|server| server.config(DATABASE));
        let store = Store::builder(pool_to(&config))
            .cached_on_servers(listeners, NoTls)
            .config(CacheConfig::new().max_staleness(Duration::from_secs(4)))
            .build()
            .unwrap();
        store.ready().await.unwrap();
        Self { store, pool }
    }

    async fn is_cached(&self, key: &Key) -> bool {
        let before = self.pool.executed();
        self.store.load(key).await.unwrap();
        self.pool.executed() == before
    }
}

/// Sessions on both workers, in the order of their shards.
async fn begin(other: &Store) -> Vec<Key> {
    let mut keys = Vec::new();
    for _ in 0..16 {
        let session = other.create().data(json!({"n": 1})).await.unwrap();
        keys.push(session.key);
    }
    keys
}

/// A process that has cached sessions of both workers, and another one.
async fn cached_sessions(cluster: &Cluster) -> (Process, Store, Vec<Key>) {
    let process = Process::start(cluster, &cluster.servers[1..]).await;
    let other = Store::new(pool_to(&cluster.servers[0].config(DATABASE)));
    let keys = begin(&other).await;
    for key in &keys {
        assert_eq!(data(&process.store, key).await, Some(json!({"n": 1})));
    }
    (process, other, keys)
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_sessions_of_all_workers_are_dropped_when_they_change() {
    let Some(cluster) = Cluster::with_users().await else {
        return;
    };
    let process = Process::start(&cluster, &cluster.servers[1..]).await;
    let store = &process.store;
    assert_eq!(store.health().error, None);
    // Another process, whose pool leads to a worker.
    let other = Store::new(pool_to(&cluster.servers[1].config(DATABASE)));
    let keys = begin(&other).await;
    for key in &keys {
        assert_eq!(data(store, key).await, Some(json!({"n": 1})));
        assert!(process.is_cached(key).await);
    }
    for key in &keys {
        other.patch(key, json!({"n": 2})).await.unwrap();
    }
    store.catch_up().await;
    for key in &keys {
        assert_eq!(data(store, key).await, Some(json!({"n": 2})));
        assert!(process.is_cached(key).await);
    }
    // Visits are written in the background, for sessions of both workers.
    let address = IpAddr::from([192, 0, 2, 7]);
    for key in &keys {
        let resumed = store.resume(key).ip(address).await;
        assert!(resumed.unwrap().is_some());
    }
    store.flush_visits().await.unwrap();
    for key in &keys {
        let ip = other.load(key).await.unwrap().unwrap().ip;
        assert_eq!(ip, Some(address));
    }
    // One statement that ends sessions on both workers, in two phases.
    let mut of_user = Vec::new();
    for key in &keys {
        let key = other.login(1).key(key).await.unwrap().key;
        assert!(store.load(&key).await.unwrap().is_some());
        of_user.push(key);
    }
    let ended = other.revoke_user_sessions(1).await.unwrap();
    assert_eq!(ended, keys.len() as u64);
    store.catch_up().await;
    for key in keys.iter().chain(&of_user) {
        assert_eq!(data(store, key).await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_moves_to_another_worker_stays_right() {
    let Some(cluster) = Cluster::with_users().await else {
        return;
    };
    let (process, other, keys) = cached_sessions(&cluster).await;
    let store = &process.store;
    // All shards of the first worker.
    let coordinator = cluster.connect(0).await;
    let moved = call(
        &coordinator,
        "count(citus_move_shard_placement(
             p.shardid, p.nodename, p.nodeport, o.nodename, o.nodeport, 'block_writes'))
         FROM (SELECT shardid, min(nodename) AS nodename, min(nodeport) AS nodeport
               FROM citus_shards WHERE table_name = 'qsessions.session'::regclass
               AND nodeport = (SELECT min(nodeport) FROM pg_dist_node WHERE groupid > 0) GROUP BY shardid) AS p,
              (SELECT nodename, nodeport FROM pg_dist_node WHERE groupid > 0 ORDER BY nodeport DESC LIMIT 1) AS o",
    )
    .await;
    assert_ne!(moved.as_deref(), Some("0"));
    for key in &keys {
        other.patch(key, json!({"n": 2})).await.unwrap();
    }
    store.catch_up().await;
    for key in &keys {
        assert_eq!(data(store, key).await, Some(json!({"n": 2})));
        until(async || process.is_cached(key).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_one_worker_are_cached_while_the_other_is_down() {
    let Some(mut cluster) = Cluster::with_users().await else {
        return;
    };
    let (process, other, keys) = cached_sessions(&cluster).await;
    let store = &process.store;
    cluster.servers[2].stop(StopMode::Fast).unwrap();
    until(async || !store.health().serving).await;
    let mut kept = Vec::new();
    for key in &keys {
        if let Ok(loaded) = store.load(key).await {
            assert!(loaded.is_some());
            kept.push(key);
        }
    }
    assert!(
        !kept.is_empty() && kept.len() < keys.len(),
        "{}",
        kept.len()
    );
    for key in &kept {
        until(async || process.is_cached(key).await).await;
        other.patch(key, json!({"n": 2})).await.unwrap();
        until(async || data(store, key).await == Some(json!({"n": 2}))).await;
    }
    cluster.servers[2].start().await.unwrap();
    until(async || store.health().serving).await;
    for key in &keys {
        assert!(store.load(key).await.unwrap().is_some());
        until(async || process.is_cached(key).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_with_one_listener_refuses_a_distributed_table() {
    let Some(cluster) = Cluster::with_users().await else {
        return;
    };
    let coordinator = cluster.servers[0].config(DATABASE);
    let store = Store::builder(pool_to(&coordinator))
        .cached(coordinator, NoTls)
        .build()
        .unwrap();
    match store.ready().await {
        Err(Error::Listener { message }) => {
            assert!(message.contains("cached_on_servers"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}
