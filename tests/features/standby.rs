//! Standbys and read-only transactions: functions that read work there, resume_session does not
//! record the visit, and functions that write raise an error.

use crate::common::{add_expired, begin, failure, is_missing, row};
use qsessions_testkit::{Database, Server};
use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

const READ_ONLY: &str = "25006";

/// Functions that only read. Each returns one row for a live session of user 1.
const READS: &[&str] = &[
    "SELECT FROM qsessions.load_session('KEY')",
    "SELECT FROM qsessions.resume_session('KEY')",
    "SELECT FROM qsessions.resume_session('KEY', ip => '192.0.2.1', user_agent => 'curl/8.5.0')",
    // A visit that would be recorded on the primary.
    "SELECT FROM qsessions.resume_session('KEY', ip => '192.0.2.2') WHERE ip = '192.0.2.1'",
    "SELECT FROM qsessions.resume_session('KEY', user_agent => 'another') WHERE user_agent = 'curl/8.5.0'",
    "SELECT FROM qsessions.authenticate('KEY')",
    "SELECT FROM qsessions.authenticate('KEY', ip => '192.0.2.2') WHERE ip = '192.0.2.1'",
    "SELECT FROM qsessions.get_session(qsessions.session_id('KEY'))",
    "SELECT FROM qsessions.user_sessions(1, current_key => 'KEY') WHERE is_current",
    "SELECT FROM qsessions.user_sessions('1')",
    "SELECT FROM qsessions.list_sessions(active => true)",
    "SELECT FROM qsessions.list_sessions(1)",
    "SELECT FROM qsessions.stats() WHERE (total, active, expired) = (2, 1, 1)",
    "SELECT WHERE qsessions.session_exists('KEY')",
    "SELECT WHERE NOT qsessions.session_exists('no such key')",
    "SELECT WHERE (SELECT count(*) FROM qsessions.load_session('no such key')) = 0",
    "SELECT WHERE (SELECT count(*) FROM qsessions.resume_session('no such key')) = 0",
    "SELECT WHERE (SELECT count(*) FROM qsessions.authenticate('no such key')) = 0",
    "SELECT WHERE qsessions.generate_key() <> qsessions.generate_key()",
    "SELECT WHERE qsessions.device('curl/8.5.0') IS NOT NULL",
    "SELECT WHERE qsessions.location('192.0.2.1') IS NULL",
];

/// Functions that write.
const WRITES: &[&str] = &[
    "SELECT qsessions.create_session()",
    "SELECT qsessions.save_session('KEY', '{}')",
    "SELECT qsessions.patch_session('KEY', '{}')",
    "SELECT qsessions.set_expiry('KEY', ttl => '1 hour')",
    "SELECT qsessions.login('KEY', 1)",
    "SELECT qsessions.login('KEY', 1, max_sessions => 1)",
    "SELECT qsessions.rotate_key('KEY')",
    "SELECT qsessions.logout('KEY')",
    "SELECT qsessions.revoke_session(qsessions.session_id('KEY'))",
    "SELECT qsessions.revoke_user_sessions(1)",
    "SELECT qsessions.purge_expired()",
    "SELECT qsessions.schedule_purge()",
    "SELECT qsessions.unschedule_purge()",
];

async fn begin_session(client: &Client) -> String {
    let call = "user_id => 1, ip => '192.0.2.1', user_agent => 'curl/8.5.0'";
    begin(client, call).await.key
}

async fn reads_work(client: &Client, key: &str) {
    for statement in READS {
        let rows = client.query(&statement.replace("KEY", key), &[]).await;
        assert_eq!(rows.unwrap().len(), 1, "{statement}");
    }
}

async fn writes_are_refused(client: &Client, key: &str) {
    for statement in WRITES {
        let refused = failure(client, &statement.replace("KEY", key), &[]).await;
        assert_eq!(refused.code, READ_ONLY, "{statement}: {}", refused.message);
    }
}

#[tokio::test]
async fn reads_work_in_a_read_only_transaction() {
    let database = Database::new().await;
    let client = database.connect().await;
    let key = begin_session(&client).await;
    add_expired(&client, 1).await;

    client
        .batch_execute("BEGIN READ ONLY, ISOLATION LEVEL SERIALIZABLE, DEFERRABLE")
        .await
        .unwrap();
    reads_work(&client, &key).await;
    // No function has assigned a transaction id, which is impossible on a standby.
    let written: bool = row(
        &client,
        "SELECT pg_current_xact_id_if_assigned() IS NOT NULL",
        &[],
    )
    .await
    .get(0);
    assert!(!written);
    client.batch_execute("COMMIT").await.unwrap();
}

