//! Transactions that are prepared for a two-phase commit: listeners are notified of their changes
//! once they are committed, whatever happens in between.

mod crashes;
mod planted;
mod undelayed;

use super::ring::notifier;
use super::{everything, ids, prepare, server_with, server_with_ring, status, update};
use crate::common::listener::Listener;
use crate::common::waiting::{backend, blocked};
use crate::common::{Begun, begin, failure, row};
use nix::sys::signal::{Signal, kill};
use qsessions_testkit::Server;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::Client;
use uuid::Uuid;

/// Longer than any notification takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Prepares a transaction of these statements.
async fn prepare_transaction(client: &Client, name: &str, statements: &str) {
    client
        .batch_execute(&format!(
            "BEGIN; {statements}; PREPARE TRANSACTION '{name}'"
        ))
        .await
        .unwrap();
}

/// Prepares the end of a session.
async fn prepare_logout(client: &Client, name: &str) -> Begun {
    let session = begin(client, "").await;
    prepare_transaction(client, name, &logout(&session)).await;
    session
}

fn logout(session: &Begun) -> String {
    format!("SELECT qsessions.logout('{}')", session.key)
}

async fn commit(client: &Client, name: &str) {
    let commit = format!("COMMIT PREPARED '{name}'");
    let committed = timeout(PATIENCE, client.batch_execute(&commit)).await;
    committed.expect("COMMIT PREPARED waits").unwrap();
}

/// The ids that arrive without any further commit, until these have.
async fn receive(listener: &mut Listener, expected: &BTreeSet<String>) {
    let mut received = BTreeSet::new();
    while !received.is_superset(expected) {
        let payload = timeout(PATIENCE, listener.payloads.recv()).await;
        let payload = payload.expect("nothing arrives").unwrap();
        received.extend(payload.split(',').map(str::to_owned));
    }
    assert_eq!(&received, expected);
}

/// Sends a probe, and returns the ids that arrive before it.
async fn before_a_probe(listener: &mut Listener) -> BTreeSet<String> {
    let mut probes = vec![probe(listener).await];
    let mut before = BTreeSet::new();
    loop {
        let payload = listener.payloads.recv().await.unwrap();
        for id in payload.split(',') {
            if id == probes[probes.len() - 1].to_string() {
                return before;
            }
            if !probes.iter().any(|probe| id == probe.to_string()) {
                before.insert(id.to_owned());
            }
        }
        if payload == "*" {
            // It may stand for the probe.
            probes.push(probe(listener).await);
        }
    }
}

async fn probe(listener: &Listener) -> Uuid {
    let probe = Uuid::new_v4();
    let invalidate = "SELECT qsessions.invalidate($1)";
    row(&listener.client, invalidate, &[&probe]).await;
    probe
}

/// The number of rows that wait for a notification, as far as other transactions see them.
async fn waiting(client: &Client) -> i64 {
    let count = "SELECT count(*) FROM qsessions.invalidation_prepared";
    row(client, count, &[]).await.get(0)
}

#[tokio::test]
async fn listeners_are_notified_once_a_prepared_transaction_is_committed() {
    let server = server_with_ring().await;
    let mut listener = Listener::new(server.config("postgres")).await;
    let other = server.connect("postgres").await.unwrap();
    // With a notifier, and without one, when COMMIT PREPARED does the NOTIFY itself.
    for name in ["first", "second", "third"] {
        let (patched, undone) = (begin(&other, "").await, begin(&other, "").await);
        let (patch, undo) = (update(&patched), update(&undone));
        let statements = format!("{patch} SAVEPOINT a; {undo} ROLLBACK TO a");
        prepare_transaction(&other, name, &statements).await;
        // The session that has prepared it goes on without it.
        let later = begin(&other, "").await;
        other.batch_execute(&update(&later)).await.unwrap();
        assert_eq!(listener.notified().await, ids([&later]));
        commit(&listener.client, name).await;
        receive(&mut listener, &ids([&patched])).await;
        assert_eq!(listener.notified().await, BTreeSet::new());
        assert_eq!(waiting(&other).await, 0);
        end_notifier(&other).await;
    }
}

/// Ends the notifier, if there is one. PostgreSQL starts it again a second later.
async fn end_notifier(client: &Client) {
    let terminate = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
                     WHERE backend_type = 'qsessions notifier'";
    client.query(terminate, &[]).await.unwrap();
}

