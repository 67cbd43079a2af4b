//! Purges: all expired sessions are deleted in batches, no others, and purges do not wait for
//! locks.

mod inherited;
mod live;
mod slices;

use crate::common::mmdb::until;
use crate::common::{Listening, add_expired, alive, begin, failure, row, sessions};
use qsessions_testkit::Database;
use tokio_postgres::Client;

async fn purge_expired(client: &Client, arguments: &str) -> i64 {
    row(
        client,
        &format!("SELECT qsessions.purge_expired({arguments})"),
        &[],
    )
    .await
    .get(0)
}

async fn call_purge(client: &Client, arguments: &str) {
    let call = format!("CALL qsessions.purge({arguments})");
    client.batch_execute(&call).await.unwrap();
}

#[tokio::test]
async fn only_what_has_expired_is_purged() {
    let client = Database::new().await.connect().await;
    let member = begin(
        &client,
        "user_id => 1, ttl => '1 s', key => 'soon to expire'",
    )
    .await;
    let visitor = begin(&client, "").await;
    let eternal = begin(&client, "ttl => '100000 years'").await;
    client
        .batch_execute(
            "UPDATE qsessions.session SET expires_at = 'infinity' WHERE expires_at > '3000-01-01'",
        )
        .await
        .unwrap();
    add_expired(&client, 5).await;

    // In one transaction, because now() is constant there.
    client.batch_execute("BEGIN").await.unwrap();
    client
        .execute(
            "UPDATE qsessions.session SET expires_at = now() + interval '1 us' WHERE id = $1",
            &[&member.id],
        )
        .await
        .unwrap();
    assert_eq!(purge_expired(&client, "").await, 5);
    assert_eq!(sessions(&client).await, 3);
    client
        .execute(
            "UPDATE qsessions.session SET expires_at = now() WHERE id = $1",
            &[&member.id],
        )
        .await
        .unwrap();
    assert_eq!(purge_expired(&client, "").await, 1);
    client.batch_execute("COMMIT").await.unwrap();

    assert!(!alive(&client, &member.key).await);
    assert!(alive(&client, &visitor.key).await);
    assert!(alive(&client, &eternal.key).await);
    assert_eq!(purge_expired(&client, "").await, 0);
}

#[tokio::test]
async fn purge_expired_takes_one_batch_the_oldest_first() {
    let client = Database::new().await.connect().await;
    add_expired(&client, 25).await;
    assert_eq!(purge_expired(&client, "10").await, 10);
    let oldest = "SELECT round(extract(epoch FROM now() - min(expires_at)) / 3600)::int FROM qsessions.session";
    assert_eq!(row(&client, oldest, &[]).await.get::<_, i32>(0), 15);
    assert_eq!(purge_expired(&client, "batch_size => 10").await, 10);
    assert_eq!(purge_expired(&client, "10").await, 5);
    assert_eq!(purge_expired(&client, "10").await, 0);
}

#[tokio::test]
async fn purge_takes_batch_after_batch_and_reports() {
    let listening = Listening::to(&Database::new().await.config()).await;
    let client = &listening.client;
    for (expired, arguments, notices) in [
        (
            25,
            "batch_size => 10",
            &["expired sessions purged: 25 (batches: 3)"] as &[_],
        ),
        (
            20,
            "batch_size => 10, max_batches => 2",
            &["expired sessions purged: 20 (batches: 2)"],
        ),
        (
            11,
            "1, 20",
            &[
                "expired sessions purged so far: 10",
                "expired sessions purged: 11 (batches: 12)",
            ],
        ),
        (3, "", &["expired sessions purged: 3 (batches: 1)"]),
        (0, "", &["expired sessions purged: 0 (batches: 1)"]),
    ] {
        add_expired(client, expired).await;
        listening.notices();
        call_purge(client, arguments).await;
        assert_eq!(listening.notices(), notices, "{arguments}");
        assert_eq!(sessions(client).await, 0);
    }
}

#[tokio::test]
async fn purge_stops_after_max_batches() {
    let client = Database::new().await.connect().await;
    add_expired(&client, 25).await;
    call_purge(&client, "batch_size => 10, max_batches => 1").await;
    assert_eq!(sessions(&client).await, 15);
}

