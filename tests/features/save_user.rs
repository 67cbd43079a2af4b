//! save_session with a user: an anonymous session becomes that of the user, under its key.

use crate::common::waiting::{backend, blocked, second_waits_for_first};
use crate::common::{Failure, alive, begin, failure, row};
use qsessions_testkit::{Database, Users};
use serde_json::{Value, json};
use tokio_postgres::Client;

/// The user, the data, the version, and whether a login was recorded.
async fn found(client: &Client, key: &str) -> (Option<String>, Value, i64, bool) {
    let found = row(
        client,
        "SELECT user_id, data, version, authenticated_at IS NOT NULL FROM qsessions.load_session($1)",
        &[&key],
    )
    .await;
    (found.get(0), found.get(1), found.get(2), found.get(3))
}

#[tokio::test]
async fn an_anonymous_session_becomes_that_of_the_user() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "").await;
    let save = r#"SELECT qsessions.save_session($1, '{"a": 1}', user_id => 1)"#;
    for version in [2_i64, 3] {
        // The second time, it is that of the user already.
        let saved: i64 = row(&client, save, &[&session.key]).await.get(0);
        assert_eq!(saved, version);
        let expected = (Some("1".to_owned()), json!({"a": 1}), version, true);
        assert_eq!(found(&client, &session.key).await, expected);
    }
    let listed: i64 = row(
        &client,
        "SELECT count(*) FROM qsessions.user_sessions(1)",
        &[],
    )
    .await
    .get(0);
    assert_eq!(listed, 1);
}

#[tokio::test]
async fn only_the_save_that_assigns_the_user_is_a_login() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "").await;
    let save = "SELECT qsessions.save_session($1, '{}', user_id => 1)";
    let login = "SELECT authenticated_at::text FROM qsessions.load_session($1)";
    row(&client, save, &[&session.key]).await;
    let first: String = row(&client, login, &[&session.key]).await.get(0);
    row(&client, save, &[&session.key]).await;
    let second: String = row(&client, login, &[&session.key]).await.get(0);
    assert_eq!(first, second);
}

#[tokio::test]
async fn the_save_that_assigns_the_user_ends_the_grace_of_a_former_key() {
    let database = Database::new().await;
    let client = database.connect().await;
    let former = begin(&client, "").await.key;
    let rotate = "SELECT qsessions.rotate_key($1, grace => '1 minute')";
    let present: String = row(&client, rotate, &[&former]).await.get(0);
    row(
        &client,
        "SELECT qsessions.save_session($1, '{}')",
        &[&present],
    )
    .await;
    assert!(alive(&client, &former).await);
    let save = "SELECT qsessions.save_session($1, '{}', user_id => 1)";
    row(&client, save, &[&present]).await;
    assert!(alive(&client, &present).await);
    assert!(!alive(&client, &former).await);
}

#[tokio::test]
async fn a_former_key_cannot_give_the_session_to_a_user() {
    let database = Database::new().await;
    let client = database.connect().await;
    let former = begin(&client, "").await.key;
    let rotate = "SELECT qsessions.rotate_key($1, grace => '1 minute')";
    let present: String = row(&client, rotate, &[&former]).await.get(0);
    let save = "SELECT qsessions.save_session($1, '{}', user_id => 1)";
    let refused = failure(&client, save, &[&former]).await;
    assert_eq!(refused.code, "QS001");
    assert!(!refused.hint.is_empty());
    assert_eq!(found(&client, &present).await, (None, json!({}), 1, false));
    assert!(alive(&client, &former).await);
}

#[tokio::test]
async fn a_null_user_changes_nothing() {
    let database = Database::new().await;
    let client = database.connect().await;
    for (arguments, user) in [("", None), ("user_id => 1", Some("1".to_owned()))] {
        let session = begin(&client, arguments).await;
        for null in ["NULL", "NULL::bigint", "NULL::uuid"] {
            let save = format!("SELECT qsessions.save_session($1, '{{}}', user_id => {null})");
            row(&client, &save, &[&session.key]).await;
        }
        assert_eq!(found(&client, &session.key).await.0, user);
    }
}

#[tokio::test]
async fn a_session_of_another_user_stays_as_it_is() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "user_id => 2, data => '{\"secret\": 1}'").await;
    let refused = failure(
        &client,
        "SELECT qsessions.save_session($1, '{}', user_id => 1)",
        &[&session.key],
    )
    .await;
    assert_eq!(refused.code, "22023");
    assert!(refused.message.starts_with("argument \"user_id\""));
    assert!(!refused.hint.is_empty());
    let expected = (Some("2".to_owned()), json!({"secret": 1}), 1, true);
    assert_eq!(found(&client, &session.key).await, expected);
}

#[tokio::test]
async fn a_save_that_fails_assigns_no_user() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "").await;
    client
        .batch_execute("SET qsessions.max_data_bytes = 100")
        .await
        .unwrap();
    for (arguments, code) in [
        ("'{}', 7, user_id => 1", "QS002"),
        ("'{}', user_id => 4711", "23503"),
        ("'{}', user_id => 'no number'", "22P02"),
        ("NULL, user_id => 1", "22004"),
        ("'{}', ttl => '0', user_id => 1", "22023"),
        (
            "jsonb_build_object('a', repeat('x', 200)), user_id => 1",
            "QS004",
        ),
    ] {
        let save = format!("SELECT qsessions.save_session($1, {arguments})");
        let refused = failure(&client, &save, &[&session.key]).await;
        assert_eq!(refused.code, code, "{arguments}");
    }
    assert_eq!(
        found(&client, &session.key).await,
        (None, json!({}), 1, false)
    );
}

