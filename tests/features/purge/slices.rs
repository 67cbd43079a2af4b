//! A batch is locked and deleted in slices of 200 rows.

use super::purge_expired;
use crate::common::mmdb::until;
use crate::common::waiting::backend;
use crate::common::{Listening, add_expired, row, sessions};
use qsessions_testkit::Database;

/// Rows of the first, the second and the third slice, by their place in the order of purges.
const SPREAD: &str =
    "SELECT s.id FROM (SELECT id, row_number() OVER (ORDER BY expires_hour, id) AS n
                      FROM qsessions.session) AS s WHERE s.n IN (1, 200, 201, 399, 450)";

#[tokio::test]
async fn a_batch_has_its_size_whatever_the_slices() {
    let client = Database::new().await.connect().await;
    for size in [199, 200, 201, 400, 450] {
        add_expired(&client, 450).await;
        let purged = purge_expired(&client, &size.to_string()).await;
        assert_eq!(purged, i64::from(size));
        assert_eq!(sessions(&client).await, 450 - i64::from(size));
        assert_eq!(purge_expired(&client, "").await, 450 - i64::from(size));
    }
}

#[tokio::test]
async fn rows_that_are_locked_in_any_slice_are_left() {
    let database = Database::new().await;
    let client = database.connect().await;
    let other = database.connect().await;
    add_expired(&client, 450).await;
    client
        .batch_execute("SET lock_timeout = '10 s'")
        .await
        .unwrap();
    let lock = format!(
        "BEGIN; SELECT FROM qsessions.session WHERE id IN ({SPREAD}) ORDER BY id FOR UPDATE"
    );
    other.batch_execute(&lock).await.unwrap();
    assert_eq!(purge_expired(&client, "1000").await, 445);
    other.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(purge_expired(&client, "1000").await, 5);
}

#[tokio::test]
async fn rows_that_cannot_be_deleted_are_left_in_any_slice() {
    for action in ["", "ON DELETE RESTRICT", "DEFERRABLE INITIALLY DEFERRED"] {
        let database = Database::new().await;
        let listening = Listening::to(&database.config()).await;
        let client = &listening.client;
        add_expired(client, 450).await;
        client
            .batch_execute(&format!(
                "CREATE TABLE baskets (session_id uuid REFERENCES qsessions.session {action});
                 INSERT INTO baskets {SPREAD}"
            ))
            .await
            .unwrap();
        assert_eq!(purge_expired(client, "1000").await, 445, "{action}");
        let told = "could not delete expired sessions: 5".to_owned();
        assert!(listening.notices().contains(&told));
        assert_eq!(sessions(client).await, 5);
    }
}

#[tokio::test]
async fn rows_that_a_trigger_keeps_in_any_slice_are_counted_and_passed() {
    let database = Database::new().await;
    let listening = Listening::to(&database.config()).await;
    let client = &listening.client;
    add_expired(client, 450).await;
    client
        .batch_execute(&format!(
            "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
             CREATE TRIGGER keep BEFORE DELETE ON qsessions.session FOR EACH ROW
                 WHEN (OLD.data = '\"kept\"') EXECUTE FUNCTION keep();
             UPDATE qsessions.session SET data = '\"kept\"' WHERE id IN ({SPREAD})"
        ))
        .await
        .unwrap();
    // The batch ends in the second slice.
    assert_eq!(purge_expired(client, "399").await, 395);
    let told = "could not delete expired sessions: 4".to_owned();
    assert!(listening.notices().contains(&told));
    assert_eq!(purge_expired(client, "1000").await, 50);
    assert_eq!(sessions(client).await, 5);
}

#[tokio::test]
async fn a_purge_pauses_between_slices() {
    // Its first batch has not ended.
    assert_eq!(left_in_a_pause("CALL qsessions.purge()").await, 5000);
}

#[tokio::test]
async fn a_purge_pauses_between_batches_that_are_no_larger_than_a_slice() {
    assert_eq!(left_in_a_pause("CALL qsessions.purge(100)").await, 4900);
}

/// How many of 5000 expired sessions are left when a purge is cancelled in its first pause.
async fn left_in_a_pause(call: &str) -> i64 {
    let database = Database::new().await;
    let client = database.connect().await;
    let observer = database.connect().await;
    add_expired(&client, 5000).await;
    row(&client, "SELECT qsessions.generate_key()", &[]).await;
    client
        .batch_execute("SET qsessions.purge_pause = 100")
        .await
        .unwrap();
    let pid = backend(&client).await;
    let cancel = client.cancel_token();
    let (purge, ()) = tokio::join!(client.batch_execute(call), async {
        until("the purge pauses", async || {
            let pauses =
                "SELECT coalesce(wait_event, '') = 'PgSleep' FROM pg_stat_activity WHERE pid = $1";
            row(&observer, pauses, &[&pid]).await.get(0)
        })
        .await;
        cancel.cancel_query(tokio_postgres::NoTls).await.unwrap();
    });
    assert!(purge.is_err());
    sessions(&observer).await
}
