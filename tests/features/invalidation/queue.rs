//! A NOTIFY queue that somebody fills: the life of sessions goes on, and what was not announced is made good.
//!
//! The queue holds 8 GB. The servers here take it for full when there is as much in it as one test can put there.

use super::ring::announcer;
use super::{Heard, everything, heard_until, ids, problem, server_with, status};
use crate::common::{begin, failure, row};
use nix::sys::signal::{Signal, kill};
use qsessions_testkit::{Server, connect};
use std::collections::BTreeSet;
use tokio_postgres::Client;
use uuid::Uuid;

/// Pages of 8 kB, of which the queue has 1,048,576.
const LIMIT: (&str, &str) = ("qsessions.notify_queue_limit", "0.00005");

/// A role that may do nothing but connect, and holds the queue up.
struct Mallory {
    listener: Client,
}

impl Mallory {
    async fn fills_the_queue(server: &Server) -> Self {
        let admin = server.connect("postgres").await.unwrap();
        admin
            .batch_execute(
                "DO $$ BEGIN CREATE ROLE mallory LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
            )
            .await
            .unwrap();
        // Any database will do.
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

    /// Returns when the queue is empty again.
    async fn gives_up(self, observer: &Client) {
        self.listener.batch_execute("ROLLBACK").await.unwrap();
        while row(observer, "SELECT pg_notification_queue_usage()", &[])
            .await
            .get::<_, f64>(0)
            > 0.0
        {}
    }
}

/// A role as an application has it, with no right on what the extension keeps for itself.
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
async fn without_preload_what_a_full_queue_kept_back_is_made_good_before_anything_else_is_heard() {
    let server = server_with(&[LIMIT]).await;
    let mut heard = Heard::of(server.config("postgres")).await;
    let shop = application(&server).await;
    let observer = server.connect("postgres").await.unwrap();
    // Twice, for what it leaves must not hold up the next time.
    for _ in 0..2 {
        let (saved, ended) = (begin(&shop, "").await, begin(&shop, "").await);
        heard.announced().await;
        assert_eq!(problem(&observer).await, None);

        let mallory = Mallory::fills_the_queue(&server).await;
        row(
            &shop,
            "SELECT qsessions.save_session($1, '{\"a\": 1}')",
            &[&saved.key],
        )
        .await;
        row(&shop, "SELECT qsessions.login($1, 1)", &[&saved.key]).await;
        // Whatever the transaction is like.
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
        let told = problem(&observer).await.unwrap();
        assert!(told.contains("NOTIFY queue"), "{told}");
        let owed = row(
            &observer,
            "SELECT count(*) FROM qsessions.invalidation_state WHERE is_behind",
            &[],
        );
        assert_eq!(owed.await.get::<_, i64>(0), 1);

        mallory.gives_up(&observer).await;
        assert_eq!(problem(&observer).await, None);
        // Who does not commit makes nothing good.
        shop.batch_execute(&format!(
            "BEGIN; SELECT qsessions.invalidate('{probe}'); ROLLBACK"
        ))
        .await
        .unwrap();
        row(&shop, "SELECT qsessions.invalidate($1)", &[&probe]).await;
        assert_eq!(
            heard_until(&mut heard, probe).await,
            ["*".to_owned(), probe.to_string()]
        );
        // Once is enough.
        row(&shop, "SELECT qsessions.invalidate($1)", &[&probe]).await;
        assert_eq!(heard_until(&mut heard, probe).await, [probe.to_string()]);
    }
    let log = std::fs::read_to_string(server.log_path()).unwrap();
    assert_eq!(
        log.matches("NOTIFY queue is too full to announce changed")
            .count(),
        2
    );
}

#[tokio::test]
async fn many_writers_leave_one_word_for_all_of_them() {
    let server = server_with(&[LIMIT]).await;
    let mut heard = Heard::of(server.config("postgres")).await;
    heard.announced().await;
    let mallory = Mallory::fills_the_queue(&server).await;
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
        &heard.client,
        "SELECT count(*) FROM qsessions.invalidation_state",
        &[],
    );
    assert_eq!(rows.await.get::<_, i64>(0), 1);
    mallory.gives_up(&heard.client).await;
    assert_eq!(heard.announced().await, everything());
}

#[tokio::test]
async fn with_preload_the_worker_waits_until_a_full_queue_has_room() {
    let server = server_with(&[LIMIT, ("shared_preload_libraries", "qsessions")]).await;
    let mut heard = Heard::of(server.config("postgres")).await;
    let observer = server.connect("postgres").await.unwrap();
    let log = || std::fs::read_to_string(server.log_path()).unwrap();
    const WAITS: &str = "WARNING:  the NOTIFY queue is too full to announce changed sessions";

    let session = begin(&heard.client, "").await;
    let pid = announcer(&mut heard).await;
    // Held up, so that it does not end for want of work meanwhile.
    kill(pid, Signal::SIGSTOP).unwrap();
    let mallory = Mallory::fills_the_queue(&server).await;
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

    mallory.gives_up(&observer).await;
    // It needs no further commit.
    let mut announced = BTreeSet::new();
    while announced.len() < 2 {
        let payload = heard.payloads.recv().await.unwrap();
        announced.extend(payload.split(',').map(str::to_owned));
    }
    assert_eq!(announced, ids([&session, &other]));
    assert_eq!(
        status(&observer, "announcer_pid").await,
        Some(pid.as_raw().into())
    );
    assert_eq!(log().matches(WAITS).count(), 1);
    assert_eq!(problem(&observer).await, None);
}