#[tokio::test]
async fn a_session_that_is_gone_gets_no_user() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "").await;
    row(&client, "SELECT qsessions.logout($1)", &[&session.key]).await;
    for (key, code) in [
        (Some(session.key.as_str()), "QS001"),
        (Some("short"), "QS003"),
        (None, "QS003"),
    ] {
        let save = "SELECT qsessions.save_session($1, '{}', user_id => 1)";
        assert_eq!(failure(&client, save, &[&key]).await.code, code);
    }
}

#[tokio::test]
async fn users_of_all_types_of_keys_are_assigned() {
    const UUID: &str = "018fd1a3-0000-7000-8000-000000000001";
    for (key_type, users, same) in [
        ("bigint", &["1"][..], &["1", "'01'", "1::integer"][..]),
        (
            "uuid",
            &[UUID],
            &[
                "'018FD1A3-0000-7000-8000-000000000001'",
                "uuid '018fd1a3-0000-7000-8000-000000000001'",
            ],
        ),
        ("text", &["ann"], &["'ann'", "varchar 'ann'"]),
        ("numeric", &["1.0"], &["1", "1.00"]),
    ] {
        let database = Database::with(Users::Keyed(key_type, users)).await;
        let client = database.connect().await;
        let session = begin(&client, "").await;
        for (number, user) in same.iter().enumerate() {
            let save = format!("SELECT qsessions.save_session($1, '{{}}', user_id => {user})");
            let version: i64 = row(&client, &save, &[&session.key]).await.get(0);
            assert_eq!(usize::try_from(version).unwrap(), number + 2, "{user}");
        }
    }
}

#[tokio::test]
async fn a_user_id_that_the_column_would_cut_is_refused() {
    let database = Database::with(Users::Keyed("varchar(3)", &["ann"])).await;
    let client = database.connect().await;
    let session = begin(&client, "").await;
    let save = "SELECT qsessions.save_session($1, '{}', user_id => 'ann ')";
    assert_eq!(failure(&client, save, &[&session.key]).await.code, "22001");
    assert_eq!(found(&client, &session.key).await.0, None);
}

#[tokio::test]
async fn revoke_user_sessions_waits_for_a_save_that_assigns_the_user() {
    let database = Database::new().await;
    let (one, two, observer) = (
        database.connect().await,
        database.connect().await,
        database.connect().await,
    );
    let session = begin(&observer, "").await;
    one.batch_execute("BEGIN").await.unwrap();
    let save = "SELECT qsessions.save_session($1, '{}', user_id => 1)";
    row(&one, save, &[&session.key]).await;
    let pid = backend(&two).await;
    let revoke = "SELECT qsessions.revoke_user_sessions(1)";
    let (ended, ()) = tokio::join!(row(&two, revoke, &[]), async {
        blocked(&observer, pid).await;
        one.batch_execute("COMMIT").await.unwrap();
    });
    assert_eq!(ended.get::<_, i64>(0), 1);
    assert!(!alive(&observer, &session.key).await);
}

#[tokio::test]
async fn of_two_saves_with_different_users_the_second_fails() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let session = begin(&admin, "").await;
    let outcome = second_waits_for_first(
        &database,
        &session,
        "SELECT qsessions.save_session($1, '{}', user_id => 1)",
        "SELECT qsessions.save_session($1, '{\"second\": 1}', user_id => 2)",
    )
    .await;
    assert_eq!(outcome.unwrap_err().code, "22023");
    let expected = (Some("1".to_owned()), json!({}), 2, true);
    assert_eq!(found(&admin, &session.key).await, expected);
}

#[tokio::test]
async fn a_save_that_waited_for_a_logout_assigns_no_user() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let session = begin(&admin, "").await;
    let logout = "SELECT qsessions.logout($1)";
    let save = "SELECT qsessions.save_session($1, '{}', user_id => 1)";
    let outcome = second_waits_for_first(&database, &session, logout, save).await;
    assert_eq!(outcome.unwrap_err().code, "QS001");
}

#[tokio::test]
async fn a_repeatable_read_transaction_gets_a_serialization_failure() {
    let database = Database::new().await;
    let (one, two) = (database.connect().await, database.connect().await);
    let session = begin(&one, "").await;
    one.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM qsessions.session")
        .await
        .unwrap();
    let save = "SELECT qsessions.save_session($1, '{}', user_id => 1)";
    row(&two, save, &[&session.key]).await;
    let error = one.query(save, &[&session.key]).await.unwrap_err();
    assert_eq!(Failure::of(&error).code, "40001");
    // A second attempt succeeds.
    one.batch_execute("ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ")
        .await
        .unwrap();
    row(&one, save, &[&session.key]).await;
    one.batch_execute("COMMIT").await.unwrap();
    assert_eq!(found(&two, &session.key).await.2, 3);
}