#[tokio::test]
async fn purge_commits_each_batch() {
    let client = Database::new().await.connect().await;
    add_expired(&client, 30).await;
    // The oldest sessions are deleted first, so this one is in the third batch.
    client
        .batch_execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''not this one'' USING ERRCODE = ''55000''; END';
             CREATE TRIGGER refuse BEFORE DELETE ON qsessions.session FOR EACH ROW
                 WHEN (OLD.data = '\"kept\"') EXECUTE FUNCTION refuse();
             UPDATE qsessions.session SET data = '\"kept\"'
             WHERE expires_at = (SELECT max(expires_at) FROM qsessions.session)",
        )
        .await
        .unwrap();
    let error = failure(&client, "CALL qsessions.purge(batch_size => 10)", &[]).await;
    assert_eq!(error.message, "not this one");
    assert_eq!(sessions(&client).await, 10);
}

#[tokio::test]
async fn purge_is_refused_in_a_transaction_block_and_purges_nothing_there() {
    let client = Database::new().await.connect().await;
    add_expired(&client, 3).await;
    client.batch_execute("BEGIN").await.unwrap();
    let refused = failure(&client, "CALL qsessions.purge()", &[]).await;
    assert_eq!(refused.code, "2D000");
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(sessions(&client).await, 3);
}

#[tokio::test]
async fn locked_rows_are_left_for_the_next_purge() {
    let database = Database::new().await;
    let client = database.connect().await;
    let other = database.connect().await;
    add_expired(&client, 20).await;
    // A purge that waited for a lock would fail here.
    client
        .batch_execute("SET lock_timeout = '10 s'")
        .await
        .unwrap();
    other
        .batch_execute(
            "BEGIN; SELECT FROM qsessions.session ORDER BY expires_at LIMIT 3 FOR UPDATE",
        )
        .await
        .unwrap();
    assert_eq!(purge_expired(&client, "5").await, 5);
    // A concurrent purge does not reduce this one's batch either.
    other
        .batch_execute("SELECT qsessions.purge_expired(5)")
        .await
        .unwrap();
    call_purge(&client, "batch_size => 4").await;
    other.batch_execute("ROLLBACK").await.unwrap();
    call_purge(&client, "").await;
    assert_eq!(sessions(&client).await, 0);
}

#[tokio::test]
async fn a_session_that_is_extended_meanwhile_survives() {
    let database = Database::new().await;
    let client = database.connect().await;
    let other = database.connect().await;
    let session = begin(&client, "").await;
    client
        .batch_execute("UPDATE qsessions.session SET expires_at = now(); SET lock_timeout = '10 s'")
        .await
        .unwrap();
    other
        .batch_execute("BEGIN; UPDATE qsessions.session SET expires_at = now() + interval '1 hour'")
        .await
        .unwrap();
    assert_eq!(purge_expired(&client, "").await, 0);
    other.batch_execute("COMMIT").await.unwrap();
    assert_eq!(purge_expired(&client, "").await, 0);
    assert!(alive(&client, &session.key).await);
}

#[tokio::test]
async fn a_batch_of_no_rows_is_refused() {
    let client = Database::new().await.connect().await;
    add_expired(&client, 2).await;
    for size in ["0", "-1", "NULL"] {
        for call in [
            format!("SELECT qsessions.purge_expired({size})"),
            format!("CALL qsessions.purge({size})"),
            format!("SELECT qsessions.schedule_purge(batch_size => {size})"),
        ] {
            let refused = failure(&client, &call, &[]).await;
            assert_eq!(refused.code, "22023", "{call}");
            assert!(
                refused.message.starts_with("argument \"batch_size\""),
                "{}",
                refused.message
            );
            assert!(!refused.hint.is_empty());
        }
    }
    for count in ["0", "-1"] {
        let refused = failure(&client, &format!("CALL qsessions.purge(10, {count})"), &[]).await;
        assert_eq!(refused.code, "22023");
        assert!(
            refused.message.starts_with("argument \"max_batches\""),
            "{}",
            refused.message
        );
    }
    assert_eq!(sessions(&client).await, 2);
}

#[tokio::test]
async fn the_default_batch_is_ten_thousand_sessions() {
    let client = Database::new().await.connect().await;
    add_expired(&client, 10_001).await;
    assert_eq!(purge_expired(&client, "").await, 10_000);
    call_purge(&client, "2147483647").await;
}

