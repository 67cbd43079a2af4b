//! authenticate, current_session_id and current_user_id: who is asking, until the transaction ends.

mod forgery;
mod plans;
mod postgrest;
mod transactions;

use crate::common::roles::DENIED;
use crate::common::{Begun, alive, begin, failure, row};
use qsessions_testkit::{Database, Users};
use tokio_postgres::Client;
use uuid::Uuid;

const AUTHENTICATE: &str = "SELECT * FROM qsessions.authenticate($1)";

/// The number of rows that `authenticate` returns.
async fn authenticate(client: &Client, key: &str) -> usize {
    client.query(AUTHENTICATE, &[&key]).await.unwrap().len()
}

/// The user of the current session.
async fn user(client: &Client) -> Option<String> {
    row(client, "SELECT qsessions.current_user_id()", &[])
        .await
        .get(0)
}

/// The id of the current session.
async fn id(client: &Client) -> Option<Uuid> {
    row(client, "SELECT qsessions.current_session_id()", &[])
        .await
        .get(0)
}

async fn run(client: &Client, statements: &str) {
    client.batch_execute(statements).await.unwrap();
}

/// A database, a connection, and sessions of the users 7 and 8.
async fn two_sessions() -> (Database, Client, Begun, Begun) {
    let database = Database::new().await;
    let client = database.connect().await;
    let seven = begin(&client, "user_id => 7").await;
    let eight = begin(&client, "user_id => 8").await;
    (database, client, seven, eight)
}

#[tokio::test]
async fn authenticate_returns_the_row_of_resume_session_and_records_the_visit() {
    let database = Database::new().await;
    let client = database.connect().await;
    let call = "user_id => 7, data => '{\"cart\": [1]}', ip => '192.0.2.1', user_agent => 'one'";
    let session = begin(&client, call).await;
    let same: bool = row(
        &client,
        "SELECT (SELECT s::text FROM qsessions.load_session($1) AS s)
              = (SELECT s::text FROM qsessions.authenticate($1) AS s)",
        &[&session.key],
    )
    .await
    .get(0);
    assert!(same);

    let hints = r#"{"Sec-CH-UA-Platform": "\"Android\""}"#;
    let seen = row(
        &client,
        &format!(
            "SELECT host(ip), user_agent, id FROM qsessions.authenticate(
                 client_hints => '{hints}', user_agent => 'two', ip => '192.0.2.2', key => $1)"
        ),
        &[&session.key],
    )
    .await;
    assert_eq!(seen.get::<_, &str>(0), "192.0.2.2");
    assert_eq!(seen.get::<_, &str>(1), "two");
    assert_eq!(seen.get::<_, Uuid>(2), session.id);
    let kept: bool = row(
        &client,
        "SELECT host(ip) = '192.0.2.2' AND user_agent = 'two' AND client_hints IS NOT NULL
         FROM qsessions.session",
        &[],
    )
    .await
    .get(0);
    assert!(kept);
}

#[tokio::test]
async fn the_current_session_is_that_of_the_key() {
    let (_database, client, seven, eight) = two_sessions().await;
    run(&client, "BEGIN").await;
    assert_eq!((user(&client).await, id(&client).await), (None, None));
    assert_eq!(authenticate(&client, &seven.key).await, 1);
    assert_eq!(user(&client).await.as_deref(), Some("7"));
    assert_eq!(id(&client).await, Some(seven.id));
    assert_eq!(authenticate(&client, &eight.key).await, 1);
    assert_eq!(user(&client).await.as_deref(), Some("8"));
    assert_eq!(id(&client).await, Some(eight.id));
}

#[tokio::test]
async fn without_a_live_session_there_is_no_current_one_even_if_there_was_one_before() {
    let (_database, client, seven, _) = two_sessions().await;
    let expired = begin(&client, "user_id => 8").await;
    run(
        &client,
        &format!(
            "UPDATE qsessions.session SET expires_at = now() - interval '1 s' WHERE id = '{}'",
            expired.id
        ),
    )
    .await;
    for stray in [
        Some("a key that no session has"),
        Some(&*expired.key),
        Some("short"),
        Some(""),
        Some(&*"x".repeat(100_000)),
        None,
    ] {
        run(&client, "BEGIN").await;
        assert_eq!(authenticate(&client, &seven.key).await, 1);
        let rows = client.query(AUTHENTICATE, &[&stray]).await.unwrap();
        assert_eq!(rows.len(), 0);
        assert_eq!((user(&client).await, id(&client).await), (None, None));
        run(&client, "COMMIT").await;
    }
}

