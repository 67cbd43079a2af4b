//! Columns that a user adds to the session table do not affect the functions, whatever their names.
//!
//! The other files test the functions; `make test` runs them a second time with
//! `QSESSIONS_TEST_COLUMNS`, which adds a column for each name of an argument or a variable to
//! every session table.

use crate::common::{begin, data, failure, row, texts};
use qsessions_testkit::{Database, Users};
use serde_json::json;

#[tokio::test]
async fn the_test_kit_finds_the_names_of_arguments_and_variables() {
    let database = Database::with(Users::Unlinked).await;
    database.add_columns().await.unwrap();
    let columns = texts(
        &database.connect().await,
        "SELECT attname || ' ' || format_type(atttypid, NULL) FROM pg_attribute
         WHERE attrelid = 'qsessions.session'::regclass AND attnum > 0",
    )
    .await;
    for column in [
        "ttl interval",
        "changes jsonb",
        "remove text[]",
        "expected_version bigint",
        "except_key text",
        "key text",
        "new_key text",
        "batch text",
        "batch_size integer",
        "is_locked boolean",
        "max_sessions integer",
        "created qsessions.new_session",
        "expiry timestamp with time zone",
        "last_hour timestamp with time zone",
    ] {
        assert!(
            columns.iter().any(|found| found == column),
            "{column}: {columns:?}"
        );
    }
}

#[tokio::test]
async fn columns_named_like_arguments_do_not_replace_them() {
    let database = Database::new().await;
    database.add_columns().await.unwrap();
    let client = database.connect().await;
    let session = begin(&client, "user_id => 1, data => '{\"a\": 1, \"b\": 2}'").await;
    let other = begin(&client, "user_id => 1").await;
    client
        .batch_execute("UPDATE qsessions.session SET expected_version = 7, max_age = '1 min', changes = '{\"x\": 1}'")
        .await
        .unwrap();
    row(
        &client,
        "SELECT qsessions.patch_session($1, '{\"c\": 3}', '{a}')",
        &[&session.key],
    )
    .await;
    assert_eq!(data(&client, &session.key).await, json!({"b": 2, "c": 3}));
    let stale = failure(
        &client,
        "SELECT qsessions.save_session($1, '{}', expected_version => 1)",
        &[&session.key],
    )
    .await;
    assert_eq!(stale.code, "QS002");
    let ended: i64 = row(
        &client,
        "SELECT qsessions.revoke_user_sessions(1, $1)",
        &[&session.key],
    )
    .await
    .get(0);
    assert_eq!(ended, 1);
    let left = texts(&client, "SELECT id::text FROM qsessions.session").await;
    assert_eq!(left, [session.id.to_string()]);
    assert_ne!(left, [other.id.to_string()]);
}
