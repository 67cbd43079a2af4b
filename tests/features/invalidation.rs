//! Invalidation: listeners are notified of each change after its commit, and of nothing else, with
//! the ring and without.

mod channel;
mod heartbeats;
mod prepared;
mod problems;
mod queue;
mod ring;
mod workers;

use crate::common::listener::Listener;
use crate::common::{Begun, begin, failure, row};
use qsessions_testkit::{Database, Server, connect};
use std::collections::BTreeSet;
use tokio_postgres::Client;
use uuid::Uuid;

fn ids<'a>(sessions: impl IntoIterator<Item = &'a Begun>) -> BTreeSet<String> {
    sessions
        .into_iter()
        .map(|session| session.id.to_string())
        .collect()
}

fn everything() -> BTreeSet<String> {
    BTreeSet::from(["*".to_owned()])
}

async fn server_with_ring() -> Server {
    server_with(&[
        ("shared_preload_libraries", "qsessions"),
        ("max_prepared_transactions", "5"),
        ("wal_level", "logical"),
    ])
    .await
}

async fn server_with(settings: &[(&str, &str)]) -> Server {
    let server = settings
        .iter()
        .fold(Server::builder(), |builder, (name, value)| {
            builder.setting(name, value)
        })
        .start()
        .await
        .unwrap();
    prepare(&server.connect("postgres").await.unwrap()).await;
    server
}

async fn prepare(client: &Client) {
    client
        .batch_execute(
            "CREATE EXTENSION qsessions; CREATE TABLE users (id bigint PRIMARY KEY);
             INSERT INTO users SELECT generate_series(1, 9);
             SELECT qsessions.create_session_table('users')",
        )
        .await
        .unwrap();
}

/// Checks that hold in either mode.
async fn listeners_are_notified_of_changes_and_of_nothing_else(mut listener: Listener) {
    check_statements(&mut listener).await;
    check_purge(&mut listener).await;
    check_rollbacks(&mut listener).await;
    check_open_transaction(&mut listener).await;
    check_many_changes(&mut listener).await;
    let refused = failure(
        &listener.client,
        "SELECT 1 FROM qsessions.session, (SELECT qsessions._announce()) AS a",
        &[],
    )
    .await;
    assert_eq!(refused.code, "39P01");

    listener.run("TRUNCATE qsessions.session").await;
    assert_eq!(listener.notified().await, everything());
}

/// All ways to change a session, and statements of which a cache need not know.
async fn check_statements(listener: &mut Listener) {
    for (statement, is_notified) in [
        ("SELECT qsessions.save_session($1, '{\"a\": 1}')", true),
        ("SELECT qsessions.patch_session($1, '{\"b\": 1}')", true),
        ("SELECT qsessions.login($1, 1)", true),
        ("SELECT qsessions.rotate_key($1)", true),
        ("SELECT qsessions.logout($1)", true),
        (
            "SELECT qsessions.revoke_session(qsessions.session_id($1))",
            true,
        ),
        ("SELECT qsessions.revoke_user_sessions(2)", true),
        (
            "SELECT qsessions.resume_session($1, ip => '192.0.2.7')",
            true,
        ),
        (
            "DELETE FROM qsessions.session WHERE id = qsessions.session_id($1)",
            true,
        ),
        ("DELETE FROM users WHERE id = 2", true),
        (
            "UPDATE qsessions.session SET user_agent = 'x' WHERE id = qsessions.session_id($1)",
            true,
        ),
        ("SELECT qsessions.load_session($1)", false),
        ("SELECT qsessions.resume_session($1)", false),
        ("SELECT qsessions.set_expiry($1, ttl => '1 h')", true),
        ("SELECT qsessions.set_expiry($1, ttl => '30 d')", false),
        (
            "UPDATE qsessions.session SET last_seen_at = now(), expires_at = expires_at + interval '3 h' WHERE id = qsessions.session_id($1)",
            false,
        ),
        (
            "UPDATE qsessions.session SET expires_at = now() WHERE id = qsessions.session_id($1)",
            true,
        ),
        ("SELECT qsessions.save_session($1, '{}', 77)", false),
        ("SELECT qsessions.create_session() WHERE $1 <> ''", false),
    ] {
        listener
            .run("INSERT INTO users VALUES (2) ON CONFLICT DO NOTHING")
            .await;
        let session = begin(&listener.client, "user_id => 2").await;
        let unchanged = begin(&listener.client, "user_id => 3").await;
        listener.notified().await;
        let statement = if statement.contains("$1") {
            // Some are expected to fail. Then nothing has changed.
            let _ = listener.client.query(statement, &[&session.key]).await;
            statement
        } else {
            listener.run(statement).await;
            statement
        };
        let notified = listener.notified().await;
        assert_eq!(
            notified.contains(&session.id.to_string()),
            is_notified,
            "{statement}"
        );
        assert!(!notified.contains(&unchanged.id.to_string()), "{statement}");
        listener
            .run("DELETE FROM qsessions.session WHERE user_id IS NOT NULL")
            .await;
    }
}

