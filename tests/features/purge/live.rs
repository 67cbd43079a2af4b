//! What purges do with the rows of live sessions.

use super::call_purge;
use crate::common::{Listening, add_expired, alive, begin, row, sessions};
use qsessions_testkit::Database;
use tokio_postgres::Client;

/// Live sliding sessions whose hour has passed, and that expire tomorrow.
async fn add_passed(client: &Client, count: i32) {
    client
        .execute(
            "INSERT INTO qsessions.session (id, digest, idle_timeout, expires_at, purge_after)
             SELECT gen_random_uuid(), '', '1 day', now() + interval '1 day', now() - make_interval(hours => 1 + n % 50)
             FROM generate_series(1, $1::int) AS n",
            &[&count],
        )
        .await
        .unwrap();
}

/// The number of live sessions at which a purge looks.
async fn passed(client: &Client) -> i64 {
    let query = "SELECT count(*) FROM qsessions.session WHERE expires_hour <= now() AND expires_at > now() + interval '1 h'";
    row(client, query, &[]).await.get(0)
}

/// Otherwise, each purge would look at them again.
#[tokio::test]
async fn live_sessions_whose_hour_has_passed_are_moved_on() {
    let client = Database::new().await.connect().await;
    for (call, left) in [
        ("SELECT qsessions.purge_expired(2000)", 501),
        ("SELECT qsessions.purge_expired(2501)", 0),
        ("CALL qsessions.purge()", 0),
        // The other batch is for what has expired.
        ("CALL qsessions.purge(max_batches => 1)", 2501),
        ("CALL qsessions.purge(max_batches => 2)", 0),
    ] {
        client
            .batch_execute("TRUNCATE qsessions.session")
            .await
            .unwrap();
        add_passed(&client, 2501).await;
        add_expired(&client, 1).await;
        assert_eq!(passed(&client).await, 2501);
        client.batch_execute(call).await.unwrap();
        assert_eq!(passed(&client).await, left, "{call}");
        assert_eq!(sessions(&client).await, 2501);
    }
    let hours = "SELECT count(*) FROM qsessions.session
                 WHERE expires_hour = date_bin('1 hour', expires_at, '2000-01-01Z') AND purge_after IS NULL";
    assert_eq!(row(&client, hours, &[]).await.get::<_, i64>(0), 2501);
    client
        .batch_execute("UPDATE qsessions.session SET expires_at = now()")
        .await
        .unwrap();
    call_purge(&client, "").await;
    assert_eq!(sessions(&client).await, 0);
}

#[tokio::test]
async fn a_live_session_that_is_locked_is_moved_on_by_a_later_purge() {
    let database = Database::new().await;
    let client = database.connect().await;
    let other = database.connect().await;
    add_passed(&client, 3).await;
    client
        .batch_execute("SET lock_timeout = '10 s'")
        .await
        .unwrap();
    other
        .batch_execute("BEGIN; SELECT FROM qsessions.session LIMIT 1 FOR UPDATE")
        .await
        .unwrap();
    call_purge(&client, "").await;
    assert_eq!(passed(&client).await, 1);
    other.batch_execute("ROLLBACK").await.unwrap();
    call_purge(&client, "").await;
    assert_eq!(passed(&client).await, 0);
}

#[tokio::test]
async fn a_trigger_that_refuses_to_move_a_live_session_on_does_not_stop_a_purge() {
    let listening = Listening::to(&Database::new().await.config()).await;
    let client = &listening.client;
    add_passed(client, 2).await;
    add_expired(client, 2).await;
    client
        .batch_execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''not this one''; END';
             CREATE TRIGGER refuse BEFORE UPDATE ON qsessions.session FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await
        .unwrap();
    let told = "could not update column \"purge_after\" of live sessions".to_owned();
    for (call, left) in [
        ("SELECT qsessions.purge_expired(2)", 2),
        ("SELECT qsessions.purge_expired(2)", 2),
        ("CALL qsessions.purge()", 2),
    ] {
        listening.notices();
        client.batch_execute(call).await.unwrap();
        assert_eq!(sessions(client).await, left, "{call}");
    }
    assert!(listening.notices().contains(&told));
    client
        .batch_execute("DROP TRIGGER refuse ON qsessions.session")
        .await
        .unwrap();
    call_purge(client, "").await;
    assert_eq!(passed(client).await, 0);
}

