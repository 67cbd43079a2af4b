//! Background workers that cannot be had, do not come up, or end at the wrong moment: what was committed is announced all
//! the same, and it needs no later commit.

use super::ring::announcer;
use super::{Heard, ids, prepare, problem, server_with, server_with_ring, status};
use crate::common::{Begun, begin, row};
use qsessions_testkit::Server;
use std::collections::BTreeSet;
use tokio::task::JoinSet;
use tokio_postgres::Client;

/// Begins and ends sessions; gives those that it has ended.
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

/// What is heard until all of these were.
async fn all_heard(heard: &mut Heard, sessions: &[Begun]) -> BTreeSet<String> {
    let mut missing = ids(sessions);
    let mut announced = BTreeSet::new();
    while !missing.is_empty() {
        let payload = heard.payloads.recv().await.unwrap();
        for id in payload.split(',') {
            missing.remove(id);
            announced.insert(id.to_owned());
        }
    }
    announced
}

#[tokio::test]
async fn without_a_free_worker_each_transaction_announces_by_itself() {
    // The one that there is launches logical replication.
    let server = server_with(&[
        ("shared_preload_libraries", "qsessions"),
        ("max_worker_processes", "1"),
    ])
    .await;
    let mut heard = Heard::of(server.config("postgres")).await;
    let observer = server.connect("postgres").await.unwrap();
    let ended = writers(&server, "postgres", 16).await;
    // Nothing has been left to a worker that there is none of.
    assert_eq!(status(&observer, "backlog").await, Some(0));
    assert_eq!(all_heard(&mut heard, &ended).await, ids(&ended));
    let told = problem(&observer).await.unwrap();
    assert!(told.contains("max_worker_processes"), "{told}");
}

#[tokio::test]
async fn more_databases_than_workers_all_announce() {
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
        let mut heard = Heard::of(server.config(&name)).await;
        let clients = [
            server.connect(&name).await.unwrap(),
            server.connect(&name).await.unwrap(),
        ];
        databases.spawn(async move {
            let ended = tokio::join!(write(&clients[0], 100), write(&clients[1], 100));
            let ended = [ended.0, ended.1].concat();
            assert_eq!(all_heard(&mut heard, &ended).await, ids(&ended));
        });
    }
    databases.join_all().await;
}

#[tokio::test]
async fn a_worker_that_ends_again_and_again_leaves_nothing_unannounced() {
    let server = server_with_ring().await;
    let mut heard = Heard::of(server.config("postgres")).await;
    let observer = server.connect("postgres").await.unwrap();
    let writers = writers(&server, "postgres", 6);
    tokio::pin!(writers);
    let ended = loop {
        tokio::select! {
            ended = &mut writers => break ended,
            _ = observer.query(
                "SELECT pg_terminate_backend(announcer_pid) FROM qsessions.invalidation_status()", &[],
            ) => {}
        }
    };
    // And at once again, whether it has come up or not.
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'qsessions announcer'";
    observer.query(terminate, &[]).await.unwrap();
    all_heard(&mut heard, &ended).await;
}

#[tokio::test]
async fn what_waits_in_the_ring_when_its_worker_is_killed_needs_no_later_commit() {
    use nix::sys::signal::{Signal, kill};

    let server = server_with_ring().await;
    let mut heard = Heard::of(server.config("postgres")).await;
    let observer = server.connect("postgres").await.unwrap();
    let pid = announcer(&mut heard).await;
    kill(pid, Signal::SIGSTOP).unwrap();
    let ended = write(&observer, 3).await;
    assert_eq!(status(&observer, "backlog").await, Some(3));
    // Whoever is connected goes on changing sessions then, and has to be announced.
    let elsewhere = server.connect("template1").await.unwrap();
    elsewhere
        .batch_execute("ALTER DATABASE postgres ALLOW_CONNECTIONS false")
        .await
        .unwrap();
    kill(pid, Signal::SIGTERM).unwrap();
    kill(pid, Signal::SIGCONT).unwrap();
    assert_eq!(all_heard(&mut heard, &ended).await, ids(&ended));
}
