//! Purges where tables inherit from the session table. Each table has its own places of rows, so a
//! purge must not delete by the place alone.

use super::purge_expired;
use crate::common::{add_expired, alive, begin, row, sessions};
use qsessions_testkit::Database;

#[tokio::test]
async fn tables_that_inherit_are_purged_too() {
    let client = Database::new().await.connect().await;
    let live = begin(&client, "").await;
    client
        .batch_execute(
            "CREATE TABLE more () INHERITS (qsessions.session);
             INSERT INTO more (id, digest, expires_at) VALUES (gen_random_uuid(), '', now())",
        )
        .await
        .unwrap();
    add_expired(&client, 1).await;
    let places = "SELECT count(DISTINCT ctid) FROM qsessions.session";
    assert_eq!(row(&client, places, &[]).await.get::<_, i64>(0), 2);
    assert_eq!(purge_expired(&client, "").await, 2);
    assert_eq!(sessions(&client).await, 1);
    assert!(alive(&client, &live.key).await);
}

/// The snapshot of the purge shows the rows of both tables, but not that one inherits.
#[tokio::test]
async fn no_live_session_is_purged_if_a_table_begins_to_inherit_meanwhile() {
    let database = Database::new().await;
    let (client, owner) = (database.connect().await, database.connect().await);
    let live = begin(&client, "").await;
    client
        .batch_execute(
            "CREATE TABLE more (LIKE qsessions.session INCLUDING ALL);
             INSERT INTO more (id, digest, expires_at) VALUES (gen_random_uuid(), '', now())",
        )
        .await
        .unwrap();
    client
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        .await
        .unwrap();
    owner
        .batch_execute("ALTER TABLE more INHERIT qsessions.session")
        .await
        .unwrap();
    let places = "SELECT count(DISTINCT ctid) FROM qsessions.session";
    assert_eq!(row(&client, places, &[]).await.get::<_, i64>(0), 1);
    assert_eq!(purge_expired(&client, "").await, 1);
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(sessions(&client).await, 1);
    assert!(alive(&client, &live.key).await);
}
