//! Sessions: create, load, resume, save, patch, rotate, revoke.

use crate::common::{alive, begin, begun, data, failure, row};
use qsessions_testkit::Database;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::time::SystemTime;
use tokio_postgres::Client;

async fn time(client: &Client, expression: &str, key: &str) -> SystemTime {
    let statement = format!("SELECT {expression} FROM qsessions.load_session($1)");
    row(client, &statement, &[&key]).await.get(0)
}

#[tokio::test]
async fn create_returns_the_key_and_the_table_stores_its_hash() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(
        &client,
        r#"user_id => 1, data => '{"cart": [1]}', ip => '2001:db8::1', user_agent => 'curl/8.5.0'"#,
    )
    .await;
    let found = row(
        &client,
        "SELECT * FROM qsessions.load_session($1)",
        &[&session.key],
    )
    .await;
    assert_eq!(found.get::<_, uuid::Uuid>("id"), session.id);
    assert_eq!(found.get::<_, String>("user_id"), "1");
    assert_eq!(found.get::<_, Value>("data"), json!({"cart": [1]}));
    assert_eq!(found.get::<_, IpAddr>("ip").to_string(), "2001:db8::1");
    assert_eq!(found.get::<_, String>("user_agent"), "curl/8.5.0");
    assert_eq!(found.get::<_, i64>("version"), 1);
    let kept: bool = row(
        &client,
        "SELECT digest = sha256(convert_to($1, 'UTF8')) AND to_jsonb(s)::text NOT LIKE '%' || $1 || '%'
         FROM qsessions.session AS s",
        &[&session.key],
    )
    .await
    .get(0);
    assert!(kept);
}

#[tokio::test]
async fn a_session_can_have_the_key_of_another_framework() {
    let database = Database::new().await;
    let client = database.connect().await;
    for key in [
        "8e2kq0xj7yv4n1m9c3b6z5a2s1d0f9g8",
        "s:express'\"session\\.é😀",
        "12345678",
    ] {
        let row = row(
            &client,
            "SELECT * FROM qsessions.create_session(key => $1)",
            &[&key],
        )
        .await;
        assert_eq!(begun(&row).key, key);
        assert!(alive(&client, key).await);
        let taken = failure(
            &client,
            "SELECT qsessions.create_session(key => $1)",
            &[&key],
        )
        .await;
        assert_eq!(taken.code, "23505");
        assert!(!format!("{taken:?}").contains(key), "{taken:?}");
    }
}

#[tokio::test]
async fn a_key_opens_its_own_session_only() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "").await;
    // The same id with another secret, which anyone who knows the public id can construct.
    let forged: String = row(
        &client,
        "SELECT qsessions._generate_key_for($1)",
        &[&session.id],
    )
    .await
    .get(0);
    assert!(!alive(&client, &forged).await);
    for call in [
        "save_session($1, '{}')",
        "patch_session($1)",
        "rotate_key($1)",
        "set_expiry($1, '1 h')",
    ] {
        let refused = failure(&client, &format!("SELECT qsessions.{call}"), &[&forged]).await;
        assert_eq!(refused.code, "QS001", "{call}");
    }
    let ended: bool = row(&client, "SELECT qsessions.logout($1)", &[&forged])
        .await
        .get(0);
    assert!(!ended);
    assert!(alive(&client, &session.key).await);
}

#[tokio::test]
async fn save_replaces_data_and_counts_versions() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, r#"data => '{"a": 1}'"#).await;
    let save = "SELECT qsessions.save_session($1, $2, $3)";
    for (value, expected, version) in [
        (json!({"b": 2}), Some(1_i64), 2_i64),
        (json!([1, 2]), None, 3),
        (json!(null), Some(3), 4),
    ] {
        let saved: i64 = row(&client, save, &[&session.key, &value, &expected])
            .await
            .get(0);
        assert_eq!(saved, version);
        assert_eq!(data(&client, &session.key).await, value);
    }
    let late = failure(&client, save, &[&session.key, &json!({}), &Some(1_i64)]).await;
    assert_eq!(late.code, "QS002");
    assert!(
        late.message.contains("expected_version") && late.message.contains('4'),
        "{late:?}"
    );
    assert!(!late.hint.is_empty());
    assert_eq!(data(&client, &session.key).await, json!(null));
}

