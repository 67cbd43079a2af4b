//! A cache that listens to several servers, over which sessions are distributed.
//!
//! Two plain servers stand for a cluster. The functions of the first are replaced: they ask the
//! second one too, as those of a table that Citus has distributed do. `citus.rs` tests the same with
//! Citus, where there is one.

use super::failover::{server, until_serving};
use super::{data, one, pool_to, unhurried, until};
use qsessions::{CacheConfig, CachedStore, Error, Key, Store};
use qsessions_testkit::{Proxy, Server, StopMode};
use serde_json::json;
use std::time::Duration;
use tokio_postgres::{Client, Config, NoTls};

const DATABASE: &str = "postgres";

/// What the first server does in place of Citus. `%s` is how to connect to the second one.
const ROUTES: &str = r"
    CREATE EXTENSION dblink;
    CREATE TABLE layout (server text PRIMARY KEY, layout text, placements text);
    INSERT INTO layout VALUES ('first', 'one', 'one'), ('second', 'one', 'one');

    CREATE OR REPLACE FUNCTION qsessions.load_for_cache(key text) RETURNS SETOF qsessions.cacheable_session
    LANGUAGE plpgsql AS $$
    BEGIN
        RETURN QUERY SELECT * FROM qsessions._distributed_load_for_cache(key);
        IF NOT FOUND THEN
            RETURN QUERY
                SELECT (s.session::qsessions.cacheable_session).*
                FROM dblink('%s', format('SELECT s::text FROM qsessions.load_for_cache(%L) AS s', key)) AS s (session text);
        END IF;
    END
    $$;

    ALTER EXTENSION qsessions DROP FUNCTION qsessions.request_heartbeats(uuid);
    ALTER FUNCTION qsessions.request_heartbeats(uuid) RENAME TO own_heartbeats;
    CREATE FUNCTION qsessions.request_heartbeats(probe uuid DEFAULT NULL)
    RETURNS TABLE (server text, has_sessions boolean, server_started_at timestamptz, database text, channel text,
                   clock timestamptz, digest bytea, layout text, placements text)
    LANGUAGE plpgsql AS $$
    BEGIN
        RETURN QUERY
            SELECT l.server, true, h.server_started_at, h.database, h.channel, h.clock, h.digest, l.layout, l.placements
            FROM qsessions.own_heartbeats(probe) AS h JOIN layout AS l ON l.server = 'first';
        RETURN QUERY
            SELECT l.server, true, h.server_started_at, h.database, h.channel, h.clock, h.digest, l.layout, l.placements
            FROM dblink('%s', format(
                     'SELECT server_started_at, database, channel, clock, digest FROM qsessions.request_heartbeats(%L)',
                     probe))
                 AS h (server_started_at timestamptz, database text, channel text, clock timestamptz, digest bytea)
            JOIN layout AS l ON l.server = 'second';
    EXCEPTION WHEN sqlclient_unable_to_establish_sqlconnection THEN
        RETURN QUERY SELECT 'second', true, NULL::timestamptz, NULL, NULL, NULL::timestamptz, NULL::bytea, NULL, NULL;
    END
    $$;
";

/// Two servers, and the ways to them of a process with a cache.
struct Cluster {
    first: Server,
    second: Server,
    admin: Client,
    /// The proxy of the pool.
    pool: Proxy,
    /// The proxy of the listener of the second server.
    listener: Proxy,
}

impl Cluster {
    async fn start() -> Self {
        let (first, admin) = server(true).await;
        let second = server(true).await.0;
        let to_second = format!(
            "host={} dbname={DATABASE} user=postgres",
            second.socket().parent().unwrap().display()
        );
        execute(&admin, &ROUTES.replace("%s", &to_second)).await;
        let pool = Proxy::to(&first).await.unwrap();
        let listener = Proxy::to(&second).await.unwrap();
        Self {
            first,
            second,
            admin,
            pool,
            listener,
        }
    }

    fn listeners(&self) -> [Config; 2] {
        let second = self.listener.config(&self.second.config(DATABASE));
        [self.first.config(DATABASE), second]
    }

    fn build(&self, listeners: &[Config], config: CacheConfig) -> CachedStore {
        Store::builder(pool_to(&self.pool.config(&self.first.config(DATABASE)), 2))
            .cached_on_servers(listeners.iter().cloned(), NoTls)
            .config(config)
            .build()
            .unwrap()
    }

