//! The ring when the notifier is killed, when writers overrun it, when the server crashes or is
//! promoted, and with several databases.

use super::{everything, ids, prepare, server_with_ring, status};
use crate::common::listener::Listener;
use crate::common::{begin, failure, row};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use qsessions_testkit::{Server, StopMode};
use std::time::Duration;
use uuid::Uuid;

/// The process of the notifier. Sends until there is one, as an idle database has none. Its backlog
/// is empty, so it holds no lock.
pub(super) async fn notifier(listener: &mut Listener) -> Pid {
    loop {
        listener.notified().await;
        if let Some(pid) = status(&listener.client, "notifier_pid").await {
            // The transaction of the first id may have done the NOTIFY itself.
            listener.notified().await;
            while status(&listener.client, "backlog").await != Some(0) {}
            return Pid::from_raw(pid.try_into().unwrap());
        }
    }
}

#[tokio::test]
async fn a_killed_notifier_is_started_again_and_nothing_is_lost() {
    let server = server_with_ring().await;
    let mut listener = Listener::new(server.config("postgres")).await;
    for round in 0..3 {
        let pid = notifier(&mut listener).await.as_raw();
        row(
            &listener.client,
            "SELECT pg_terminate_backend($1, 60000)",
            &[&pid],
        )
        .await;
        let mut sessions = Vec::new();
        for _ in 0..=round {
            let session = begin(&listener.client, "").await;
            row(
                &listener.client,
                "SELECT qsessions.logout($1)",
                &[&session.key],
            )
            .await;
            sessions.push(session);
        }
        assert_eq!(listener.notified().await, ids(&sessions));
    }
}

#[tokio::test]
async fn a_ring_that_is_overrun_sends_everything() {
    let server = server_with_ring().await;
    let mut listener = Listener::new(server.config("postgres")).await;
    let pid = notifier(&mut listener).await;
    // Stopped, so that more is written than the ring holds: 4 times 9,000.
    kill(pid, Signal::SIGSTOP).unwrap();
    for _ in 0..4 {
        listener
            .run("SELECT qsessions.create_session(user_id => 1) FROM generate_series(1, 9000)")
            .await;
        listener
            .run("DELETE FROM qsessions.session WHERE user_id = 1")
            .await;
    }
    let backlog = status(&listener.client, "backlog").await;
    assert_eq!(backlog, status(&listener.client, "ring_size").await);
    kill(pid, Signal::SIGCONT).unwrap();
    assert_eq!(listener.notified().await, everything());
    assert_eq!(status(&listener.client, "overflows").await, Some(1));
}

#[tokio::test]
async fn a_listener_receives_ids_in_the_order_of_the_commits() {
    let server = server_with_ring().await;
    let mut listener = Listener::new(server.config("postgres")).await;
    listener
        .run("SELECT qsessions.create_session(user_id => 1) FROM generate_series(1, 1000)")
        .await;
    let pid = notifier(&mut listener).await;
    // Stopped, so that it sends all ids at once, in several notifications.
    kill(pid, Signal::SIGSTOP).unwrap();
    listener
        .run("DELETE FROM qsessions.session WHERE user_id = 1")
        .await;
    let last = Uuid::nil();
    row(
        &listener.client,
        "SELECT qsessions.invalidate($1)",
        &[&last],
    )
    .await;
    kill(pid, Signal::SIGCONT).unwrap();
    let mut before = 0;
    loop {
        let payload = listener.payloads.recv().await.unwrap();
        let ids: Vec<_> = payload.split(',').collect();
        match ids.iter().position(|id| *id == last.to_string()) {
            Some(position) => break assert_eq!(before + position, 1000),
            None => before += ids.len(),
        }
    }
}

#[tokio::test]
async fn each_database_has_a_notifier_that_does_not_prevent_its_drop() {
    let server = server_with_ring().await;
    let mut first = Listener::new(server.config("postgres")).await;
    first.run("CREATE DATABASE second").await;
    prepare(&server.connect("second").await.unwrap()).await;
    let mut second = Listener::new(server.config("second")).await;
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
    assert_eq!(first.notified().await, ids([&mine]));
    assert_eq!(second.notified().await, ids([&theirs]));
    let request = "SELECT qsessions.request_heartbeat()";
    row(&second.client, request, &[]).await;
    drop(second);
    // Until the connections of the clients and of the notifier have ended. The notifier is woken
    // again and again meanwhile, as by changes in other databases.
    let admin = server.connect("postgres").await.unwrap();
    let waking = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        loop {
            ticks.tick().await;
            row(&admin, "SELECT pg_reload_conf()", &[]).await;
        }
    };
    let dropping = async {
        while first
            .client
            .batch_execute("DROP DATABASE second")
            .await
            .is_err()
        {}
    };
    tokio::select! {
        () = waking => {}
        dropped = tokio::time::timeout(Duration::from_secs(60), dropping) => dropped.unwrap(),
    }
    // The extension can be dropped as well: the notifier needs none of its objects.
    first.run("DROP TABLE qsessions.session; DROP DOMAIN qsessions.user_key; DROP EXTENSION qsessions").await;
}