#[tokio::test]
async fn no_call_brings_an_ended_session_back() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "").await;
    let ended: bool = row(&client, "SELECT qsessions.logout($1)", &[&session.key])
        .await
        .get(0);
    assert!(ended);
    for call in [
        "save_session($1, '{}')",
        "save_session($1, '{}', 1)",
        "patch_session($1, '{\"a\": 1}')",
        "rotate_key($1)",
        "set_expiry($1, ttl => '1 h')",
    ] {
        let gone = failure(
            &client,
            &format!("SELECT qsessions.{call}"),
            &[&session.key],
        )
        .await;
        assert_eq!(gone.code, "QS001", "{call}");
        assert!(
            gone.message.starts_with("argument \"key\"") && !gone.hint.is_empty(),
            "{call}: {gone:?}"
        );
    }
    let again: bool = row(&client, "SELECT qsessions.logout($1)", &[&session.key])
        .await
        .get(0);
    assert!(!again);
    let rows: i64 = row(&client, "SELECT count(*) FROM qsessions.session", &[])
        .await
        .get(0);
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn patch_sets_and_removes_top_level_members() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, r#"data => '{"a": {"x": 1}, "b": 2, "c": 3}'"#).await;
    let version: i64 = row(
        &client,
        r#"SELECT qsessions.patch_session($1, '{"a": {"y": 2}, "d": null}', ARRAY['b', 'no such'])"#,
        &[&session.key],
    )
    .await
    .get(0);
    assert_eq!(version, 2);
    assert_eq!(
        data(&client, &session.key).await,
        json!({"a": {"y": 2}, "c": 3, "d": null})
    );

    let version: i64 = row(
        &client,
        "SELECT qsessions.patch_session($1, NULL, NULL)",
        &[&session.key],
    )
    .await
    .get(0);
    assert_eq!(version, 3);
    assert_eq!(
        data(&client, &session.key).await,
        json!({"a": {"y": 2}, "c": 3, "d": null})
    );

    for changes in ["[1]", "1", "\"text\"", "null"] {
        let statement = format!("SELECT qsessions.patch_session($1, '{changes}')");
        let refused = failure(&client, &statement, &[&session.key]).await;
        assert_eq!(refused.code, "22023");
        assert!(
            refused.message.starts_with("argument \"changes\""),
            "{refused:?}"
        );
    }
    row(
        &client,
        "SELECT qsessions.save_session($1, '[1]')",
        &[&session.key],
    )
    .await;
    let refused = failure(
        &client,
        r#"SELECT qsessions.patch_session($1, '{"a": 1}')"#,
        &[&session.key],
    )
    .await;
    assert_eq!(refused.code, "22023");
    assert_eq!(data(&client, &session.key).await, json!([1]));
}

#[tokio::test]
async fn resume_writes_only_new_visits() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "ip => '192.0.2.1', user_agent => 'one'").await;
    let write = async |arguments: &str| -> bool {
        let before: String = row(&client, "SELECT ctid::text FROM qsessions.session", &[])
            .await
            .get(0);
        let statement = format!("SELECT id FROM qsessions.resume_session($1{arguments})");
        let resumed = row(&client, &statement, &[&session.key]).await;
        assert_eq!(resumed.get::<_, uuid::Uuid>(0), session.id);
        let after: String = row(&client, "SELECT ctid::text FROM qsessions.session", &[])
            .await
            .get(0);
        before != after
    };
    assert!(!write("").await);
    assert!(!write(", '192.0.2.1', 'one'").await);
    assert!(!write(", NULL, NULL").await);
    assert!(write(", ip => '192.0.2.2'").await);
    assert!(write(", user_agent => 'two'").await);
    assert!(!write(", '192.0.2.2', 'two'").await);
    client
        .batch_execute("UPDATE qsessions.session SET last_seen_at = now() - interval '61 s'")
        .await
        .unwrap();
    assert!(write("").await);
    assert!(!write("").await);
    let seen = row(
        &client,
        "SELECT ip, user_agent, version FROM qsessions.load_session($1)",
        &[&session.key],
    )
    .await;
    assert_eq!(seen.get::<_, IpAddr>(0).to_string(), "192.0.2.2");
    assert_eq!(seen.get::<_, String>(1), "two");
    assert_eq!(seen.get::<_, i64>(2), 1);
}