    async fn store(&self, config: CacheConfig) -> CachedStore {
        let store = self.build(&self.listeners(), config);
        store.ready().await.unwrap();
        store
    }

    /// Why a store with these listeners will never be ready.
    async fn refusal(&self, listeners: &[Config]) -> String {
        match self.build(listeners, unhurried()).ready().await {
            Err(Error::Listener { message }) => message,
            other => panic!("{other:?}"),
        }
    }

    /// Stores of other processes, which know one server each.
    fn others(&self) -> [Store; 2] {
        [&self.first, &self.second].map(|server| Store::new(pool_to(&server.config(DATABASE), 1)))
    }

    /// Whether a load needs no statement.
    async fn is_cached(&self, store: &CachedStore, key: &Key) -> bool {
        let before = self.pool.executed();
        store.load(key).await.unwrap();
        self.pool.executed() == before
    }

    /// Changes how sessions are distributed, as one or all servers say.
    async fn set_layout(&self, layout: &str, condition: &str) {
        let update = format!("UPDATE layout SET layout = '{layout}' WHERE {condition}");
        execute(&self.admin, &update).await;
    }
}

async fn execute(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap();
}

/// A session of each server that the cache has returned once.
async fn begin(store: &CachedStore, others: &[Store; 2]) -> [Key; 2] {
    let mut keys = Vec::new();
    for other in others {
        let session = other.create().data(one()).await.unwrap();
        assert_eq!(data(store, &session.key).await, Some(one()));
        keys.push(session.key);
    }
    keys.try_into().unwrap()
}

