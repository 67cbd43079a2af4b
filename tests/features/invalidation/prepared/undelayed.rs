//! COMMIT PREPARED neither waits nor fails because of the notification: the transaction is committed
//! before that.

use super::planted::commit_vacuum_and_prune;
use super::{before_a_probe, commit, prepare_logout, receive, waiting};
use crate::common::listener::Listener;
use crate::common::waiting::backend;
use crate::common::{alive, row};
use crate::invalidation::{ids, server_with};
use qsessions_testkit::Server;
use std::collections::BTreeSet;
use tokio_postgres::Client;

/// A server that waits for a standby which is not there, unless commits are local.
async fn server_without_its_standby(workers: &str) -> Server {
    server_with(&[
        ("shared_preload_libraries", "qsessions"),
        ("max_prepared_transactions", "5"),
        ("max_worker_processes", workers),
        ("synchronous_standby_names", "nowhere"),
        ("synchronous_commit", "local"),
    ])
    .await
}

/// A session that waits for the standby. It holds the lock of the NOTIFY queue meanwhile.
struct Hanging(i32);

impl Hanging {
    async fn new(server: &Server, observer: &Client) -> Self {
        let client = server.connect("postgres").await.unwrap();
        let pid = backend(&client).await;
        tokio::spawn(async move {
            let commit = "SET synchronous_commit = on; BEGIN;
                          INSERT INTO users SELECT max(id) + 1 FROM users; NOTIFY elsewhere; COMMIT";
            // A server that has just started does not wait yet.
            while client.batch_execute(commit).await.is_ok() {}
        });
        let hangs = "SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = $1";
        while row(observer, hangs, &[&pid])
            .await
            .get::<_, Option<bool>>(0)
            != Some(true)
        {}
        Self(pid)
    }

    async fn end(self, observer: &Client) {
        let terminate = "SELECT pg_terminate_backend($1, 60000)";
        assert!(row(observer, terminate, &[&self.0]).await.get::<_, bool>(0));
    }
}

async fn limit_waiting(client: &Client) {
    client
        .batch_execute("SET lock_timeout = '500 ms'; SET statement_timeout = '60 s'")
        .await
        .unwrap();
}

#[tokio::test]
async fn while_the_queue_is_locked_and_no_notifier_runs_the_ids_are_left_to_the_next_one() {
    let server = server_without_its_standby("1").await;
    let mut listener = Listener::new(server.config("postgres")).await;
    let client = server.connect("postgres").await.unwrap();
    limit_waiting(&client).await;
    let session = prepare_logout(&client, "left").await;
    let hanging = Hanging::new(&server, &listener.client).await;
    commit(&client, "left").await;
    assert!(!alive(&client, &session.key).await);
    // Nor do statements wait that have changed no session.
    commit_vacuum_and_prune(&client).await;
    assert_eq!(waiting(&client).await, 1);
    hanging.end(&listener.client).await;
    assert_eq!(before_a_probe(&mut listener).await, ids([&session]));
    assert_eq!(waiting(&client).await, 0);

    // The same while the table of the record is locked.
    let session = prepare_logout(&client, "also left").await;
    let locking = server.connect("postgres").await.unwrap();
    let lock = "BEGIN; LOCK TABLE qsessions.invalidation_state";
    locking.batch_execute(lock).await.unwrap();
    commit(&client, "also left").await;
    assert_eq!(waiting(&client).await, 1);
    locking.batch_execute("ROLLBACK").await.unwrap();
    // Any statement that looks at the table sends what was left there.
    commit_vacuum_and_prune(&client).await;
    assert_eq!(waiting(&client).await, 0);
    receive(&mut listener, &ids([&session])).await;
    assert_eq!(before_a_probe(&mut listener).await, BTreeSet::new());
}

#[tokio::test]
async fn a_notifier_that_starts_sends_what_was_left() {
    let server = server_without_its_standby("8").await;
    let mut listener = Listener::new(server.config("postgres")).await;
    let client = server.connect("postgres").await.unwrap();
    limit_waiting(&client).await;
    let session = prepare_logout(&client, "left").await;
    let hanging = Hanging::new(&server, &listener.client).await;
    commit(&client, "left").await;
    hanging.end(&listener.client).await;
    receive(&mut listener, &ids([&session])).await;
    while waiting(&client).await > 0 {}
}