#[tokio::test]
async fn rotate_changes_the_key_and_nothing_else() {
    let database = Database::new().await;
    let client = database.connect().await;
    for arguments in [
        "user_id => 1, data => '{\"a\": 1}'",
        "key => 'a key from elsewhere'",
    ] {
        let session = begin(&client, arguments).await;
        let before = row(
            &client,
            "SELECT l::text FROM qsessions.load_session($1) l",
            &[&session.key],
        )
        .await;
        let key: String = row(&client, "SELECT qsessions.rotate_key($1)", &[&session.key])
            .await
            .get(0);
        assert_eq!(key.len(), 48);
        assert!(!alive(&client, &session.key).await);
        let after = row(
            &client,
            "SELECT l::text FROM qsessions.load_session($1) l",
            &[&key],
        )
        .await;
        assert_eq!(before.get::<_, String>(0), after.get::<_, String>(0));
        let id: uuid::Uuid = row(&client, "SELECT qsessions.session_id($1)", &[&key])
            .await
            .get(0);
        assert_eq!(id, session.id);
    }
}

#[tokio::test]
async fn sessions_are_revoked_by_id_and_user() {
    let database = Database::new().await;
    let client = database.connect().await;
    let a = begin(&client, "user_id => 1").await;
    let b = begin(&client, "user_id => 1").await;
    let c = begin(&client, "user_id => 1").await;
    let theirs = begin(&client, "user_id => 2").await;
    let revoke = "SELECT qsessions.revoke_session($1, $2::bigint)";
    assert!(
        !row(&client, revoke, &[&a.id, &2_i64])
            .await
            .get::<_, bool>(0)
    );
    assert!(alive(&client, &a.key).await);
    assert!(
        row(&client, revoke, &[&a.id, &1_i64])
            .await
            .get::<_, bool>(0)
    );
    assert!(
        !row(&client, revoke, &[&a.id, &1_i64])
            .await
            .get::<_, bool>(0)
    );
    assert!(!alive(&client, &a.key).await);
    let nobody = failure(&client, revoke, &[&b.id, &None::<i64>]).await;
    assert_eq!(nobody.code, "22004");

    let ended: i64 = row(
        &client,
        "SELECT qsessions.revoke_user_sessions(1, $1)",
        &[&c.key],
    )
    .await
    .get(0);
    assert_eq!(ended, 1);
    assert!(!alive(&client, &b.key).await);
    assert!(alive(&client, &c.key).await);
    let ended: i64 = row(&client, "SELECT qsessions.revoke_user_sessions(1)", &[])
        .await
        .get(0);
    assert_eq!(ended, 1);
    assert!(!alive(&client, &c.key).await);
    assert!(alive(&client, &theirs.key).await);
    assert!(
        row(
            &client,
            "SELECT qsessions.revoke_session($1)",
            &[&theirs.id]
        )
        .await
        .get::<_, bool>(0)
    );
}

#[tokio::test]
async fn saves_and_logins_set_their_timestamps() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "").await;
    let created = time(&client, "created_at", &session.key).await;
    row(
        &client,
        "SELECT qsessions.save_session($1, '{}')",
        &[&session.key],
    )
    .await;
    assert!(time(&client, "updated_at", &session.key).await > created);
    assert_eq!(time(&client, "created_at", &session.key).await, created);
    let key = begun(
        &row(
            &client,
            "SELECT * FROM qsessions.login($1, 1)",
            &[&session.key],
        )
        .await,
    )
    .key;
    let login = time(&client, "authenticated_at", &key).await;
    assert!(login > created);
    row(&client, "SELECT qsessions.patch_session($1)", &[&key]).await;
    assert_eq!(time(&client, "authenticated_at", &key).await, login);
    assert!(time(&client, "updated_at", &key).await > login);
}

#[tokio::test]
async fn revoke_session_refuses_a_null_user() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "user_id => 1").await;
    for null in [
        "NULL",
        "NULL::text",
        "NULL::bigint",
        "NULL::uuid",
        "NULL::varchar",
    ] {
        for call in [
            format!("revoke_session('{}', {null})", session.id),
            format!("revoke_session(id => '{}', user_id => {null})", session.id),
            format!("revoke_user_sessions({null})"),
            format!("login('{}', {null})", session.key),
        ] {
            let refused = failure(&client, &format!("SELECT qsessions.{call}"), &[]).await;
            assert_eq!(refused.code, "22004", "{call}");
        }
    }
    // Drivers let the server choose the type of a parameter.
    client
        .batch_execute("PREPARE revoke AS SELECT qsessions.revoke_session($1, $2)")
        .await
        .unwrap();
    let untyped = format!("EXECUTE revoke('{}', NULL)", session.id);
    assert_eq!(failure(&client, &untyped, &[]).await.code, "22004");
    assert!(alive(&client, &session.key).await);
}