/// The deletion of a session that has expired notifies of nothing: the change of its expiry has.
async fn check_purge(listener: &mut Listener) {
    for purge in [
        "CALL qsessions.purge()",
        "SELECT qsessions.purge_expired()",
        "DELETE FROM qsessions.session WHERE expires_at <= now()",
    ] {
        let dead = begin(&listener.client, "").await;
        listener.notified().await;
        listener.run(&expire(&dead, "'2020-01-01'")).await;
        assert_eq!(listener.notified().await, ids([&dead]));
        listener.run(purge).await;
        assert_eq!(listener.notified().await, BTreeSet::new(), "{purge}");
        let count = "SELECT count(*) FROM qsessions.session WHERE id = $1";
        let left = row(&listener.client, count, &[&dead.id]).await;
        assert_eq!(left.get::<_, i64>(0), 0, "{purge}");
    }

    // A live session that a purge moves on.
    let live = begin(&listener.client, "idle_timeout => '1 day'").await;
    let pass = "UPDATE qsessions.session SET purge_after = now() - interval '2 h'";
    listener.run(pass).await;
    listener.run("CALL qsessions.purge()").await;
    let moved = "SELECT purge_after IS NULL FROM qsessions.session WHERE id = $1";
    let moved = row(&listener.client, moved, &[&live.id]).await;
    assert!(moved.get::<_, bool>(0));
    assert_eq!(listener.notified().await, BTreeSet::new());

    // One transaction ends a session and purges it.
    let ended = begin(&listener.client, "").await;
    let kept = begin(&listener.client, "").await;
    listener.notified().await;
    let (end, undone) = (expire(&ended, "now()"), expire(&kept, "now()"));
    listener
        .run(&format!(
            "BEGIN; {end} SAVEPOINT a; {undone} SELECT qsessions.purge_expired(); ROLLBACK TO a;
             SELECT qsessions.purge_expired(); COMMIT"
        ))
        .await;
    assert_eq!(listener.notified().await, ids([&ended]));

    // A session that expires while a transaction is open counts as live there.
    listener.run("BEGIN").await;
    let late = begin(&listener.client, "ttl => '1 us'").await;
    listener
        .run(&format!(
            "DELETE FROM qsessions.session WHERE id = '{}'; COMMIT",
            late.id
        ))
        .await;
    assert_eq!(listener.notified().await, ids([&late]));
}

fn expire(session: &Begun, at: &str) -> String {
    format!(
        "UPDATE qsessions.session SET expires_at = {at} WHERE id = '{}';",
        session.id
    )
}

