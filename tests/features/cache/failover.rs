//! The cache answers only while the listener and the pool are connected to the same server,
//! database and channel.

use super::{Cached, data, one, pool_to, unhurried, until};
use deadpool_postgres::{Connect, Manager, ManagerConfig, Pool};
use futures_util::future::{BoxFuture, join_all};
use qsessions::{CacheConfig, CachedStore, Executor, Key, Store};
use qsessions_testkit::{Database, Proxy, Server};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls};

/// Long enough for a busy machine. A longer wait means that the condition never becomes true.
const FOR_EVER: Duration = Duration::from_secs(60);

const DATABASE: &str = "postgres";

/// A server with a session table, with the ring or without.
pub(super) async fn server(is_preloaded: bool) -> (Server, Client) {
    let libraries = if is_preloaded { "qsessions" } else { "" };
    let builder = Server::builder().setting("shared_preload_libraries", libraries);
    let server = builder.start().await.unwrap();
    let admin = server.connect(DATABASE).await.unwrap();
    let sql = "CREATE EXTENSION qsessions; SELECT qsessions.create_session_table()";
    admin.batch_execute(sql).await.unwrap();
    (server, admin)
}

fn hurried() -> CacheConfig {
    CacheConfig::new().max_staleness(Duration::from_millis(400))
}

async fn store(pool: Pool, listener: &tokio_postgres::Config, config: CacheConfig) -> CachedStore {
    let builder = Store::builder(pool).cached(listener.clone(), NoTls);
    let store = builder.config(config).build().unwrap();
    store.ready().await.unwrap();
    store
}

/// Waits until the store answers from memory.
pub(super) async fn until_serving(store: &CachedStore) {
    let is_serving = until(async || store.health().serving);
    timeout(FOR_EVER, is_serving)
        .await
        .expect("it serves again");
}