#[tokio::test]
async fn a_prepared_transaction_that_is_rolled_back_or_fails_notifies_of_nothing() {
    let server = server_with_ring().await;
    let mut listener = Listener::new(server.config("postgres")).await;
    prepare_logout(&listener.client, "undone").await;
    let session = begin(&listener.client, "").await;
    let again = format!("BEGIN; {}; PREPARE TRANSACTION 'undone'", logout(&session));
    let error = listener.client.batch_execute(&again).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42710");
    listener.run("ROLLBACK PREPARED 'undone'").await;
    assert_eq!(listener.notified().await, BTreeSet::new());
    assert_eq!(waiting(&listener.client).await, 0);
}

#[tokio::test]
async fn many_changes_are_all_notified_and_very_many_as_everything() {
    let server = server_with_ring().await;
    let mut listener = Listener::new(server.config("postgres")).await;
    for (count, name) in [(1000, "many"), (10_001, "very many")] {
        let create = format!(
            "SELECT (qsessions.create_session(user_id => 1)).id FROM generate_series(1, {count})"
        );
        let rows = listener.client.query(&create, &[]).await.unwrap();
        let sessions: BTreeSet<_> = rows
            .iter()
            .map(|row| row.get::<_, Uuid>(0).to_string())
            .collect();
        let delete = "DELETE FROM qsessions.session WHERE user_id = 1";
        prepare_transaction(&listener.client, name, delete).await;
        let early = listener.notified().await;
        assert!(early.is_disjoint(&sessions) && early.is_disjoint(&everything()));
        commit(&listener.client, name).await;
        let expected = if count > 10_000 {
            everything()
        } else {
            sessions
        };
        receive(&mut listener, &expected).await;
        // The notifier may have sent the same as the COMMIT PREPARED.
        while waiting(&listener.client).await != 0 {}
        listener.notified().await;
    }
    let session = begin(&listener.client, "").await;
    prepare_transaction(&listener.client, "all", "TRUNCATE qsessions.session").await;
    commit(&listener.client, "all").await;
    receive(&mut listener, &everything()).await;
    assert!(!crate::common::alive(&listener.client, &session.key).await);
}

/// Commits a prepared transaction such that its session cannot look at the table: another one gets
/// the lock of the table at the moment at which the prepared transaction releases it.
async fn commit_without_a_look(server: &Server, name: &str) {
    let (one, two, observer) = (
        server.connect("postgres").await.unwrap(),
        server.connect("postgres").await.unwrap(),
        server.connect("postgres").await.unwrap(),
    );
    let pid = backend(&one).await;
    let lock = "BEGIN; LOCK TABLE qsessions.invalidation_prepared";
    let (locked, ()) = tokio::join!(one.batch_execute(lock), async {
        blocked(&observer, pid).await;
        // Does not wait for the lock either.
        commit(&two, name).await;
    });
    locked.unwrap();
    one.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(waiting(&observer).await, 1);
}

#[tokio::test]
async fn a_probe_comes_after_what_was_committed_before_it_whoever_committed_it() {
    let server = server_with_ring().await;
    let mut listener = Listener::new(server.config("postgres")).await;
    let other = server.connect("postgres").await.unwrap();
    for is_running in [true, false] {
        if is_running {
            notifier(&mut listener).await;
        }
        let session = prepare_logout(&other, "quiet").await;
        commit_without_a_look(&server, "quiet").await;
        if !is_running {
            end_notifier(&other).await;
        }
        assert_eq!(before_a_probe(&mut listener).await, ids([&session]));
        assert_eq!(waiting(&other).await, 0);
    }
    // So is a probe that was in the ring first, if the notifier had not sent it.
    let pid = notifier(&mut listener).await;
    let session = prepare_logout(&other, "overtaken").await;
    kill(pid, Signal::SIGSTOP).unwrap();
    let (before, ()) = tokio::join!(before_a_probe(&mut listener), async {
        while status(&other, "backlog").await != Some(1) {}
        commit_without_a_look(&server, "overtaken").await;
        kill(pid, Signal::SIGCONT).unwrap();
    });
    assert_eq!(before, ids([&session]));
}