/// A rollback notifies of nothing; one to a savepoint, not of the changes after the savepoint.
async fn check_rollbacks(listener: &mut Listener) {
    let (kept, undone) = (
        begin(&listener.client, "").await,
        begin(&listener.client, "").await,
    );
    let (keep, undo) = (update(&kept), update(&undone));
    listener.notified().await;
    listener
        .run(&format!("BEGIN; {keep} {undo} ROLLBACK"))
        .await;
    assert_eq!(listener.notified().await, BTreeSet::new());
    listener
        .run(&format!(
            "BEGIN; {keep} SAVEPOINT a; {undo} ROLLBACK TO a; COMMIT"
        ))
        .await;
    assert_eq!(listener.notified().await, ids([&kept]));
    listener
        .run(&format!(
            "BEGIN; SAVEPOINT a; SAVEPOINT b; {undo} RELEASE b; ROLLBACK TO a; {keep} COMMIT"
        ))
        .await;
    assert_eq!(listener.notified().await, ids([&kept]));
    listener
        .run(&format!(
            "BEGIN; SAVEPOINT a; {keep} SAVEPOINT b; {undo} ROLLBACK TO b; RELEASE a; COMMIT"
        ))
        .await;
    assert_eq!(listener.notified().await, ids([&kept]));
    listener
        .run(&format!(
            "DO $$ BEGIN FOR n IN 1..50 LOOP BEGIN {undo} RAISE division_by_zero;
             EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; {keep} END $$"
        ))
        .await;
    assert_eq!(listener.notified().await, ids([&kept]));
}

/// Nothing is received before the commit.
async fn check_open_transaction(listener: &mut Listener) {
    let session = begin(&listener.client, "").await;
    listener.notified().await;
    let other = connect(&listener.config).await.unwrap();
    other
        .batch_execute(&format!("BEGIN; {}", update(&session)))
        .await
        .unwrap();
    assert_eq!(listener.notified().await, BTreeSet::new());
    other.batch_execute("COMMIT").await.unwrap();
    assert_eq!(listener.notified().await, ids([&session]));
}

/// Many ids are sent in few payloads, very many as one `*`.
async fn check_many_changes(listener: &mut Listener) {
    listener
        .run("SELECT qsessions.create_session(user_id => 4) FROM generate_series(1, 1000)")
        .await;
    let rows = listener
        .client
        .query(
            "DELETE FROM qsessions.session WHERE user_id = 4 RETURNING id",
            &[],
        )
        .await
        .unwrap();
    let deleted: BTreeSet<_> = rows
        .iter()
        .map(|row| row.get::<_, Uuid>(0).to_string())
        .collect();
    assert_eq!(listener.notified().await, deleted);
    listener
        .run("SELECT qsessions.create_session(user_id => 4) FROM generate_series(1, 10001)")
        .await;
    listener
        .run("DELETE FROM qsessions.session WHERE user_id = 4")
        .await;
    assert_eq!(listener.notified().await, everything());
}

/// A statement that changes a session.
fn update(session: &Begun) -> String {
    format!(
        "UPDATE qsessions.session SET data = data || '{{\"t\": 1}}', version = version + 1 WHERE id = '{}';",
        session.id
    )
}

async fn status(client: &Client, column: &str) -> Option<i64> {
    row(
        client,
        &format!("SELECT {column}::bigint FROM qsessions.invalidation_status()"),
        &[],
    )
    .await
    .get(0)
}

/// The problem that `invalidation_status()` reports.
async fn problem(client: &Client) -> Option<String> {
    row(
        client,
        "SELECT problem FROM qsessions.invalidation_status()",
        &[],
    )
    .await
    .get(0)
}

/// The ids that are received next, up to this one.
async fn received_until(listener: &mut Listener, id: Uuid) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let payload = listener.payloads.recv().await.unwrap();
        for id in payload.split(',') {
            all.push(id.to_owned());
        }
        if all.contains(&id.to_string()) {
            return all;
        }
    }
}

#[tokio::test]
async fn without_preload_the_transaction_itself_does_the_notify() {
    let database = Database::new().await;
    let listener = Listener::new(database.config()).await;
    let mode: String = row(
        &listener.client,
        "SELECT mode FROM qsessions.invalidation_status()",
        &[],
    )
    .await
    .get(0);
    assert_eq!(mode, "notify");
    listeners_are_notified_of_changes_and_of_nothing_else(listener).await;
}

#[tokio::test]
async fn with_preload_the_notifier_sends_the_ids_in_the_ring() {
    let server = server_with_ring().await;
    let listener = Listener::new(server.config("postgres")).await;
    let observer = server.connect("postgres").await.unwrap();
    let mode: String = row(
        &observer,
        "SELECT mode FROM qsessions.invalidation_status()",
        &[],
    )
    .await
    .get(0);
    assert_eq!(mode, "ring");
    listeners_are_notified_of_changes_and_of_nothing_else(listener).await;
}
