//! What happens when an event cannot be written: the login or logout takes effect, and there is a
//! warning.

use super::{events, login, with_events};
use crate::common::{Listening, alive, row, sessions, texts};
use qsessions_testkit::Database;

/// Logs in, logs out, deletes and purges, and returns the warnings.
async fn warnings(database: &Database) -> Vec<String> {
    let listening = Listening::to(&database.config()).await;
    let client = &listening.client;
    let first = login(client, "NULL, 1, user_agent => 'curl/8.5.0'").await;
    let second = login(client, "NULL, 1, user_agent => 'curl/8.5.0'").await;
    login(client, "NULL, 2").await;
    assert!(alive(client, &first.key).await);
    assert!(
        row(client, "SELECT qsessions.logout($1)", &[&first.key])
            .await
            .get::<_, bool>(0)
    );
    assert!(
        row(client, "SELECT qsessions.revoke_session($1)", &[&second.id])
            .await
            .get::<_, bool>(0)
    );
    client
        .batch_execute("DELETE FROM users WHERE id = 2")
        .await
        .unwrap();
    assert_eq!(sessions(client).await, 0);
    let mut warnings = listening.notices();
    warnings.retain(|notice| !notice.contains("purged"));
    warnings
}

const ALL: [&str; 6] = [
    "could not record event \"login\"",
    "could not record event \"login\"",
    "could not record event \"login\"",
    "could not record event \"logout\"",
    "could not record event \"administrator\"",
    "could not record event \"deleted\"",
];

#[tokio::test]
async fn a_constraint_of_the_owner_blocks_nothing() {
    let (database, client) = with_events().await;
    client
        .batch_execute("ALTER TABLE qsessions.session_event ADD CHECK (ip IS NOT NULL)")
        .await
        .unwrap();
    assert_eq!(warnings(&database).await, ALL);
    let with_address = login(&client, "NULL, 1, '192.0.2.7'").await;
    assert_eq!(events(&client, with_address.id).await, ["login"]);
}

#[tokio::test]
async fn a_trigger_of_the_owner_blocks_nothing() {
    let (database, client) = with_events().await;
    client
        .batch_execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'refused'; END$$;
             CREATE TRIGGER refuse BEFORE INSERT ON qsessions.session_event FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await
        .unwrap();
    assert_eq!(warnings(&database).await, ALL);
}

#[tokio::test]
async fn a_missing_partition_blocks_nothing_and_the_next_purge_makes_it() {
    let (database, client) = with_events().await;
    client
        .batch_execute(
            "DO $$ DECLARE part regclass; BEGIN
                 FOR part IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'qsessions.session_event'::regclass LOOP
                     EXECUTE format('DROP TABLE %s', part);
                 END LOOP;
             END $$",
        )
        .await
        .unwrap();
    assert_eq!(warnings(&database).await, ALL);
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
    assert_eq!(warnings(&database).await, Vec::<String>::new());
    client
        .batch_execute("CALL qsessions.purge()")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_failure_undoes_nothing_else_of_the_transaction() {
    let (_database, client) = with_events().await;
    client
        .batch_execute(
            "ALTER TABLE qsessions.session_event ADD CONSTRAINT only_known CHECK (user_id <> '9');
             BEGIN; SELECT qsessions.login(NULL, 1); SELECT qsessions.login(NULL, 9); SELECT qsessions.login(NULL, 2); COMMIT",
        )
        .await
        .unwrap();
    let users = "SELECT user_id FROM qsessions.session_event ORDER BY at";
    assert_eq!(texts(&client, users).await, ["1", "2"]);
    assert_eq!(sessions(&client).await, 3);
}

#[tokio::test]
async fn no_warning_contains_a_key() {
    let (database, client) = with_events().await;
    client
        .batch_execute("ALTER TABLE qsessions.session_event ADD CHECK (false)")
        .await
        .unwrap();
    let listening = Listening::to(&database.config()).await;
    let session = login(&listening.client, "NULL, 1").await;
    row(
        &listening.client,
        "SELECT qsessions.logout($1)",
        &[&session.key],
    )
    .await;
    let notices = listening.notices();
    assert_eq!(notices.len(), 2);
    assert!(notices.iter().all(|notice| !notice.contains(&session.key)));
}
