//! Invalidation: what changed is announced after commit and not otherwise, with the ring and without.

use crate::common::{Begun, begin, failure, row};
use crate::heard::Heard;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use qsessions_tests::{Database, Server, StopMode, connect};
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
    let server = Server::builder()
        .setting("shared_preload_libraries", "qsessions")
        .setting("max_prepared_transactions", "5")
        .setting("wal_level", "logical")
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

/// The promises that hold in either mode.
async fn changes_are_announced_and_nothing_else(mut heard: Heard) {
    // Every path of a change, and what a cache needn't know.
    for (statement, is_announced) in [
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
        heard
            .run("INSERT INTO users VALUES (2) ON CONFLICT DO NOTHING")
            .await;
        let session = begin(&heard.client, "user_id => 2").await;
        let quiet = begin(&heard.client, "user_id => 3").await;
        heard.announced().await;
        let statement = if statement.contains("$1") {
            // Some fail, as they should: then nothing has changed.
            let _ = heard.client.query(statement, &[&session.key]).await;
            statement
        } else {
            heard.run(statement).await;
            statement
        };
        let announced = heard.announced().await;
        assert_eq!(
            announced.contains(&session.id.to_string()),
            is_announced,
            "{statement}"
        );
        assert!(!announced.contains(&quiet.id.to_string()), "{statement}");
        heard
            .run("DELETE FROM qsessions.session WHERE user_id IS NOT NULL")
            .await;
    }

    // Purges and TRUNCATE.
    let dead = begin(&heard.client, "").await;
    heard
        .client
        .execute(
            "UPDATE qsessions.session SET expires_at = '2020-01-01' WHERE id = $1",
            &[&dead.id],
        )
        .await
        .unwrap();
    heard.announced().await;
    heard.run("CALL qsessions.purge()").await;
    assert_eq!(heard.announced().await, ids([&dead]));

    // A rollback announces nothing, that to a savepoint takes back what came after it.
    let (kept, undone) = (
        begin(&heard.client, "").await,
        begin(&heard.client, "").await,
    );
    let touch = |session: &Begun| {
        format!(
            "UPDATE qsessions.session SET data = data || '{{\"t\": 1}}', version = version + 1 WHERE id = '{}';",
            session.id
        )
    };
    let (keep, undo) = (touch(&kept), touch(&undone));
    heard.announced().await;
    heard.run(&format!("BEGIN; {keep} {undo} ROLLBACK")).await;
    assert_eq!(heard.announced().await, BTreeSet::new());
    heard
        .run(&format!(
            "BEGIN; {keep} SAVEPOINT a; {undo} ROLLBACK TO a; COMMIT"
        ))
        .await;
    assert_eq!(heard.announced().await, ids([&kept]));
    heard
        .run(&format!(
            "BEGIN; SAVEPOINT a; SAVEPOINT b; {undo} RELEASE b; ROLLBACK TO a; {keep} COMMIT"
        ))
        .await;
    assert_eq!(heard.announced().await, ids([&kept]));
    heard
        .run(&format!(
            "BEGIN; SAVEPOINT a; {keep} SAVEPOINT b; {undo} ROLLBACK TO b; RELEASE a; COMMIT"
        ))
        .await;
    assert_eq!(heard.announced().await, ids([&kept]));
    heard
        .run(&format!(
            "DO $$ BEGIN FOR n IN 1..50 LOOP BEGIN {undo} RAISE division_by_zero;
             EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; {keep} END $$"
        ))
        .await;
    assert_eq!(heard.announced().await, ids([&kept]));

    // Before the commit there is nothing to hear.
    let other = connect(&heard.config).await.unwrap();
    other
        .batch_execute(&format!("BEGIN; {keep}"))
        .await
        .unwrap();
    assert_eq!(heard.announced().await, BTreeSet::new());
    other.batch_execute("COMMIT").await.unwrap();
    assert_eq!(heard.announced().await, ids([&kept]));

    // Many ids go in full payloads, very many as one `*`.
    heard
        .run("SELECT qsessions.create_session(user_id => 4) FROM generate_series(1, 1000)")
        .await;
    let rows = heard
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
    assert_eq!(heard.announced().await, deleted);
    heard
        .run("SELECT qsessions.create_session(user_id => 4) FROM generate_series(1, 10001)")
        .await;
    heard
        .run("DELETE FROM qsessions.session WHERE user_id = 4")
        .await;
    assert_eq!(heard.announced().await, everything());

    let refused = failure(
        &heard.client,
        "SELECT 1 FROM qsessions.session, (SELECT qsessions.announce()) AS a",
        &[],
    )
    .await;
    assert_eq!(refused.code, "39P01");

    heard.run("TRUNCATE qsessions.session").await;
    assert_eq!(heard.announced().await, everything());
}

async fn prepared_transactions_are_refused(client: &Client) {
    let session = begin(client, "").await;
    client.batch_execute("BEGIN").await.unwrap();
    row(
        client,
        "SELECT qsessions.patch_session($1)",
        &[&session.key],
    )
    .await;
    let error = client
        .batch_execute("PREPARE TRANSACTION 'two phases'")
        .await
        .unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "0A000");
    assert!(error.hint().is_some());
    let version: i64 = row(
        client,
        "SELECT version FROM qsessions.load_session($1)",
        &[&session.key],
    )
    .await
    .get(0);
    assert_eq!(version, 1);
    // Without a change of sessions nothing stands in the way.
    client
        .batch_execute("BEGIN; INSERT INTO users VALUES (99); PREPARE TRANSACTION 'p'")
        .await
        .unwrap();
    client.batch_execute("COMMIT PREPARED 'p'").await.unwrap();
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

#[tokio::test]
async fn without_preload_the_transaction_itself_notifies() {
    let database = Database::new().await;
    let heard = Heard::of(database.config()).await;
    let mode: String = row(
        &heard.client,
        "SELECT mode FROM qsessions.invalidation_status()",
        &[],
    )
    .await
    .get(0);
    assert_eq!(mode, "notify");
    changes_are_announced_and_nothing_else(heard).await;
}

#[tokio::test]
async fn with_preload_a_worker_announces_what_is_in_the_ring() {
    let server = server_with_ring().await;
    let heard = Heard::of(server.config("postgres")).await;
    let observer = server.connect("postgres").await.unwrap();
    let mode: String = row(
        &observer,
        "SELECT mode FROM qsessions.invalidation_status()",
        &[],
    )
    .await
    .get(0);
    assert_eq!(mode, "ring");
    changes_are_announced_and_nothing_else(heard).await;
    prepared_transactions_are_refused(&observer).await;
}

/// The process that announces, which an idle database has none of.
async fn announcer(heard: &mut Heard) -> Pid {
    loop {
        heard.announced().await;
        if let Some(pid) = status(&heard.client, "announcer_pid").await {
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
    // Once it has counted, it holds no lock until there is something to do.
    while status(&heard.client, "announced").await == Some(0) {}
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
    let pid = announcer(&mut heard).await;
    while status(&heard.client, "announced").await == Some(0) {}
    heard
        .run("SELECT qsessions.create_session(user_id => 1) FROM generate_series(1, 1000)")
        .await;
    heard.announced().await;
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
    // It says why it fails, as often as it is started again.
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
    assert_eq!(attempts(), 3);
}