#[tokio::test]
async fn an_overrun_of_the_ring_and_later_commits_do_not_concern_it() {
    let server = server_with_ring().await;
    let mut listener = Listener::new(server.config("postgres")).await;
    let other = server.connect("postgres").await.unwrap();
    let pid = notifier(&mut listener).await;
    let session = prepare_logout(&other, "long").await;
    kill(pid, Signal::SIGSTOP).unwrap();
    for _ in 0..4 {
        other
            .batch_execute(
                "SELECT qsessions.create_session(user_id => 1) FROM generate_series(1, 9000);
                 DELETE FROM qsessions.session WHERE user_id = 1",
            )
            .await
            .unwrap();
    }
    kill(pid, Signal::SIGCONT).unwrap();
    assert_eq!(listener.notified().await, everything());
    assert_eq!(listener.notified().await, BTreeSet::new());
    commit(&other, "long").await;
    receive(&mut listener, &ids([&session])).await;
}

#[tokio::test]
async fn each_database_notifies_of_its_own_prepared_transactions() {
    let server = server_with_ring().await;
    let mut first = Listener::new(server.config("postgres")).await;
    first.run("CREATE DATABASE second").await;
    prepare(&server.connect("second").await.unwrap()).await;
    let mut second = Listener::new(server.config("second")).await;
    let (mine, theirs) = (
        prepare_logout(&first.client, "mine").await,
        prepare_logout(&second.client, "theirs").await,
    );
    commit(&second.client, "theirs").await;
    receive(&mut second, &ids([&theirs])).await;
    assert_eq!(first.notified().await, BTreeSet::new());
    commit(&first.client, "mine").await;
    receive(&mut first, &ids([&mine])).await;
    assert_eq!(second.notified().await, BTreeSet::new());

    // PostgreSQL keeps the database of a prepared transaction, and the notifier does not.
    prepare_logout(&second.client, "held").await;
    drop(second);
    let held = failure(&first.client, "DROP DATABASE second WITH (FORCE)", &[]).await;
    assert_eq!(held.code, "55006");
    let second = server.connect("second").await.unwrap();
    second
        .batch_execute("ROLLBACK PREPARED 'held'")
        .await
        .unwrap();
    drop(second);
    while first
        .client
        .batch_execute("DROP DATABASE second")
        .await
        .is_err()
    {}
}

#[tokio::test]
async fn logical_replication_of_prepared_transactions_notifies_as_well() {
    let publisher = server_with_ring().await;
    let admin = publisher.connect("postgres").await.unwrap();
    let sessions = [
        begin(&admin, "user_id => 1").await,
        begin(&admin, "user_id => 2").await,
    ];
    // Of all tables: the table of the ids is one of them, whose rows no subscriber gets.
    admin
        .batch_execute("CREATE PUBLICATION everything FOR ALL TABLES")
        .await
        .unwrap();
    let subscriber = server_with_ring().await;
    let mut listener = Listener::new(subscriber.config("postgres")).await;
    listener.run("TRUNCATE users CASCADE").await;
    let subscription = format!(
        "CREATE SUBSCRIPTION everything CONNECTION 'host={} user=postgres dbname=postgres'
         PUBLICATION everything WITH (two_phase = true)",
        publisher.folder().display()
    );
    listener.run(&subscription).await;
    let enabled = "SELECT subtwophasestate = 'e' FROM pg_subscription";
    while !row(&listener.client, enabled, &[]).await.get::<_, bool>(0) {}
    listener.notified().await;
    for session in &sessions {
        prepare_transaction(&admin, "over there", &logout(session)).await;
        let prepared = "SELECT count(*) FROM pg_prepared_xacts";
        while row(&listener.client, prepared, &[]).await.get::<_, i64>(0) == 0 {}
        assert_eq!(listener.notified().await, BTreeSet::new());
        commit(&admin, "over there").await;
        receive(&mut listener, &ids([session])).await;
    }
    assert_eq!(waiting(&admin).await, 0);
    assert_eq!(waiting(&listener.client).await, 0);
}