#[tokio::test]
async fn writes_are_refused_in_a_read_only_transaction() {
    let database = Database::new().await;
    let client = database.connect().await;
    let key = begin_session(&client).await;
    client
        .batch_execute("SET default_transaction_read_only = on")
        .await
        .unwrap();
    writes_are_refused(&client, &key).await;
    client
        .batch_execute("SET default_transaction_read_only = off")
        .await
        .unwrap();
    reads_work_after_all(&client, &key).await;
}

/// Asserts that the refused calls have not changed the session.
async fn reads_work_after_all(client: &Client, key: &str) {
    let session = row(
        client,
        "SELECT host(ip), user_agent, version FROM qsessions.load_session($1)",
        &[&key],
    )
    .await;
    assert_eq!(session.get::<_, &str>(0), "192.0.2.1");
    assert_eq!(session.get::<_, &str>(1), "curl/8.5.0");
    assert_eq!(session.get::<_, i64>(2), 1);
}

/// A primary with sessions in its databases `postgres` and `app` and pg_cron in `postgres`, and its
/// hot standby.
async fn primary_and_standby() -> (Server, Server) {
    let primary = Server::builder().start().await.unwrap();
    let client = primary.connect("postgres").await.unwrap();
    client
        .batch_execute("CREATE EXTENSION pg_cron")
        .await
        .unwrap();
    client.batch_execute("CREATE DATABASE app").await.unwrap();
    for database in ["postgres", "app"] {
        let client = primary.connect(database).await.unwrap();
        client
            .batch_execute(
                "CREATE EXTENSION qsessions;
                 CREATE TABLE users (id bigint PRIMARY KEY);
                 INSERT INTO users VALUES (1);
                 SELECT qsessions.create_session_table('users')",
            )
            .await
            .unwrap();
        add_expired(&client, 1).await;
    }
    let standby = Server::builder().start_standby_of(&primary).await.unwrap();
    (primary, standby)
}

/// Returns when the standby has replayed all commits of the client.
async fn replayed(primary: &Client, standby: &Client) {
    let flushed: PgLsn = row(primary, "SELECT pg_current_wal_flush_lsn()", &[])
        .await
        .get(0);
    let replayed = "SELECT pg_last_wal_replay_lsn() >= $1";
    while !row(standby, replayed, &[&flushed]).await.get::<_, bool>(0) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_hot_standby_serves_reads_and_refuses_writes() {
    if is_missing("pg_cron") {
        return;
    }
    let (primary, standby) = primary_and_standby().await;
    // In `postgres`, jobs are scheduled directly; in `app`, by a worker in `postgres`.
    for database in ["postgres", "app"] {
        let on_primary = primary.connect(database).await.unwrap();
        let on_standby = standby.connect(database).await.unwrap();
        let recovering = "SELECT pg_is_in_recovery(), pg_backend_pid()";
        let before = row(&on_standby, recovering, &[]).await;
        assert!(before.get::<_, bool>(0));

        on_primary
            .batch_execute("SET synchronous_commit = on")
            .await
            .unwrap();
        let key = begin_session(&on_primary).await;
        replayed(&on_primary, &on_standby).await;
        reads_work(&on_standby, &key).await;
        writes_are_refused(&on_standby, &key).await;
        let refused = failure(&on_standby, "CALL qsessions.purge()", &[]).await;
        assert_eq!(refused.code, READ_ONLY, "{}", refused.message);
        reads_work(&on_standby, &key).await;

        // A crash of a backend would have closed this connection.
        let after = row(&on_standby, recovering, &[]).await;
        assert_eq!(before.get::<_, i32>(1), after.get::<_, i32>(1));

        // Changes on the primary arrive on the standby.
        on_primary
            .execute("SELECT qsessions.logout($1)", &[&key])
            .await
            .unwrap();
        replayed(&on_primary, &on_standby).await;
        let gone: bool = row(
            &on_standby,
            "SELECT NOT qsessions.session_exists($1)",
            &[&key],
        )
        .await
        .get(0);
        assert!(gone);
    }
}
