//! Prepared transactions when the server crashes, restarts, or is promoted.

use super::{before_a_probe, commit, commit_without_a_look, prepare_logout, receive, waiting};
use crate::common::listener::Listener;
use crate::common::row;
use crate::common::waiting::backend;
use crate::invalidation::{ids, prepare, server_with_ring};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use qsessions_testkit::{Server, StopMode};
use std::collections::BTreeSet;
use std::io::Write as _;
use tokio_postgres::Client;

async fn durable_server() -> Server {
    let server = Server::builder()
        .setting("shared_preload_libraries", "qsessions")
        .setting("max_prepared_transactions", "5")
        .durable()
        .start()
        .await
        .unwrap();
    prepare(&server.connect("postgres").await.unwrap()).await;
    server
}

#[tokio::test]
async fn prepared_transactions_survive_crashes_with_their_ids() {
    let mut server = durable_server().await;
    let client = server.connect("postgres").await.unwrap();
    let on_disk = prepare_logout(&client, "on disk").await;
    client.batch_execute("CHECKPOINT").await.unwrap();
    let in_the_log = prepare_logout(&client, "in the log").await;
    prepare_logout(&client, "undone").await;
    server.stop(StopMode::Immediate).unwrap();
    server.start().await.unwrap();
    let mut listener = Listener::new(server.config("postgres")).await;
    assert_eq!(listener.notified().await, BTreeSet::new());
    commit(&listener.client, "on disk").await;
    receive(&mut listener, &ids([&on_disk])).await;

    // Every process of the server ends if one is killed.
    let pid = Pid::from_raw(backend(&client_of(&server).await).await);
    kill(pid, Signal::SIGKILL).unwrap();
    while listener.payloads.recv().await.is_some() {}
    let client = client_of(&server).await;
    let mut listener = Listener::new(server.config("postgres")).await;
    commit(&client, "in the log").await;
    receive(&mut listener, &ids([&in_the_log])).await;
    client
        .batch_execute("ROLLBACK PREPARED 'undone'")
        .await
        .unwrap();
    assert_eq!(listener.notified().await, BTreeSet::new());
}

/// Connects as soon as the server accepts connections.
async fn client_of(server: &Server) -> Client {
    loop {
        if let Ok(client) = server.connect("postgres").await
            && client.batch_execute("SELECT 1").await.is_ok()
        {
            return client;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_a_crash_has_kept_from_being_sent_is_sent_later() {
    let mut server = durable_server().await;
    let client = server.connect("postgres").await.unwrap();
    let session = prepare_logout(&client, "unsent").await;
    commit_without_a_look(&server, "unsent").await;
    server.stop(StopMode::Immediate).unwrap();
    server.start().await.unwrap();
    let mut listener = Listener::new(server.config("postgres")).await;
    // Where the connection itself writes WAL, by pruning a page of the catalogue, they were sent
    // before it listened.
    let heard = listener.notified().await;
    assert!(heard.is_empty() || heard == ids([&session]), "{heard:?}");
    assert_eq!(waiting(&listener.client).await, 0);
}

#[tokio::test]
async fn without_the_library_after_a_restart_probes_still_come_after_the_ids() {
    let mut server = durable_server().await;
    let client = server.connect("postgres").await.unwrap();
    let session = prepare_logout(&client, "left over").await;
    server.stop(StopMode::Fast).unwrap();
    let configuration = server.data().join("postgresql.conf");
    std::fs::OpenOptions::new()
        .append(true)
        .open(configuration)
        .unwrap()
        .write_all(b"shared_preload_libraries = ''\n")
        .unwrap();
    server.start().await.unwrap();
    let mut listener = Listener::new(server.config("postgres")).await;
    // This process does not load the library.
    commit(&server.connect("postgres").await.unwrap(), "left over").await;
    assert_eq!(before_a_probe(&mut listener).await, ids([&session]));
}

#[tokio::test]
async fn a_promoted_standby_notifies_of_prepared_transactions() {
    let primary = server_with_ring().await;
    let admin = primary.connect("postgres").await.unwrap();
    let standby = Server::builder().start_standby_of(&primary).await.unwrap();
    let observer = standby.connect("postgres").await.unwrap();
    let session = prepare_logout(&admin, "moved").await;
    let end = row(&admin, "SELECT pg_current_wal_insert_lsn()::text", &[]).await;
    let replayed = "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn";
    let end: &str = end.get(0);
    while !row(&observer, replayed, &[&end]).await.get::<_, bool>(0) {}
    row(&observer, "SELECT pg_promote()", &[]).await;
    let mut listener = Listener::new(standby.config("postgres")).await;
    assert_eq!(listener.notified().await, BTreeSet::new());
    commit(&observer, "moved").await;
    receive(&mut listener, &ids([&session])).await;
}