/// Waits until the store returns this data.
async fn until_data<E: Executor>(store: &Store<E>, key: &Key, expected: Option<serde_json::Value>) {
    let is_so = until(async || data(store, key).await == expected);
    timeout(FOR_EVER, is_so).await.expect("it is known");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_was_moved_to_another_server_is_detected_without_misses() {
    for is_preloaded in [false, true] {
        a_moved_pool_is_detected(is_preloaded).await;
    }
}

async fn a_moved_pool_is_detected(is_preloaded: bool) {
    let first = server(is_preloaded).await.0;
    let second = server(is_preloaded).await.0;
    let to_pool = Proxy::to(&first).await.unwrap();
    let pool = pool_to(&to_pool.config(&first.config(DATABASE)), 2);
    // The listener stays connected to the first server.
    let store = store(pool, &first.config(DATABASE), hurried()).await;
    let session = store.create().data(one()).await.unwrap();
    assert_eq!(data(&store, &session.key).await, Some(json!({"n": 1})));

    to_pool.lead_to(&second);
    to_pool.cut().await;
    until_data(&store, &session.key, None).await;
    until(async || store.health().error.is_some()).await;
    assert!(!store.health().serving);

    // And back again.
    to_pool.lead_to(&first);
    to_pool.cut().await;
    until_serving(&store).await;
    until_data(&store, &session.key, Some(json!({"n": 1}))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_holds_its_capacity_and_nothing_after_the_listener_was_lost() {
    const CAPACITY: u64 = 100;
    let server = server(true).await.0;
    let to_listener = Proxy::to(&server).await.unwrap();
    let config = server.config(DATABASE);
    let listener = to_listener.config(&config);
    let store = store(
        pool_to(&config, 2),
        &listener,
        unhurried().capacity(CAPACITY),
    )
    .await;
    let mut last = None;
    for _ in 0..2 * CAPACITY {
        let session = store.create().data(one()).await.unwrap();
        assert_eq!(data(&store, &session.key).await, Some(one()));
        last = Some(session.key);
    }
    assert_eq!(store.health().sessions, CAPACITY);

    to_listener.cut().await;
    let is_empty = until(async || store.health().sessions == 0);
    timeout(FOR_EVER, is_empty).await.expect("all are freed");
    until_serving(&store).await;
    assert_eq!(data(&store, &last.unwrap()).await, Some(one()));
    assert_eq!(store.health().sessions, 1);
}

/// Connects to the database that is chosen at the moment.
struct Chosen(Arc<Mutex<String>>);

type Connecting<'a> = BoxFuture<'a, Result<(Client, JoinHandle<()>), tokio_postgres::Error>>;

impl Connect for Chosen {
    fn connect(&self, config: &tokio_postgres::Config) -> Connecting<'_> {
        let mut config = config.clone();
        config.dbname(self.0.lock().unwrap().as_str());
        Box::pin(async move {
            let (client, connection) = config.connect(NoTls).await?;
            let served = tokio::spawn(async move {
                // Its end is the client's to notice.
                let _ = connection.await;
            });
            Ok((client, served))
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_of_another_database_of_the_same_server() {
    let (first, second) = (Database::new().await, Database::new().await);
    let chosen = Arc::new(Mutex::new(first.name().to_owned()));
    let connect = Chosen(Arc::clone(&chosen));
    let manager = Manager::from_connect(first.config(), connect, ManagerConfig::default());
    let pool = Pool::builder(manager).max_size(2).build().unwrap();
    let store = store(pool.clone(), &first.config(), unhurried()).await;
    // The second database is a copy of the first, with a session that has changed.
    let key = Key::from("a key in both databases");
    for (database, n) in [(&first, 1), (&second, 2)] {
        let copy = Store::new(pool_to(&database.config(), 1));
        copy.create().key(&key).data(json!({"n": n})).await.unwrap();
    }
    let lead_to = |database: &Database| {
        database.name().clone_into(&mut chosen.lock().unwrap());
        pool.retain(|_, _| false);
    };

    lead_to(&second);
    assert_eq!(data(&store, &key).await, Some(json!({"n": 2})));
    let is_stopped = until(async || !store.health().serving);
    timeout(FOR_EVER, is_stopped)
        .await
        .expect("it is found out");
    until(async || {
        let error = store.health().error.unwrap_or_default();
        error.contains("another server or database")
    })
    .await;

    lead_to(&first);
    until_serving(&store).await;
    assert_eq!(data(&store, &key).await, Some(json!({"n": 1})));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_follows_a_change_of_the_channel() {
    let (server, admin) = server(false).await;
    let config = server.config(DATABASE);
    let store = store(pool_to(&config, 2), &config, hurried()).await;
    let other = Store::new(pool_to(&config, 2));
    for channel in ["another", "a third \"one\"", "qsessions"] {
        let session = other.create().data(one()).await.unwrap();
        assert_eq!(data(&store, &session.key).await, Some(json!({"n": 1})));
        let set = format!("ALTER SYSTEM SET qsessions.invalidation_channel = '{channel}'");
        admin.batch_execute(&set).await.unwrap();
        admin
            .batch_execute("SELECT pg_reload_conf()")
            .await
            .unwrap();
        // Changes from now on are notified on the new channel.
        let client = server.connect(DATABASE).await.unwrap();
        until(async || {
            let row = client
                .query_one("SELECT qsessions.invalidation_channel()", &[])
                .await;
            row.unwrap().get::<_, String>(0) == channel
        })
        .await;
        let logout = "SELECT qsessions.logout($1)";
        client
            .query_one(logout, &[&session.key.expose()])
            .await
            .unwrap();
        until_data(&store, &session.key, None).await;
        until_serving(&store).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_runs_while_the_channel_changes_is_not_missed() {
    let (server, admin) = server(false).await;
    let config = server.config(DATABASE);
    let store = store(pool_to(&config, 2), &config, unhurried()).await;
    let session = store.create().data(one()).await.unwrap();
    admin
        .batch_execute("SELECT pg_advisory_lock(1)")
        .await
        .unwrap();
    // It keeps the setting with which it began.
    let client = server.connect(DATABASE).await.unwrap();
    let slow = tokio::spawn(async move {
        let sql = "DO $$ BEGIN DELETE FROM qsessions.session; PERFORM pg_advisory_lock(1); END $$";
        client.batch_execute(sql).await.unwrap();
    });
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    until(async || {
        admin
            .query_one(waiting, &[])
            .await
            .unwrap()
            .get::<_, i64>(0)
            == 1
    })
    .await;
    for sql in [
        "ALTER SYSTEM SET qsessions.invalidation_channel = 'another'",
        "SELECT pg_reload_conf()",
    ] {
        admin.batch_execute(sql).await.unwrap();
    }
    until(async || {
        let row = admin
            .query_one("SELECT qsessions.invalidation_channel()", &[])
            .await;
        row.unwrap().get::<_, String>(0) == "another"
    })
    .await;
    // The cache detects the change and listens on the new channel.
    store.catch_up().await;
    until(async || store.health().serving).await;
    assert_eq!(data(&store, &session.key).await, Some(json!({"n": 1})));
    admin
        .batch_execute("SELECT pg_advisory_unlock(1)")
        .await
        .unwrap();
    slow.await.unwrap();
    store.catch_up().await;
    assert_eq!(data(&store, &session.key).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_pool_does_not_stop_the_cache() {
    let database = Database::new().await;
    let to_pool = Proxy::to(database.server()).await.unwrap();
    let pool = pool_to(&to_pool.config(&database.config()), 2);
    let store = store(pool.clone(), &database.config(), unhurried()).await;
    let session = store.create().data(one()).await.unwrap();
    store.load(&session.key).await.unwrap();
    let other = Store::new(pool_to(&database.config(), 1));

    let busy = join_all([pool.get(), pool.get()]).await;
    for _ in 0..3 {
        // The cache follows changes and answers loads although the pool has no free connection.
        other.create().data(one()).await.unwrap();
        store.catch_up().await;
        assert!(store.health().serving);
        let known = timeout(FOR_EVER, store.load(&session.key)).await;
        assert!(known.expect("it is known").unwrap().is_some());
    }
    // One more connection than the pool has.
    assert_eq!(to_pool.connected(), 3);
    other.revoke(session.id).await.unwrap();
    store.catch_up().await;
    drop(busy);
    assert_eq!(data(&store, &session.key).await, None);
    // It is closed when it is no longer needed.
    store.catch_up().await;
    until(async || to_pool.connected() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_does_not_answer_stops_the_cache_until_it_answers() {
    let cached = Cached::with(hurried()).await;
    let session = cached.begin().await;
    cached.pool.stall();
    let is_stopped = until(async || !cached.store.health().serving);
    timeout(FOR_EVER, is_stopped)
        .await
        .expect("the cache stops answering");
    cached.other.revoke(session.id).await.unwrap();
    cached.pool.release();
    until_serving(&cached.store).await;
    assert_eq!(data(&cached.store, &session.key).await, None);
}
