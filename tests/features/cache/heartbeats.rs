//! Caches of a server with the ring share heartbeats, which show the same as probes.

use super::failover::{server, until_serving};
use super::{data, one, pool_to, unhurried, until};
use crate::common::row;
use deadpool_postgres::Pool;
use futures_util::future::join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use qsessions::{CacheConfig, CachedStore, Store};
use qsessions_testkit::{Proxy, Server};
use std::time::Duration;
use tokio_postgres::{Client, NoTls};

const DATABASE: &str = "postgres";

fn within(max_staleness: u64) -> CacheConfig {
    CacheConfig::new().max_staleness(Duration::from_millis(max_staleness))
}

/// A store with a cache, and the proxy of its pool.
struct Process {
    store: CachedStore,
    pool: Proxy,
}

impl Process {
    async fn start(server: &Server, config: CacheConfig) -> Self {
        let pool = Proxy::to(server).await.unwrap();
        let store = Store::builder(pool_to(&pool.config(&server.config(DATABASE)), 2))
            .cached(server.config(DATABASE), NoTls)
            .config(config)
            .build()
            .unwrap();
        store.ready().await.unwrap();
        Self { store, pool }
    }

    /// Waits until it has sent this many probes or requests of heartbeats.
    async fn has_probed(&self, times: u64) {
        let begun = self.pool.probed();
        until(async || self.pool.probed() >= begun + times).await;
    }
}

async fn status(client: &Client, column: &str) -> Option<i64> {
    let query = format!("SELECT {column}::bigint FROM qsessions.invalidation_status()");
    row(client, &query, &[]).await.get(0)
}

/// The notifier, stopped while it has nothing to send. Requests start it.
struct Stopped(Pid);

impl Stopped {
    async fn stop(admin: &Client) -> Self {
        let request = "SELECT qsessions.request_heartbeat()";
        let pid = loop {
            row(admin, request, &[]).await;
            if let Some(pid) = status(admin, "notifier_pid").await {
                break Pid::from_raw(pid.try_into().unwrap());
            }
        };
        until(async || status(admin, "backlog").await == Some(0)).await;
        kill(pid, Signal::SIGSTOP).unwrap();
        Self(pid)
    }

    fn go_on(self) {
        kill(self.0, Signal::SIGCONT).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_send_no_probes_of_their_own_unless_a_call_waits() {
    let (server, admin) = server(true).await;
    let mut processes = Vec::new();
    for _ in 0..4 {
        // A process that hears nothing for twice this time connects again.
        processes.push(Process::start(&server, within(8_000)).await);
    }
    let stopped = Stopped::stop(&admin).await;
    join_all(processes.iter().map(|process| process.has_probed(1))).await;
    assert_eq!(status(&admin, "backlog").await, Some(0));
    // A call that waits does not wait for the next heartbeat.
    let (first, store) = (&processes[0], processes[0].store.clone());
    let waiting = tokio::spawn(async move { store.catch_up().await });
    until(async || status(&admin, "backlog").await == Some(1)).await;
    stopped.go_on();
    waiting.await.unwrap();
    until_serving(&first.store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_must_know_sooner_sends_probes_of_its_own() {
    let (server, admin) = server(true).await;
    let process = Process::start(&server, within(200)).await;
    let stopped = Stopped::stop(&admin).await;
    until(async || status(&admin, "backlog").await > Some(0)).await;
    stopped.go_on();
    until_serving(&process.store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_stops_answering_while_no_heartbeat_comes() {
    let (server, admin) = server(true).await;
    let process = Process::start(&server, within(400)).await;
    let store = &process.store;
    let other = Store::new(pool_to(&server.config(DATABASE), 2));
    let session = other.create().data(one()).await.unwrap();
    assert_eq!(data(store, &session.key).await, Some(one()));
    let stopped = Stopped::stop(&admin).await;
    other.revoke(session.id).await.unwrap();
    until(async || !store.health().serving).await;
    assert_eq!(data(store, &session.key).await, None);
    stopped.go_on();
    until_serving(store).await;
    assert_eq!(data(store, &session.key).await, None);
}

/// A pool whose only connection exists already.
async fn connected_pool(proxy: &Proxy, server: &Server) -> Pool {
    let pool = pool_to(&proxy.config(&server.config(DATABASE)), 1);
    drop(pool.get().await.unwrap());
    pool
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_that_comes_before_the_answer_to_its_request_counts() {
    let (server, admin) = server(true).await;
    // A notifier runs, and has nothing to send.
    Stopped::stop(&admin).await.go_on();
    let proxy = Proxy::to(&server).await.unwrap();
    let pool = connected_pool(&proxy, &server).await;
    let mut listener = crate::common::listener::Listener::new(server.config(DATABASE)).await;
    proxy.keep_answers();
    let kept = proxy.kept_back();
    let store = Store::builder(pool)
        .unnamed_statements()
        .cached(server.config(DATABASE), NoTls)
        .config(unhurried())
        .build()
        .unwrap();
    proxy.answer_is_kept(kept).await;
    // The heartbeat, and an id after it.
    listener.notified().await;
    proxy.release();
    store.ready().await.unwrap();
    assert!(store.health().serving);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_sends_probes_to_an_earlier_version() {
    let (server, admin) = server(true).await;
    admin
        .batch_execute(
            "ALTER EXTENSION qsessions DROP FUNCTION qsessions.request_heartbeats(uuid);
             DROP FUNCTION qsessions.request_heartbeats(uuid)",
        )
        .await
        .unwrap();
    let process = Process::start(&server, within(400)).await;
    process.has_probed(3).await;
    until_serving(&process.store).await;
    let log = std::fs::read_to_string(server.log_path()).unwrap();
    assert!(!log.contains("ERROR"), "{log}");
}