#[tokio::test]
async fn rows_that_a_trigger_skips_do_not_stop_the_others() {
    let database = Database::new().await;
    let listening = Listening::to(&database.config()).await;
    let client = &listening.client;
    add_expired(client, 100).await;
    client
        .batch_execute(
            "CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
             CREATE TRIGGER skip BEFORE DELETE ON qsessions.session FOR EACH ROW
                 WHEN (OLD.data = '\"kept\"') EXECUTE FUNCTION skip();
             UPDATE qsessions.session SET data = '\"kept\"'
             WHERE id IN (SELECT id FROM qsessions.session ORDER BY expires_at LIMIT 10)",
        )
        .await
        .unwrap();
    assert_eq!(purge_expired(client, "5").await, 5);
    listening.notices();
    call_purge(client, "batch_size => 5").await;
    assert_eq!(sessions(client).await, 10);
    let notices = listening.notices();
    let told = "could not delete expired sessions: 5".to_owned();
    assert!(notices.contains(&told), "{notices:?}");
}

#[tokio::test]
async fn a_row_that_cannot_be_deleted_does_not_stop_the_others() {
    for (constraint, call) in [
        ("", "SELECT qsessions.purge_expired(200)"),
        ("", "CALL qsessions.purge(batch_size => 10)"),
        ("", "CALL qsessions.purge(batch_size => 200)"),
        // A deferred constraint would otherwise fail at the COMMIT and end the purge.
        (
            "DEFERRABLE INITIALLY DEFERRED",
            "CALL qsessions.purge(batch_size => 10)",
        ),
    ] {
        let database = Database::new().await;
        let listening = Listening::to(&database.config()).await;
        let client = &listening.client;
        add_expired(client, 100).await;
        client
            .batch_execute(&format!(
                "CREATE TABLE baskets (session_id uuid REFERENCES qsessions.session {constraint});
                 INSERT INTO baskets SELECT id FROM qsessions.session ORDER BY expires_at LIMIT 3"
            ))
            .await
            .unwrap();
        client
            .batch_execute(
                "INSERT INTO baskets SELECT id FROM qsessions.session ORDER BY expires_at DESC LIMIT 1",
            )
            .await
            .unwrap();
        listening.notices();
        client.batch_execute(call).await.unwrap();
        assert_eq!(sessions(client).await, 4, "{call} {constraint}");
        let notices = listening.notices();
        let told = notices
            .iter()
            .any(|notice| notice.starts_with("could not delete expired sessions: "));
        assert!(told, "{notices:?}");
        // They remain the oldest, but sessions that expire later are deleted.
        add_expired(client, 20).await;
        for size in [2, 200] {
            let purged = purge_expired(client, &size.to_string()).await;
            assert!(purged > 0, "{size}: {constraint}");
        }
        client.batch_execute("DROP TABLE baskets").await.unwrap();
        call_purge(client, "").await;
        assert_eq!(sessions(client).await, 0);
    }
}

/// SET CONSTRAINTS reaches every constraint of a name in a schema.
#[tokio::test]
async fn a_constraint_of_another_table_with_the_same_name_does_not_stop_a_purge() {
    let client = Database::new().await.connect().await;
    add_expired(&client, 10).await;
    client
        .batch_execute(
            "CREATE TABLE baskets (session_id uuid,
                 CONSTRAINT refers FOREIGN KEY (session_id) REFERENCES qsessions.session
                     ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED);
             CREATE TABLE others (a int CONSTRAINT refers CHECK (a > 0))",
        )
        .await
        .unwrap();
    assert_eq!(purge_expired(&client, "").await, 10);
    add_expired(&client, 10).await;
    call_purge(&client, "").await;
    assert_eq!(sessions(&client).await, 0);
}

/// Scans mark the entries of deleted rows, which they cannot where a row has a multixact.
#[tokio::test]
async fn searches_for_the_oldest_row_skip_what_was_purged() {
    let database = Database::new().await;
    let client = database.connect().await;
    // VACUUM would remove the entries. The rows are in another order in the table than in the
    // index, or few pages would have them all.
    client
        .batch_execute(
            "ALTER TABLE qsessions.session SET (autovacuum_enabled = false);
             SET enable_seqscan = off;
             INSERT INTO qsessions.session (id, digest, expires_at)
             SELECT gen_random_uuid(), '', now() - random() * interval '100 days' FROM generate_series(1, 5000)",
        )
        .await
        .unwrap();
    call_purge(&client, "batch_size => 1000").await;
    // An entry can be marked once the commit is on disk, which the servers of tests do not wait
    // for.
    until("few pages are read", async || {
        let search = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)
                      SELECT FROM qsessions.session WHERE expires_hour <= now() ORDER BY expires_hour LIMIT 1";
        let plan: serde_json::Value = row(&client, search, &[]).await.get(0);
        let pages = |kind: &str| plan[0]["Plan"][kind].as_i64().unwrap();
        pages("Shared Hit Blocks") + pages("Shared Read Blocks") < 500
    })
    .await;
}