#[tokio::test]
async fn without_its_table_a_transaction_is_not_prepared() {
    let server = server_with(&[
        ("shared_preload_libraries", "qsessions"),
        ("max_prepared_transactions", "5"),
    ])
    .await;
    let client = server.connect("postgres").await.unwrap();
    let session = begin(&client, "").await;
    // As with the objects of an older version.
    client
        .batch_execute(
            "ALTER EXTENSION qsessions DROP TABLE qsessions.invalidation_prepared;
             DROP TABLE qsessions.invalidation_prepared",
        )
        .await
        .unwrap();
    let statements = format!("BEGIN; {}; PREPARE TRANSACTION 'no'", logout(&session));
    let error = client.batch_execute(&statements).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "0A000");
    assert!(error.hint().unwrap().contains("ALTER EXTENSION"));
    // Other transactions do not need the table.
    let mut listener = Listener::new(server.config("postgres")).await;
    listener.run(&logout(&session)).await;
    assert_eq!(listener.notified().await, ids([&session]));
}

#[tokio::test]
async fn without_preload_a_transaction_that_has_changed_sessions_is_not_prepared() {
    let server = server_with(&[
        ("shared_preload_libraries", ""),
        ("max_prepared_transactions", "5"),
    ])
    .await;
    let client = server.connect("postgres").await.unwrap();
    let session = begin(&client, "").await;
    let statements = format!(
        "BEGIN; {} PREPARE TRANSACTION 'two phases'",
        update(&session)
    );
    let error = client.batch_execute(&statements).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "0A000");
    assert!(error.hint().unwrap().contains("shared_preload_libraries"));
    let load = "SELECT version FROM qsessions.load_session($1)";
    let version: i64 = row(&client, load, &[&session.key]).await.get(0);
    assert_eq!(version, 1);
    // A transaction that changes no session can be prepared.
    client
        .batch_execute("BEGIN; INSERT INTO users VALUES (99); PREPARE TRANSACTION 'p'")
        .await
        .unwrap();
    commit(&client, "p").await;
}

#[tokio::test]
async fn very_many_prepared_transactions_are_all_notified() {
    const MANY: usize = 2_100;
    // More than there is room for in shared memory.
    let server = server_with(&[
        ("shared_preload_libraries", "qsessions"),
        ("max_prepared_transactions", "2200"),
    ])
    .await;
    let mut listener = Listener::new(server.config("postgres")).await;
    listener.notified().await;
    let client = server.connect("postgres").await.unwrap();
    let mut sessions = Vec::new();
    for name in 0..MANY {
        sessions.push(prepare_logout(&client, &name.to_string()).await);
    }
    assert_eq!(listener.notified().await, BTreeSet::new());
    for name in [0, MANY - 1] {
        commit(&client, &name.to_string()).await;
        receive(&mut listener, &ids([&sessions[name]])).await;
    }
    for name in 1..MANY - 1 {
        commit(&client, &name.to_string()).await;
    }
    let rest = &sessions[1..MANY - 1];
    assert_eq!(listener.notified().await, ids(rest));
    // There is room again.
    let last = prepare_logout(&client, "last").await;
    assert_eq!(listener.notified().await, BTreeSet::new());
    commit(&client, "last").await;
    receive(&mut listener, &ids([&last])).await;
}

#[tokio::test]
async fn ids_that_get_another_place_in_the_table_are_found() {
    let server = server_with_ring().await;
    let mut listener = Listener::new(server.config("postgres")).await;
    let client = server.connect("postgres").await.unwrap();
    listener.notified().await;
    prepare_logout(&client, "undone").await;
    let session = prepare_logout(&client, "moved").await;
    client
        .batch_execute("ROLLBACK PREPARED 'undone'")
        .await
        .unwrap();
    commit_without_a_look(&server, "moved").await;
    client
        .batch_execute("VACUUM FULL qsessions.invalidation_prepared")
        .await
        .unwrap();
    assert_eq!(before_a_probe(&mut listener).await, ids([&session]));

    // A file that has become shorter, right after the row was sent.
    let session = prepare_logout(&client, "sent").await;
    commit(&client, "sent").await;
    receive(&mut listener, &ids([&session])).await;
    let size = "SELECT pg_relation_size('qsessions.invalidation_prepared')";
    while row(&client, size, &[]).await.get::<_, i64>(0) > 0 {
        client
            .batch_execute("VACUUM qsessions.invalidation_prepared")
            .await
            .unwrap();
    }
    assert_eq!(before_a_probe(&mut listener).await, BTreeSet::new());
}
