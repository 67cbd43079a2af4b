//! Login: always a new key, the right session is kept, and max_sessions holds.

use crate::common::{alive, begin, begun, data, failure, row};
use qsessions_testkit::Database;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::time::SystemTime;

#[tokio::test]
async fn login_keeps_an_anonymous_session_under_a_new_key() {
    let database = Database::new().await;
    let client = database.connect().await;
    let before = begin(&client, r#"data => '{"cart": 1}', ip => '192.0.2.1'"#).await;
    let after = begun(
        &row(
            &client,
            "SELECT * FROM qsessions.login($1, 1)",
            &[&before.key],
        )
        .await,
    );
    assert_eq!(after.id, before.id);
    assert_ne!(after.key, before.key);
    assert!(!alive(&client, &before.key).await);
    let found = row(
        &client,
        "SELECT * FROM qsessions.load_session($1)",
        &[&after.key],
    )
    .await;
    assert_eq!(found.get::<_, Value>("data"), json!({"cart": 1}));
    assert_eq!(found.get::<_, String>("user_id"), "1");
    assert_eq!(found.get::<_, IpAddr>("ip").to_string(), "192.0.2.1");
    assert_eq!(found.get::<_, i64>("version"), 2);
    assert!(
        found
            .get::<_, Option<SystemTime>>("authenticated_at")
            .is_some()
    );

    // A login of the same user continues the session with another key, and replaces data that is
    // passed.
    let again = begun(
        &row(
            &client,
            r#"SELECT * FROM qsessions.login($1, 1, data => '{"new": 1}')"#,
            &[&after.key],
        )
        .await,
    );
    assert_eq!(again.id, before.id);
    assert!(!alive(&client, &after.key).await);
    assert_eq!(data(&client, &again.key).await, json!({"new": 1}));
}

#[tokio::test]
async fn login_over_another_users_session_ends_it_with_its_data() {
    let database = Database::new().await;
    let client = database.connect().await;
    let first = begin(&client, r#"user_id => 1, data => '{"secret": 1}'"#).await;
    let second = begun(
        &row(
            &client,
            "SELECT * FROM qsessions.login($1, 2)",
            &[&first.key],
        )
        .await,
    );
    assert_ne!(second.id, first.id);
    assert_eq!(data(&client, &second.key).await, json!({}));
    let rows: i64 = row(&client, "SELECT count(*) FROM qsessions.session", &[])
        .await
        .get(0);
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn login_with_no_session_begins_one() {
    let database = Database::new().await;
    let client = database.connect().await;
    let dead = begin(&client, "").await;
    row(&client, "SELECT qsessions.logout($1)", &[&dead.key]).await;
    for key in [
        None,
        Some(dead.key.as_str()),
        Some(""),
        Some("no session has this key"),
    ] {
        let session = begun(
            &row(
                &client,
                r#"SELECT * FROM qsessions.login($1, 1, '::1', 'agent', '{"a": 1}')"#,
                &[&key],
            )
            .await,
        );
        assert_ne!(Some(session.key.as_str()), key);
        assert_eq!(session.key.len(), 48);
        assert_eq!(data(&client, &session.key).await, json!({"a": 1}));
    }
    let nobody = failure(&client, "SELECT qsessions.login(NULL, NULL)", &[]).await;
    assert_eq!(nobody.code, "22004");
    assert!(
        nobody.message.starts_with("argument \"user_id\""),
        "{nobody:?}"
    );
}

#[tokio::test]
async fn login_revokes_the_longest_unseen_sessions_beyond_the_limit() {
    let database = Database::new().await;
    let client = database.connect().await;
    let mut sessions = Vec::new();
    for minutes in [50, 40, 30, 20, 10] {
        let session = begin(&client, "user_id => 1").await;
        client
            .execute(
                "UPDATE qsessions.session SET last_seen_at = now() - make_interval(mins => $2) WHERE id = $1",
                &[&session.id, &minutes],
            )
            .await
            .unwrap();
        sessions.push(session);
    }
    let other = begin(&client, "user_id => 2").await;
    let expired = begin(&client, "user_id => 1").await;
    client
        .execute(
            "UPDATE qsessions.session SET expires_at = now() WHERE id = $1",
            &[&expired.id],
        )
        .await
        .unwrap();
    let newest = begun(
        &row(
            &client,
            "SELECT * FROM qsessions.login(NULL, 1, max_sessions => 3)",
            &[],
        )
        .await,
    );
    for (session, lives) in sessions.iter().zip([false, false, false, true, true]) {
        assert_eq!(alive(&client, &session.key).await, lives);
    }
    assert!(alive(&client, &newest.key).await);
    assert!(alive(&client, &other.key).await);

    for limit in [0, -1] {
        let statement = format!("SELECT qsessions.login(NULL, 1, max_sessions => {limit})");
        let refused = failure(&client, &statement, &[]).await;
        assert_eq!(refused.code, "22023");
        assert!(
            refused.message.starts_with("argument \"max_sessions\""),
            "{refused:?}"
        );
    }
    client
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        .await
        .unwrap();
    let refused = failure(
        &client,
        "SELECT qsessions.login(NULL, 1, max_sessions => 3)",
        &[],
    )
    .await;
    assert_eq!(refused.code, "0A000");
    assert!(!refused.hint.is_empty());
}

#[tokio::test]
async fn a_session_that_is_created_for_a_user_can_end_those_beyond_the_limit() {
    let database = Database::new().await;
    let client = database.connect().await;
    client
        .batch_execute("SELECT qsessions.create_event_table()")
        .await
        .unwrap();
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(begin(&client, "user_id => 1").await);
    }
    let other = begin(&client, "user_id => 2, max_sessions => 1").await;
    let key = "key => 'a key of another framework'";
    sessions.push(begin(&client, &format!("user_id => 1, max_sessions => 3, {key}")).await);
    for (session, lives) in sessions.iter().zip([false, false, true, true, true]) {
        assert_eq!(alive(&client, &session.key).await, lives);
    }
    assert!(alive(&client, &other.key).await);
    // An anonymous session has no others.
    let anonymous = begin(&client, "max_sessions => 1").await;
    begin(&client, "max_sessions => 1").await;
    assert!(alive(&client, &anonymous.key).await);

    let by_limit: i64 = row(
        &client,
        "SELECT count(*) FROM qsessions.session_event WHERE event = 'revoked' AND revoked_by = 'limit'",
        &[],
    )
    .await
    .get(0);
    assert_eq!(by_limit, 2);
    let statement = "SELECT qsessions.create_session(1, max_sessions => 0)";
    assert_eq!(failure(&client, statement, &[]).await.code, "22023");
}