#[tokio::test]
async fn an_anonymous_session_has_an_id_and_no_user() {
    let database = Database::new().await;
    let client = database.connect().await;
    let visitor = begin(&client, "").await;
    run(&client, "BEGIN").await;
    assert_eq!(authenticate(&client, &visitor.key).await, 1);
    assert_eq!(id(&client).await, Some(visitor.id));
    assert_eq!(user(&client).await, None);
}

#[tokio::test]
async fn users_of_every_type_are_text() {
    let uuid = "0190a6e0-0000-7000-8000-000000000001";
    for (key_type, key) in [
        ("uuid", uuid),
        ("text", "Zoë' OR true --"),
        ("integer", "-5"),
    ] {
        let literal = key.replace('\'', "''");
        let keys: &'static [&'static str] = Box::leak(Box::new([&*literal.clone().leak()]));
        let database = Database::with(Users::Keyed(key_type, keys)).await;
        let client = database.connect().await;
        let session = begin(&client, &format!("user_id => '{literal}'")).await;
        run(&client, "BEGIN").await;
        assert_eq!(authenticate(&client, &session.key).await, 1);
        assert_eq!(user(&client).await.as_deref(), Some(key));
    }
}

#[tokio::test]
async fn a_former_key_authenticates_during_its_grace() {
    let (_database, client, seven, _) = two_sessions().await;
    let rotate = "SELECT qsessions.rotate_key($1, grace => '1 minute')";
    let key: String = row(&client, rotate, &[&seven.key]).await.get(0);
    run(&client, "BEGIN").await;
    for key in [&key, &seven.key] {
        assert_eq!(authenticate(&client, key).await, 1);
        assert_eq!(id(&client).await, Some(seven.id));
    }
    row(&client, "SELECT qsessions.logout($1)", &[&key]).await;
    assert_eq!(authenticate(&client, &seven.key).await, 0);
    assert_eq!(id(&client).await, None);
}

/// Ways to delete the session of user 7, and nothing else.
const DELETIONS: &[&str] = &[
    "SELECT qsessions.logout('KEY')",
    "SELECT qsessions.revoke_session('ID')",
    "SELECT qsessions.revoke_user_sessions(7)",
    "SELECT qsessions.login('KEY', 9)",
    "DELETE FROM qsessions.session WHERE id = 'ID'",
    "DELETE FROM users WHERE id = 7",
    "DELETE FROM qsessions.session",
    "TRUNCATE qsessions.session",
];

#[tokio::test]
async fn a_session_that_is_deleted_is_current_no_longer_unless_that_is_rolled_back() {
    let (_database, client, seven, _) = two_sessions().await;
    for deletion in DELETIONS {
        let deletion = deletion
            .replace("KEY", &seven.key)
            .replace("ID", &seven.id.to_string());
        run(&client, "BEGIN").await;
        assert_eq!(authenticate(&client, &seven.key).await, 1);
        run(&client, &format!("SAVEPOINT before; {deletion}")).await;
        assert_eq!(
            (user(&client).await, id(&client).await),
            (None, None),
            "{deletion}"
        );
        run(&client, "ROLLBACK TO before").await;
        assert_eq!(id(&client).await, Some(seven.id), "{deletion}");
        run(&client, &deletion).await;
        assert_eq!(id(&client).await, None, "{deletion}");
        run(&client, "ROLLBACK").await;
        assert!(alive(&client, &seven.key).await, "{deletion}");
    }
}

#[tokio::test]
async fn the_end_of_another_session_does_not_matter() {
    let (_database, client, seven, eight) = two_sessions().await;
    run(&client, "BEGIN").await;
    assert_eq!(authenticate(&client, &seven.key).await, 1);
    row(&client, "SELECT qsessions.logout($1)", &[&eight.key]).await;
    run(&client, "SELECT qsessions.purge_expired()").await;
    assert_eq!(id(&client).await, Some(seven.id));
}

#[tokio::test]
async fn authenticate_needs_the_privileges_of_resume_session() {
    let (database, admin, seven, _) = two_sessions().await;
    let role = crate::common::roles::new_role(&database, &admin, "stranger").await;
    let client = database.connect_as(&role).await;
    let refused = failure(&client, AUTHENTICATE, &[&seven.key]).await;
    assert_eq!(refused.code, DENIED, "{}", refused.message);
    assert_eq!(user(&client).await, None);

    // A function of the owner authenticates for a role without privileges.
    run(
        &admin,
        "CREATE FUNCTION enter(key text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
         SET search_path = pg_catalog, pg_temp
         AS 'BEGIN PERFORM FROM qsessions.authenticate(key); RETURN FOUND; END'",
    )
    .await;
    run(&client, "BEGIN").await;
    let entered: bool = row(&client, "SELECT public.enter($1)", &[&seven.key])
        .await
        .get(0);
    assert!(entered);
    assert_eq!(user(&client).await.as_deref(), Some("7"));
}