#[tokio::test]
async fn a_notifier_rests_while_a_commit_waits_for_a_standby() {
    const LOOKS: usize = 100;
    let server = server_with_ring().await;
    let mut listener = Listener::new(server.config("postgres")).await;
    notifier(&mut listener).await;
    let session = begin(&listener.client, "").await;
    let admin = server.connect("postgres").await.unwrap();
    let write = async |sql: &str| {
        admin.batch_execute(sql).await.unwrap();
        row(&admin, "SELECT pg_reload_conf()", &[]).await;
    };
    write("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await;
    let writing = async {
        let client = server.connect("postgres").await.unwrap();
        client
            .batch_execute("SET synchronous_commit = on")
            .await
            .unwrap();
        loop {
            row(
                &client,
                "SELECT qsessions.patch_session($1)",
                &[&session.key],
            )
            .await;
        }
    };
    // For longer than a notifier waits for work.
    let looking = async {
        let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'
                     AND state_change < clock_timestamp() - interval '4 s')";
        while !row(&admin, waits, &[]).await.get::<_, bool>(0) {}
        let rests = "SELECT EXISTS (SELECT FROM pg_stat_activity
                     WHERE backend_type = 'qsessions notifier' AND wait_event = 'Extension')";
        let mut resting = 0;
        for _ in 0..LOOKS {
            resting += usize::from(row(&admin, rests, &[]).await.get::<_, bool>(0));
        }
        // It looks once in three seconds whether it is still needed. One that never rests is found
        // at rest in a fifth of the looks.
        assert!(resting > LOOKS / 2, "{resting} of {LOOKS}");
    };
    tokio::select! {
        () = writing => {}
        () = looking => {}
    }
    write("ALTER SYSTEM RESET synchronous_standby_names").await;
}

#[tokio::test]
async fn after_a_crash_of_the_server_listeners_are_notified_again() {
    let mut server = Server::builder()
        .setting("shared_preload_libraries", "qsessions")
        .durable()
        .start()
        .await
        .unwrap();
    prepare(&server.connect("postgres").await.unwrap()).await;
    let mut listener = Listener::new(server.config("postgres")).await;
    listener.notified().await;
    server.stop(StopMode::Immediate).unwrap();
    assert!(listener.payloads.recv().await.is_none());
    server.start().await.unwrap();
    let mut listener = Listener::new(server.config("postgres")).await;
    let session = begin(&listener.client, "").await;
    row(
        &listener.client,
        "SELECT qsessions.logout($1)",
        &[&session.key],
    )
    .await;
    assert_eq!(listener.notified().await, ids([&session]));
}

#[tokio::test]
async fn a_promoted_standby_notifies() {
    let primary = server_with_ring().await;
    let admin = primary.connect("postgres").await.unwrap();
    let session = begin(&admin, "").await;
    let standby = Server::builder().start_standby_of(&primary).await.unwrap();
    let observer = standby.connect("postgres").await.unwrap();
    assert_eq!(status(&observer, "backlog").await, Some(0));
    let refused = failure(&observer, "SELECT qsessions.request_heartbeat()", &[]).await;
    assert_eq!(refused.code, "25006");
    row(&observer, "SELECT pg_promote()", &[]).await;
    let mut listener = Listener::new(standby.config("postgres")).await;
    row(
        &listener.client,
        "SELECT qsessions.logout($1)",
        &[&session.key],
    )
    .await;
    assert_eq!(listener.notified().await, ids([&session]));
}

#[tokio::test]
async fn listeners_are_notified_of_changes_by_logical_replication() {
    let publisher = server_with_ring().await;
    let admin = publisher.connect("postgres").await.unwrap();
    let session = begin(&admin, "user_id => 1").await;
    admin
        .batch_execute("CREATE PUBLICATION sessions FOR TABLE qsessions.session")
        .await
        .unwrap();
    let subscriber = server_with_ring().await;
    let mut listener = Listener::new(subscriber.config("postgres")).await;
    let subscription = format!(
        "CREATE SUBSCRIPTION sessions CONNECTION 'host={} user=postgres dbname=postgres' PUBLICATION sessions",
        publisher.folder().display()
    );
    listener.run(&subscription).await;
    let load = "SELECT FROM qsessions.load_session($1)";
    while listener
        .client
        .query(load, &[&session.key])
        .await
        .unwrap()
        .is_empty()
    {}
    listener.notified().await;
    row(&admin, "SELECT qsessions.logout($1)", &[&session.key]).await;
    while !listener
        .client
        .query(load, &[&session.key])
        .await
        .unwrap()
        .is_empty()
    {}
    assert_eq!(listener.notified().await, ids([&session]));
}

#[tokio::test]
async fn the_notifier_of_a_dropped_database_is_not_started_for_ever() {
    let server = server_with_ring().await;
    let admin = server.connect("postgres").await.unwrap();
    for statement in [
        // The log then has a line for a worker that ends by itself.
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
    let notifiers =
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'qsessions notifier'";
    while row(&admin, notifiers, &[]).await.get::<_, i64>(0) == 0 {}
    drop(client);
    admin
        .batch_execute("DROP DATABASE doomed WITH (FORCE)")
        .await
        .unwrap();
    // The notifier ends without an attempt to connect.
    let attempts = || {
        let log = std::fs::read_to_string(server.log_path()).unwrap();
        log.matches("FATAL:  database ").count()
    };
    let has_given_up = || {
        let log = std::fs::read_to_string(server.log_path()).unwrap();
        log.lines().any(|line| {
            line.contains("qsessions notifier") && line.ends_with("exited with exit code 0")
        })
    };
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(100));
    while !has_given_up() {
        ticks.tick().await;
    }
    assert_eq!(attempts(), 0);
}
