//! What becomes of announcements when the worker is killed, the ring overflows, the server crashes or is promoted, and
//! when there are more databases than one.

use super::{everything, ids, prepare, server_with_ring, status};
use crate::common::{begin, row};
use crate::heard::Heard;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use qsessions_testkit::{Server, StopMode};
use uuid::Uuid;

/// The process that announces, which an idle database has none of. It has done what there was to do, and so holds no lock.
pub(super) async fn announcer(heard: &mut Heard) -> Pid {
    loop {
        heard.announced().await;
        if let Some(pid) = status(&heard.client, "announcer_pid").await {
            // The first one may have been announced by its transaction.
            heard.announced().await;
            while status(&heard.client, "backlog").await != Some(0) {}
            return Pid::from_raw(pid.try_into().unwrap());
        }
    }
}

#[tokio::test]
async fn a_worker_that_is_killed_comes_back_and_nothing_is_lost() {
    let server = server_with_ring().await;
    let mut heard = Heard::of(server.config("postgres")).await;
    for round in 0..3 {
        let pid = announcer(&mut heard).await.as_raw();
        row(
            &heard.client,
            "SELECT pg_terminate_backend($1, 60000)",
            &[&pid],
        )
        .await;
        let mut sessions = Vec::new();
        for _ in 0..=round {
            let session = begin(&heard.client, "").await;
            row(
                &heard.client,
                "SELECT qsessions.logout($1)",
                &[&session.key],
            )
            .await;
            sessions.push(session);
        }
        assert_eq!(heard.announced().await, ids(&sessions));
    }
}

#[tokio::test]
async fn a_ring_that_overflows_says_so() {
    let server = server_with_ring().await;
    let mut heard = Heard::of(server.config("postgres")).await;
    let pid = announcer(&mut heard).await;
    // Held up, so that more is written than the ring holds: 4 times 9,000.
    kill(pid, Signal::SIGSTOP).unwrap();
    for _ in 0..4 {
        heard
            .run("SELECT qsessions.create_session(user_id => 1) FROM generate_series(1, 9000)")
            .await;
        heard
            .run("DELETE FROM qsessions.session WHERE user_id = 1")
            .await;
    }
    let backlog = status(&heard.client, "backlog").await;
    assert_eq!(backlog, status(&heard.client, "ring_size").await);
    kill(pid, Signal::SIGCONT).unwrap();
    assert_eq!(heard.announced().await, everything());
    assert_eq!(status(&heard.client, "overflows").await, Some(1));
}

#[tokio::test]
async fn whoever_hears_an_id_has_heard_of_all_that_was_committed_before() {
    let server = server_with_ring().await;
    let mut heard = Heard::of(server.config("postgres")).await;
    heard
        .run("SELECT qsessions.create_session(user_id => 1) FROM generate_series(1, 1000)")
        .await;
    let pid = announcer(&mut heard).await;
    // So that all of it is announced at once, in several notifications.
    kill(pid, Signal::SIGSTOP).unwrap();
    heard
        .run("DELETE FROM qsessions.session WHERE user_id = 1")
        .await;
    let last = Uuid::nil();
    row(&heard.client, "SELECT qsessions.invalidate($1)", &[&last]).await;
    kill(pid, Signal::SIGCONT).unwrap();
    let mut before = 0;
    loop {
        let payload = heard.payloads.recv().await.unwrap();
        let ids: Vec<_> = payload.split(',').collect();
        match ids.iter().position(|id| *id == last.to_string()) {
            Some(place) => break assert_eq!(before + place, 1000),
            None => before += ids.len(),
        }
    }
}

#[tokio::test]
async fn databases_have_workers_of_their_own_which_stand_in_nobodys_way() {
    let server = server_with_ring().await;
    let mut first = Heard::of(server.config("postgres")).await;
    first.run("CREATE DATABASE second").await;
    prepare(&server.connect("second").await.unwrap()).await;
    let mut second = Heard::of(server.config("second")).await;
    let (mine, theirs) = (
        begin(&first.client, "").await,
        begin(&second.client, "").await,
    );
    row(&first.client, "SELECT qsessions.logout($1)", &[&mine.key]).await;
    row(
        &second.client,
        "SELECT qsessions.logout($1)",
        &[&theirs.key],
    )
    .await;
    assert_eq!(first.announced().await, ids([&mine]));
    assert_eq!(second.announced().await, ids([&theirs]));
    drop(second);
    // Waits for connections to end, those of clients and of the worker.
    while first
        .client
        .batch_execute("DROP DATABASE second")
        .await
        .is_err()
    {}
    // So does an extension: its worker needs none of its objects.
    first.run("DROP TABLE qsessions.session; DROP DOMAIN qsessions.user_key; DROP EXTENSION qsessions").await;
}

