//! Notifiers that cannot be started, or that end at the wrong moment: listeners are still notified
//! of every commit, and no later commit is needed.

use super::ring::notifier;
use super::{Listener, ids, prepare, problem, server_with, server_with_ring, status};
use crate::common::{Begun, begin, row};
use qsessions_testkit::Server;
use std::collections::BTreeSet;
use tokio::task::JoinSet;
use tokio_postgres::Client;

/// Creates sessions and ends them; returns them.
async fn write(client: &Client, count: usize) -> Vec<Begun> {
    let mut ended = Vec::new();
    for _ in 0..count {
        let session = begin(client, "").await;
        row(client, "SELECT qsessions.logout($1)", &[&session.key]).await;
        ended.push(session);
    }
    ended
}

async fn writers(server: &Server, database: &str, count: usize) -> Vec<Begun> {
    let mut writers = JoinSet::new();
    for _ in 0..count {
        let client = server.connect(database).await.unwrap();
        writers.spawn(async move { write(&client, 40).await });
    }
    writers.join_all().await.concat()
}

/// The ids that are received until all of these were.
async fn receive_all(listener: &mut Listener, sessions: &[Begun]) -> BTreeSet<String> {
    let mut missing = ids(sessions);
    let mut received = BTreeSet::new();
    while !missing.is_empty() {
        let payload = listener.payloads.recv().await.unwrap();
        for id in payload.split(',') {
            missing.remove(id);
            received.insert(id.to_owned());
        }
    }
    received
}

#[tokio::test]
async fn without_a_free_worker_each_transaction_does_the_notify_itself() {
    // The only worker is the launcher of logical replication.
    let server = server_with(&[
        ("shared_preload_libraries", "qsessions"),
        ("max_worker_processes", "1"),
    ])
    .await;
    let mut listener = Listener::new(server.config("postgres")).await;
    let observer = server.connect("postgres").await.unwrap();
    let ended = writers(&server, "postgres", 16).await;
    // Nothing waits in the ring for a notifier.
    assert_eq!(status(&observer, "backlog").await, Some(0));
    assert_eq!(receive_all(&mut listener, &ended).await, ids(&ended));
    let reported = problem(&observer).await.unwrap();
    assert!(reported.contains("max_worker_processes"), "{reported}");
}

#[tokio::test]
async fn more_databases_than_workers_all_notify() {
    let server = server_with(&[
        ("shared_preload_libraries", "qsessions"),
        ("max_worker_processes", "3"),
    ])
    .await;
    let admin = server.connect("postgres").await.unwrap();
    let mut databases = JoinSet::new();
    for number in 0..6 {
        let name = format!("busy_{number}");
        admin
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
        prepare(&server.connect(&name).await.unwrap()).await;
        let mut listener = Listener::new(server.config(&name)).await;
        let clients = [
            server.connect(&name).await.unwrap(),
            server.connect(&name).await.unwrap(),
        ];
        databases.spawn(async move {
            let ended = tokio::join!(write(&clients[0], 100), write(&clients[1], 100));
            let ended = [ended.0, ended.1].concat();
            assert_eq!(receive_all(&mut listener, &ended).await, ids(&ended));
        });
    }
    databases.join_all().await;
}

#[tokio::test]
async fn a_notifier_that_ends_again_and_again_loses_nothing() {
    let server = server_with_ring().await;
    let mut listener = Listener::new(server.config("postgres")).await;
    let observer = server.connect("postgres").await.unwrap();
    let writers = writers(&server, "postgres", 6);
    tokio::pin!(writers);
    let ended = loop {
        tokio::select! {
            ended = &mut writers => break ended,
            _ = observer.query(
                "SELECT pg_terminate_backend(notifier_pid) FROM qsessions.invalidation_status()", &[],
            ) => {}
        }
    };
    // Once more, while it may be starting.
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'qsessions notifier'";
    observer.query(terminate, &[]).await.unwrap();
    receive_all(&mut listener, &ended).await;
}

#[tokio::test]
async fn the_backlog_of_a_killed_notifier_is_sent_without_a_later_commit() {
    use nix::sys::signal::{Signal, kill};

    let server = server_with_ring().await;
    let mut listener = Listener::new(server.config("postgres")).await;
    let observer = server.connect("postgres").await.unwrap();
    let pid = notifier(&mut listener).await;
    kill(pid, Signal::SIGSTOP).unwrap();
    let ended = write(&observer, 3).await;
    assert_eq!(status(&observer, "backlog").await, Some(3));
    // Existing connections still change sessions, of which listeners must be notified.
    let elsewhere = server.connect("template1").await.unwrap();
    elsewhere
        .batch_execute("ALTER DATABASE postgres ALLOW_CONNECTIONS false")
        .await
        .unwrap();
    kill(pid, Signal::SIGTERM).unwrap();
    kill(pid, Signal::SIGCONT).unwrap();
    assert_eq!(receive_all(&mut listener, &ended).await, ids(&ended));
}