/// A visit keeps the hour, until a purge comes to it. Whatever moves the expiry to an earlier time,
/// the session is found.
#[tokio::test]
async fn a_session_that_has_slid_is_purged_when_it_has_expired() {
    let client = Database::new().await.connect().await;
    client
        .batch_execute("SET qsessions.touch_interval = 0")
        .await
        .unwrap();
    for slide in [
        "qsessions.resume_session($1)",
        "qsessions.save_session($1, '{}')",
        "qsessions.patch_session($1)",
        "qsessions.set_expiry($1, idle_timeout => '30 days')",
        "qsessions.login($1, 1)",
        "qsessions.record_visits(ARRAY[qsessions.session_id($1)], ARRAY[sha256($1::bytea)], '{NULL}', '{NULL}', ARRAY[now()])",
    ] {
        let session = begin(&client, "idle_timeout => '10 days'").await;
        client
            .execute(
                "UPDATE qsessions.session SET last_seen_at = last_seen_at - interval '1 day', expires_at = expires_at - interval '1 day'",
                &[],
            )
            .await
            .unwrap();
        let hour = "SELECT expires_hour::text FROM qsessions.session";
        let before: String = row(&client, hour, &[]).await.get(0);
        row(&client, &format!("SELECT {slide}"), &[&session.key]).await;
        let slid = "SELECT expires_hour::text FROM qsessions.session WHERE expires_at > now() + interval '9 days 1 h'";
        assert_eq!(
            row(&client, slid, &[]).await.get::<_, String>(0),
            before,
            "{slide}"
        );
        client
            .execute(
                "UPDATE qsessions.session SET expires_at = now() - interval '2 h'",
                &[],
            )
            .await
            .unwrap();
        call_purge(&client, "").await;
        assert_eq!(sessions(&client).await, 0, "{slide}");
    }
}

/// No live session is lost, no expired one is left, and no call fails.
#[tokio::test(flavor = "multi_thread")]
async fn purges_and_visits_at_once_lose_nothing() {
    const LIVE: usize = 60;
    const ROUNDS: i32 = 15;
    let database = Database::new().await;
    let client = database.connect().await;
    let mut keys = Vec::new();
    for _ in 0..LIVE {
        keys.push(begin(&client, "idle_timeout => '1 day'").await.key);
    }
    let mut tasks = Vec::new();
    for _ in 0..2 {
        let purging = database.connect().await;
        tasks.push(tokio::spawn(async move {
            for _ in 0..ROUNDS {
                add_expired(&purging, 100).await;
                call_purge(&purging, "batch_size => 30").await;
            }
        }));
    }
    for _ in 0..4 {
        let visiting = database.connect().await;
        let keys = keys.clone();
        tasks.push(tokio::spawn(async move {
            visiting
                .batch_execute("SET qsessions.touch_interval = 0")
                .await
                .unwrap();
            for _ in 0..ROUNDS {
                // The purges come to all of them.
                visiting
                    .batch_execute(
                        "UPDATE qsessions.session SET purge_after = now() - interval '3 h'
                         WHERE id IN (SELECT id FROM qsessions.session WHERE expires_at > now()
                                      ORDER BY ctid FOR UPDATE SKIP LOCKED)",
                    )
                    .await
                    .unwrap();
                for key in &keys {
                    row(
                        &visiting,
                        "SELECT FROM qsessions.resume_session($1)",
                        &[key],
                    )
                    .await;
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    call_purge(&client, "").await;
    assert_eq!(sessions(&client).await, LIVE as i64);
    assert_eq!(passed(&client).await, 0);
    for key in &keys {
        assert!(alive(&client, key).await);
    }
}
