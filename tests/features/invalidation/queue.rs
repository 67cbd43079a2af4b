//! A full NOTIFY queue: sessions can still be changed, and listeners receive `*` for the changes
//! once there is room.
//!
//! The queue holds 8 GB. The limit of the servers here is as low as the amount that one test can
//! put there.

use super::heartbeats::{received_until_heartbeat, request};
use super::ring::notifier;
use super::{Listener, everything, ids, problem, received_until, server_with, status};
use crate::common::{begin, failure, row};
use nix::sys::signal::{Signal, kill};
use qsessions_testkit::{Server, connect};
use std::collections::BTreeSet;
use tokio_postgres::Client;
use uuid::Uuid;

/// The queue has 1,048,576 pages of 8 kB.
const LIMIT: (&str, &str) = ("qsessions.notify_queue_limit", "0.00005");

/// A role that may only connect, and fills the queue.
struct Mallory {
    listener: Client,
}

impl Mallory {
    async fn fill_queue(server: &Server) -> Self {
        let admin = server.connect("postgres").await.unwrap();
        admin
            .batch_execute(
                "DO $$ BEGIN CREATE ROLE mallory LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
            )
            .await
            .unwrap();
        // It may be any database.
        let config = server.config("template1").user("mallory").clone();
        let listener = connect(&config).await.unwrap();
        listener.batch_execute("LISTEN mine").await.unwrap();
        listener.batch_execute("BEGIN; SELECT 1").await.unwrap();
        let client = connect(&config).await.unwrap();
        row(
            &client,
            "SELECT count(pg_notify('mine', repeat('x', 7900) || n)) FROM generate_series(1, 100) AS n",
            &[],
        )
        .await;
        Self { listener }
    }

    /// Ends the transaction; returns when the queue is empty again.
    async fn give_up(self, observer: &Client) {
        self.listener.batch_execute("ROLLBACK").await.unwrap();
        while row(observer, "SELECT pg_notification_queue_usage()", &[])
            .await
            .get::<_, f64>(0)
            > 0.0
        {}
    }
}

/// The role of an application, without privileges on the internal table.
async fn application(server: &Server) -> Client {
    let admin = server.connect("postgres").await.unwrap();
    admin
        .batch_execute("CREATE ROLE shop LOGIN; SELECT qsessions.grant_access('shop')")
        .await
        .unwrap();
    connect(server.config("postgres").user("shop"))
        .await
        .unwrap()
}

#[tokio::test]
async fn without_preload_a_listener_receives_everything_before_other_ids_after_a_full_queue() {
    let server = server_with(&[LIMIT]).await;
    let mut listener = Listener::new(server.config("postgres")).await;
    let shop = application(&server).await;
    let observer = server.connect("postgres").await.unwrap();
    // Twice: the first time must leave nothing that prevents the second.
    for _ in 0..2 {
        let (saved, ended) = (begin(&shop, "").await, begin(&shop, "").await);
        listener.notified().await;
        assert_eq!(problem(&observer).await, None);

        let mallory = Mallory::fill_queue(&server).await;
        row(
            &shop,
            "SELECT qsessions.save_session($1, '{\"a\": 1}')",
            &[&saved.key],
        )
        .await;
        row(&shop, "SELECT qsessions.login($1, 1)", &[&saved.key]).await;
        // Also in a serializable transaction.
        shop.batch_execute(&format!(
            "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT qsessions.logout('{}'); COMMIT",
            ended.key
        ))
        .await
        .unwrap();
        let probe = Uuid::from_u128(7);
        let refused = failure(&shop, "SELECT qsessions.invalidate($1)", &[&probe]).await;
        assert_eq!(refused.code, "53000");
        assert!(refused.hint.contains("idle_in_transaction_session_timeout"));
        let reported = problem(&observer).await.unwrap();
        assert!(reported.contains("NOTIFY queue"), "{reported}");
        let behind = row(
            &observer,
            "SELECT count(*) FROM qsessions.invalidation_state WHERE is_behind",
            &[],
        );
        assert_eq!(behind.await.get::<_, i64>(0), 1);

        mallory.give_up(&observer).await;
        assert_eq!(problem(&observer).await, None);
        // A rollback leaves the record as it was.
        shop.batch_execute(&format!(
            "BEGIN; SELECT qsessions.invalidate('{probe}'); ROLLBACK"
        ))
        .await
        .unwrap();
        row(&shop, "SELECT qsessions.invalidate($1)", &[&probe]).await;
        assert_eq!(
            received_until(&mut listener, probe).await,
            ["*".to_owned(), probe.to_string()]
        );
        // The next transaction does not send it again.
        row(&shop, "SELECT qsessions.invalidate($1)", &[&probe]).await;
        assert_eq!(
            received_until(&mut listener, probe).await,
            [probe.to_string()]
        );
    }
    let log = std::fs::read_to_string(server.log_path()).unwrap();
    assert_eq!(
        log.matches("NOTIFY queue is too full to notify of changed")
            .count(),
        2
    );
}