fn within(max_staleness: u64) -> CacheConfig {
    CacheConfig::new().max_staleness(Duration::from_millis(max_staleness))
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_each_server_are_cached_until_any_process_changes_them() {
    let cluster = Cluster::start().await;
    let (store, others) = (cluster.store(unhurried()).await, cluster.others());
    assert_eq!(store.health().error, None);
    let keys = begin(&store, &others).await;
    for (key, other) in keys.iter().zip(&others) {
        assert!(cluster.is_cached(&store, key).await);
        other.patch(key, json!({"n": 2})).await.unwrap();
        store.catch_up().await;
        assert!(!cluster.is_cached(&store, key).await);
        assert_eq!(data(&store, key).await, Some(json!({"n": 2})));
        other.logout(key).await.unwrap();
        store.catch_up().await;
        assert_eq!(data(&store, key).await, None);
    }
    let absent = Key::from("a key that no session has");
    assert_eq!(data(&store, &absent).await, None);
    assert!(cluster.is_cached(&store, &absent).await);
    // What concerns one of them is kept out of the other.
    let keys = begin(&store, &others).await;
    others[1].patch(&keys[1], json!({"n": 2})).await.unwrap();
    store.catch_up().await;
    assert!(cluster.is_cached(&store, &keys[0]).await);
    execute(
        &cluster.second.connect(DATABASE).await.unwrap(),
        "TRUNCATE qsessions.session",
    )
    .await;
    store.catch_up().await;
    assert_eq!(data(&store, &keys[1]).await, None);
    assert!(cluster.is_cached(&store, &keys[0]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_stalls_stops_only_the_sessions_of_its_server() {
    let cluster = Cluster::start().await;
    let (store, others) = (cluster.store(within(400)).await, cluster.others());
    let keys = begin(&store, &others).await;
    cluster.listener.stall();
    others[1].patch(&keys[1], json!({"n": 2})).await.unwrap();
    until(async || data(&store, &keys[1]).await == Some(json!({"n": 2}))).await;
    until(async || {
        let health = store.health();
        !health.serving
            && health
                .error
                .is_some_and(|error| error.starts_with("listener 2 ("))
    })
    .await;
    assert!(!cluster.is_cached(&store, &keys[1]).await);
    until(async || cluster.is_cached(&store, &keys[0]).await).await;
    others[0].patch(&keys[0], json!({"n": 3})).await.unwrap();
    until(async || data(&store, &keys[0]).await == Some(json!({"n": 3}))).await;

    cluster.listener.release();
    cluster.listener.cut().await;
    until_serving(&store).await;
    until(async || cluster.is_cached(&store, &keys[1]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_others_serve_while_one_server_is_down() {
    let mut cluster = Cluster::start().await;
    let (store, others) = (cluster.store(within(800)).await, cluster.others());
    let keys = begin(&store, &others).await;
    cluster.second.stop(StopMode::Fast).unwrap();
    until(async || !store.health().serving).await;
    until(async || cluster.is_cached(&store, &keys[0]).await).await;
    assert!(store.load(&keys[1]).await.is_err());
    others[0].patch(&keys[0], json!({"n": 2})).await.unwrap();
    until(async || data(&store, &keys[0]).await == Some(json!({"n": 2}))).await;

    cluster.second.start().await.unwrap();
    until_serving(&store).await;
    assert_eq!(data(&store, &keys[1]).await, Some(one()));
    until(async || cluster.is_cached(&store, &keys[1]).await).await;
    // It is another one of the other servers now, by when it was started.
    let other = &cluster.others()[1];
    other.patch(&keys[1], json!({"n": 4})).await.unwrap();
    until(async || data(&store, &keys[1]).await == Some(json!({"n": 4}))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_of_sessions_that_were_moved_to_another_server() {
    let cluster = Cluster::start().await;
    let (store, others) = (cluster.store(within(400)).await, cluster.others());
    let [key, _] = begin(&store, &others).await;
    // Citus drops the rows of the former place without a trigger.
    execute(
        &cluster.admin,
        "ALTER TABLE qsessions.session DISABLE TRIGGER USER; DELETE FROM qsessions.session;
         ALTER TABLE qsessions.session ENABLE TRIGGER USER",
    )
    .await;
    others[1]
        .create()
        .key(&key)
        .data(json!({"n": 2}))
        .await
        .unwrap();
    cluster.set_layout("two", "true").await;
    until(async || data(&store, &key).await == Some(json!({"n": 2}))).await;
    until(async || cluster.is_cached(&store, &key).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_answered_from_memory_while_servers_disagree_on_where_sessions_are() {
    let cluster = Cluster::start().await;
    let (store, others) = (cluster.store(within(400)).await, cluster.others());
    let keys = begin(&store, &others).await;
    cluster.set_layout("two", "server = 'second'").await;
    until(async || {
        let health = store.health();
        !health.serving
            && health
                .error
                .is_some_and(|error| error.contains("being moved"))
    })
    .await;
    for key in &keys {
        assert!(!cluster.is_cached(&store, key).await);
    }
    cluster.set_layout("two", "server = 'first'").await;
    until_serving(&store).await;
    for key in &keys {
        until(async || cluster.is_cached(&store, key).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_a_server_without_a_listener_are_not_cached() {
    let cluster = Cluster::start().await;
    let store = cluster.build(&cluster.listeners()[..1], unhurried());
    store.ready().await.unwrap();
    let keys = begin(&store, &cluster.others()).await;
    assert!(cluster.is_cached(&store, &keys[0]).await);
    assert!(!cluster.is_cached(&store, &keys[1]).await);
    let error = store.health().error.unwrap();
    assert!(
        error.contains("no listener is connected to second"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_that_cannot_work_are_refused_with_the_reason() {
    let cluster = Cluster::start().await;
    let [first, second] = cluster.listeners();
    let refusal = cluster
        .refusal(&[first.clone(), second.clone(), first.clone()])
        .await;
    assert!(
        refusal.contains("another listener is connected to the same server"),
        "{refusal}"
    );
    assert!(refusal.starts_with("listener "), "{refusal}");
    let stranger = server(true).await.0;
    let refusal = cluster
        .refusal(&[first.clone(), second, stranger.config(DATABASE)])
        .await;
    assert!(refusal.starts_with("listener 3 ("), "{refusal}");
    assert!(
        refusal.contains("the pool's server does not know this server"),
        "{refusal}"
    );

    let pool = || pool_to(&first, 1);
    let ready = async |store: CachedStore| store.ready().await.unwrap_err().to_string();
    let alone = Store::builder(pool()).cached(first.clone(), NoTls).build();
    let refusal = ready(alone.unwrap()).await;
    assert!(refusal.contains("cached_on_servers"), "{refusal}");
    for count in [0, 65] {
        let many = std::iter::repeat_n(first.clone(), count);
        let built = Store::builder(pool())
            .cached_on_servers(many, NoTls)
            .build();
        assert!(matches!(built, Err(Error::Configuration { .. })));
    }
}