#[tokio::test]
async fn a_crash_of_the_server_ends_connections_and_announcing_goes_on_after_it() {
    let mut server = Server::builder()
        .setting("shared_preload_libraries", "qsessions")
        .durable()
        .start()
        .await
        .unwrap();
    prepare(&server.connect("postgres").await.unwrap()).await;
    let mut heard = Heard::of(server.config("postgres")).await;
    heard.announced().await;
    server.stop(StopMode::Immediate).unwrap();
    assert!(heard.payloads.recv().await.is_none());
    server.start().await.unwrap();
    let mut heard = Heard::of(server.config("postgres")).await;
    let session = begin(&heard.client, "").await;
    row(
        &heard.client,
        "SELECT qsessions.logout($1)",
        &[&session.key],
    )
    .await;
    assert_eq!(heard.announced().await, ids([&session]));
}

#[tokio::test]
async fn a_standby_announces_from_its_promotion_on() {
    let primary = server_with_ring().await;
    let admin = primary.connect("postgres").await.unwrap();
    let session = begin(&admin, "").await;
    let standby = Server::builder().start_standby_of(&primary).await.unwrap();
    let observer = standby.connect("postgres").await.unwrap();
    assert_eq!(status(&observer, "backlog").await, Some(0));
    row(&observer, "SELECT pg_promote()", &[]).await;
    let mut heard = Heard::of(standby.config("postgres")).await;
    row(
        &heard.client,
        "SELECT qsessions.logout($1)",
        &[&session.key],
    )
    .await;
    assert_eq!(heard.announced().await, ids([&session]));
}

#[tokio::test]
async fn changes_that_logical_replication_applies_are_announced() {
    let publisher = server_with_ring().await;
    let admin = publisher.connect("postgres").await.unwrap();
    let session = begin(&admin, "user_id => 1").await;
    admin
        .batch_execute("CREATE PUBLICATION sessions FOR TABLE qsessions.session")
        .await
        .unwrap();
    let subscriber = server_with_ring().await;
    let mut heard = Heard::of(subscriber.config("postgres")).await;
    let subscription = format!(
        "CREATE SUBSCRIPTION sessions CONNECTION 'host={} user=postgres dbname=postgres' PUBLICATION sessions",
        publisher.folder().display()
    );
    heard.run(&subscription).await;
    let load = "SELECT FROM qsessions.load_session($1)";
    while heard
        .client
        .query(load, &[&session.key])
        .await
        .unwrap()
        .is_empty()
    {}
    heard.announced().await;
    row(&admin, "SELECT qsessions.logout($1)", &[&session.key]).await;
    while !heard
        .client
        .query(load, &[&session.key])
        .await
        .unwrap()
        .is_empty()
    {}
    assert_eq!(heard.announced().await, ids([&session]));
}

#[tokio::test]
async fn a_dropped_database_leaves_no_worker_that_tries_for_ever() {
    let server = server_with_ring().await;
    let admin = server.connect("postgres").await.unwrap();
    for statement in [
        // So that the log tells of a worker that ends by itself.
        "ALTER SYSTEM SET log_min_messages = 'debug1'",
        "SELECT pg_reload_conf()",
        "CREATE DATABASE doomed",
    ] {
        admin.batch_execute(statement).await.unwrap();
    }
    let client = server.connect("doomed").await.unwrap();
    client
        .batch_execute("CREATE EXTENSION qsessions; SELECT qsessions.create_session_table()")
        .await
        .unwrap();
    let session = begin(&client, "").await;
    row(
        &client,
        "SELECT qsessions.patch_session($1)",
        &[&session.key],
    )
    .await;
    let announcers =
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'qsessions announcer'";
    while row(&admin, announcers, &[]).await.get::<_, i64>(0) == 0 {}
    drop(client);
    admin
        .batch_execute("DROP DATABASE doomed WITH (FORCE)")
        .await
        .unwrap();
    // It does not even try to connect.
    let attempts = || {
        let log = std::fs::read_to_string(server.log_path()).unwrap();
        log.matches("FATAL:  database ").count()
    };
    let has_given_up = || {
        let log = std::fs::read_to_string(server.log_path()).unwrap();
        log.lines().any(|line| {
            line.contains("qsessions announcer") && line.ends_with("exited with exit code 0")
        })
    };
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(100));
    while !has_given_up() {
        ticks.tick().await;
    }
    assert_eq!(attempts(), 0);
}