#[tokio::test]
async fn many_writers_leave_one_row_in_the_record() {
    let server = server_with(&[LIMIT]).await;
    let mut listener = Listener::new(server.config("postgres")).await;
    listener.notified().await;
    let mallory = Mallory::fill_queue(&server).await;
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let client = server.connect("postgres").await.unwrap();
        writers.spawn(async move {
            for _ in 0..20 {
                let session = begin(&client, "").await;
                row(&client, "SELECT qsessions.logout($1)", &[&session.key]).await;
            }
        });
    }
    writers.join_all().await;
    let rows = row(
        &listener.client,
        "SELECT count(*) FROM qsessions.invalidation_state",
        &[],
    );
    assert_eq!(rows.await.get::<_, i64>(0), 1);
    mallory.give_up(&listener.client).await;
    assert_eq!(listener.notified().await, everything());
}

#[tokio::test]
async fn with_preload_the_notifier_waits_until_a_full_queue_has_room() {
    let server = server_with(&[LIMIT, ("shared_preload_libraries", "qsessions")]).await;
    let mut listener = Listener::new(server.config("postgres")).await;
    let observer = server.connect("postgres").await.unwrap();
    let log = || std::fs::read_to_string(server.log_path()).unwrap();
    const WAITS: &str = "WARNING:  the NOTIFY queue is too full to notify of changed sessions";

    let session = begin(&listener.client, "").await;
    let pid = notifier(&mut listener).await;
    // Stopped, so that it does not end for lack of work meanwhile.
    kill(pid, Signal::SIGSTOP).unwrap();
    let heartbeat = request(&observer).await;
    let mallory = Mallory::fill_queue(&server).await;
    row(&observer, "SELECT qsessions.logout($1)", &[&session.key]).await;
    kill(pid, Signal::SIGCONT).unwrap();
    while !log().contains(WAITS) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let other = begin(&observer, "").await;
    row(&observer, "SELECT qsessions.logout($1)", &[&other.key]).await;
    assert_eq!(status(&observer, "backlog").await, Some(2));
    assert!(problem(&observer).await.unwrap().contains("NOTIFY queue"));
    let refused = failure(
        &observer,
        "SELECT qsessions.invalidate($1)",
        &[&Uuid::nil()],
    )
    .await;
    assert_eq!(refused.code, "53000");
    let refused = failure(&observer, "SELECT qsessions.request_heartbeat()", &[]).await;
    assert_eq!(refused.code, "53000");

    mallory.give_up(&observer).await;
    // No further commit is needed.
    let mut notified = BTreeSet::new();
    while notified.len() < 2 {
        let payload = listener.payloads.recv().await.unwrap();
        notified.extend(payload.split(',').map(str::to_owned));
    }
    assert_eq!(notified, ids([&session, &other]));
    received_until_heartbeat(&mut listener, &heartbeat).await;
    assert_eq!(
        status(&observer, "notifier_pid").await,
        Some(pid.as_raw().into())
    );
    assert_eq!(log().matches(WAITS).count(), 1);
    assert_eq!(problem(&observer).await, None);
}
