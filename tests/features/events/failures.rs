//! What happens when an event cannot be written: what ends a session takes effect, with a warning,
//! and a login fails.

use super::{events, login, with_events};
use crate::common::{Listening, begin, failure, row, sessions, texts};
use qsessions_testkit::Database;
use tokio_postgres::Client;

/// Ends sessions in several ways, which must all work, and returns the warnings. Logins must fail
/// with this code.
async fn warnings(database: &Database, admin: &Client, refuse: &str, code: &str) -> Vec<String> {
    let listening = Listening::to(&database.config()).await;
    let client = &listening.client;
    let mut ended = Vec::new();
    for user in [1, 1, 1, 2] {
        ended.push(begin(client, &format!("user_id => {user}")).await);
    }
    admin.batch_execute(refuse).await.unwrap();
    for call in ["login(NULL, 3)", "create_session(user_id => 3)"] {
        let statement = format!("SELECT qsessions.{call}");
        assert_eq!(failure(client, &statement, &[]).await.code, code, "{call}");
    }
    let visitor = begin(client, "").await;
    let rotate = "SELECT qsessions.rotate_key($1)";
    let key: String = row(client, rotate, &[&ended[0].key]).await.get(0);
    for (call, id) in [
        ("logout($1)", None),
        ("revoke_session($1)", Some(ended[1].id)),
        ("revoke_session($1, 1)", Some(ended[2].id)),
    ] {
        let statement = format!("SELECT qsessions.{call}");
        let result = match &id {
            Some(id) => row(client, &statement, &[id]).await,
            None => row(client, &statement, &[&key]).await,
        };
        assert!(result.get::<_, bool>(0), "{call}");
    }
    client
        .batch_execute("DELETE FROM users WHERE id = 2")
        .await
        .unwrap();
    assert_eq!(sessions(client).await, 1);
    row(client, "SELECT qsessions.logout($1)", &[&visitor.key]).await;
    assert_eq!(sessions(client).await, 0);
    listening.notices()
}

const ALL: [&str; 6] = [
    "could not record event \"rotated\"",
    "could not record event \"logout\"",
    "could not record event \"revoked\"",
    "could not record event \"revoked\"",
    "could not record event \"deleted\"",
    "could not record event \"logout\"",
];

#[tokio::test]
async fn a_constraint_of_the_owner_refuses_logins_and_nothing_else() {
    let (database, client) = with_events().await;
    let refuse = "ALTER TABLE qsessions.session_event ADD CHECK (ip IS NOT NULL) NOT VALID";
    assert_eq!(warnings(&database, &client, refuse, "23514").await, ALL);
    let with_address = login(&client, "NULL, 1, '192.0.2.7'").await;
    assert_eq!(events(&client, with_address.id).await, ["login"]);
}

#[tokio::test]
async fn a_trigger_of_the_owner_refuses_logins_and_nothing_else() {
    let (database, client) = with_events().await;
    let refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'refused'; END$$;
                  CREATE TRIGGER refuse BEFORE INSERT ON qsessions.session_event
                      FOR EACH ROW EXECUTE FUNCTION refuse()";
    assert_eq!(warnings(&database, &client, refuse, "P0001").await, ALL);
}

#[tokio::test]
async fn a_missing_partition_refuses_logins_until_the_next_purge() {
    let (database, client) = with_events().await;
    let refuse = "DO $$ DECLARE part regclass; BEGIN
                      FOR part IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'qsessions.session_event'::regclass LOOP
                          EXECUTE format('DROP TABLE %s', part);
                      END LOOP;
                  END $$";
    assert_eq!(warnings(&database, &client, refuse, "23514").await, ALL);
    client
        .batch_execute("CALL qsessions.purge()")
        .await
        .unwrap();
    let session = login(&client, "NULL, 1").await;
    assert_eq!(events(&client, session.id).await, ["login"]);
}

#[tokio::test]
async fn a_dropped_table_blocks_nothing() {
    let (database, client) = with_events().await;
    // A connection that has used the table does not notice either.
    let session = login(&client, "NULL, 1").await;
    database
        .connect()
        .await
        .batch_execute("DROP TABLE qsessions.session_event")
        .await
        .unwrap();
    assert!(
        row(&client, "SELECT qsessions.logout($1)", &[&session.key])
            .await
            .get::<_, bool>(0)
    );
    login(&client, "NULL, 1").await;
    client
        .batch_execute("CALL qsessions.purge()")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_failure_undoes_nothing_else_of_the_transaction() {
    let (_database, client) = with_events().await;
    let session = login(&client, "NULL, 1").await;
    client
        .batch_execute(&format!(
            "ALTER TABLE qsessions.session_event ADD CONSTRAINT no_logout CHECK (event <> 'logout');
             BEGIN; SELECT qsessions.login(NULL, 2); SELECT qsessions.logout('{}'); SELECT qsessions.login(NULL, 3); COMMIT",
            session.key
        ))
        .await
        .unwrap();
    let users = "SELECT user_id FROM qsessions.session_event ORDER BY at";
    assert_eq!(texts(&client, users).await, ["1", "2", "3"]);
    assert_eq!(sessions(&client).await, 2);
}

#[tokio::test]
async fn no_warning_contains_a_key() {
    let (database, client) = with_events().await;
    let session = login(&client, "NULL, 1").await;
    client
        .batch_execute("ALTER TABLE qsessions.session_event ADD CHECK (false) NOT VALID")
        .await
        .unwrap();
    let listening = Listening::to(&database.config()).await;
    row(
        &listening.client,
        "SELECT qsessions.logout($1)",
        &[&session.key],
    )
    .await;
    let notices = listening.notices();
    assert_eq!(notices, ["could not record event \"logout\""]);
    assert!(!notices[0].contains(&session.key));
}
