//! The current session ends with its transaction, and savepoints restore the one before.

use super::{AUTHENTICATE, authenticate, id, run, two_sessions, user};
use crate::common::{failure, row};
use qsessions_testkit::{PgBouncer, Server};
use tokio_postgres::NoTls;

#[tokio::test]
async fn each_end_of_the_transaction_ends_it() {
    let (_database, client, seven, _) = two_sessions().await;
    assert_eq!(authenticate(&client, &seven.key).await, 1);
    assert_eq!(user(&client).await, None);
    for end in ["COMMIT", "ROLLBACK"] {
        run(&client, "BEGIN").await;
        assert_eq!(authenticate(&client, &seven.key).await, 1);
        run(&client, end).await;
        assert_eq!((user(&client).await, id(&client).await), (None, None));
    }
    for end in ["COMMIT AND CHAIN", "ROLLBACK AND CHAIN"] {
        run(&client, "BEGIN").await;
        assert_eq!(authenticate(&client, &seven.key).await, 1);
        run(&client, end).await;
        assert_eq!((user(&client).await, id(&client).await), (None, None));
        run(&client, "COMMIT").await;
    }
}

#[tokio::test]
async fn an_error_ends_it() {
    let (_database, client, seven, _) = two_sessions().await;
    run(&client, "BEGIN").await;
    assert_eq!(authenticate(&client, &seven.key).await, 1);
    failure(&client, "SELECT 1 / 0", &[]).await;
    run(&client, "ROLLBACK").await;
    assert_eq!(user(&client).await, None);

    // The error of a constraint that is checked at the commit.
    run(
        &client,
        "CREATE TABLE part (id int PRIMARY KEY, of int REFERENCES part DEFERRABLE INITIALLY DEFERRED);
         BEGIN; INSERT INTO part VALUES (1, 2)",
    )
    .await;
    assert_eq!(authenticate(&client, &seven.key).await, 1);
    failure(&client, "COMMIT", &[]).await;
    assert_eq!(user(&client).await, None);
}

#[tokio::test]
async fn a_rollback_to_a_savepoint_restores_the_session_before_it() {
    let (_database, client, seven, eight) = two_sessions().await;
    run(&client, "BEGIN; SAVEPOINT a").await;
    assert_eq!(authenticate(&client, &seven.key).await, 1);
    run(&client, "SAVEPOINT b").await;
    assert_eq!(authenticate(&client, &eight.key).await, 1);
    run(&client, "SAVEPOINT c").await;
    assert_eq!(authenticate(&client, "a key without a session").await, 0);
    assert_eq!(id(&client).await, None);
    run(&client, "ROLLBACK TO c").await;
    assert_eq!(id(&client).await, Some(eight.id));
    run(&client, "ROLLBACK TO b").await;
    assert_eq!(id(&client).await, Some(seven.id));
    run(&client, "ROLLBACK TO a").await;
    assert_eq!(id(&client).await, None);
    run(&client, "COMMIT").await;
}

#[tokio::test]
async fn what_a_released_savepoint_has_set_stays_until_the_one_around_it_is_rolled_back() {
    let (_database, client, seven, eight) = two_sessions().await;
    run(&client, "BEGIN").await;
    assert_eq!(authenticate(&client, &seven.key).await, 1);
    run(&client, "SAVEPOINT a; SAVEPOINT b; SAVEPOINT c").await;
    assert_eq!(authenticate(&client, &eight.key).await, 1);
    run(&client, "RELEASE c").await;
    assert_eq!(id(&client).await, Some(eight.id));
    run(&client, "RELEASE b").await;
    assert_eq!(id(&client).await, Some(eight.id));
    run(&client, "ROLLBACK TO a").await;
    assert_eq!(id(&client).await, Some(seven.id));

    run(&client, "SAVEPOINT b").await;
    assert_eq!(authenticate(&client, &eight.key).await, 1);
    run(&client, "RELEASE a").await;
    assert_eq!(id(&client).await, Some(eight.id));
    run(&client, "COMMIT").await;
    assert_eq!(id(&client).await, None);
}

#[tokio::test]
async fn an_exception_block_of_plpgsql_restores_the_session_before_it() {
    let (_database, client, seven, eight) = two_sessions().await;
    run(
        &client,
        &format!(
            "BEGIN;
             DO $$
             BEGIN
                 PERFORM qsessions.authenticate('{seven}');
                 ASSERT qsessions.current_user_id() = '7';
                 BEGIN
                     PERFORM qsessions.authenticate('{eight}');
                     ASSERT qsessions.current_user_id() = '8';
                     RAISE EXCEPTION 'undone';
                 EXCEPTION WHEN raise_exception THEN
                     ASSERT qsessions.current_user_id() = '7';
                 END;
                 BEGIN
                     PERFORM qsessions.authenticate('{eight}');
                 EXCEPTION WHEN raise_exception THEN
                     ASSERT false;
                 END;
                 ASSERT qsessions.current_user_id() = '8';
             END
             $$",
            seven = seven.key,
            eight = eight.key
        ),
    )
    .await;
    assert_eq!(id(&client).await, Some(eight.id));
}

#[tokio::test]
async fn authenticate_that_fails_leaves_no_session_until_its_savepoint_is_rolled_back() {
    let (_database, client, seven, _) = two_sessions().await;
    run(&client, "BEGIN").await;
    assert_eq!(authenticate(&client, &seven.key).await, 1);
    run(
        &client,
        "SAVEPOINT a; ALTER TABLE qsessions.session RENAME TO elsewhere",
    )
    .await;
    failure(&client, AUTHENTICATE, &[&seven.key]).await;
    run(&client, "ROLLBACK TO a").await;
    assert_eq!(id(&client).await, Some(seven.id));
}

#[tokio::test]
async fn a_procedure_that_commits_ends_it() {
    let (_database, client, seven, _) = two_sessions().await;
    run(
        &client,
        &format!(
            "CREATE PROCEDURE work() LANGUAGE plpgsql AS $$
             BEGIN
                 PERFORM qsessions.authenticate('{0}');
                 ASSERT qsessions.current_user_id() = '7';
                 COMMIT;
                 ASSERT qsessions.current_user_id() IS NULL;
                 PERFORM qsessions.authenticate('{0}');
                 ROLLBACK;
                 ASSERT qsessions.current_session_id() IS NULL;
             END $$",
            seven.key
        ),
    )
    .await;
    run(&client, "CALL work()").await;
}

#[tokio::test]
async fn a_trigger_that_is_deferred_to_the_commit_sees_it() {
    let (_database, client, seven, _) = two_sessions().await;
    run(
        &client,
        "CREATE TABLE entry (author text);
         CREATE TABLE seen (author text);
         CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN INSERT INTO seen VALUES (qsessions.current_user_id()); RETURN NULL; END';
         CREATE CONSTRAINT TRIGGER see AFTER INSERT ON entry DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW EXECUTE FUNCTION see();
         BEGIN",
    )
    .await;
    assert_eq!(authenticate(&client, &seven.key).await, 1);
    run(&client, "INSERT INTO entry VALUES ('x'); COMMIT").await;
    let author: String = row(&client, "SELECT author FROM seen", &[]).await.get(0);
    assert_eq!(author, "7");
}

#[tokio::test]
async fn a_prepared_transaction_takes_it_along_nowhere() {
    let server = Server::builder()
        .setting("max_prepared_transactions", "5")
        .start()
        .await
        .unwrap();
    let client = server.connect("postgres").await.unwrap();
    run(
        &client,
        "CREATE EXTENSION qsessions; SELECT qsessions.create_session_table()",
    )
    .await;
    let session = crate::common::begin(&client, "user_id => 7").await;
    run(&client, "BEGIN; CREATE TABLE made ()").await;
    assert_eq!(authenticate(&client, &session.key).await, 1);
    run(&client, "PREPARE TRANSACTION 'held'").await;
    assert_eq!((user(&client).await, id(&client).await), (None, None));
    let other = server.connect("postgres").await.unwrap();
    for client in [&other, &client] {
        run(client, "BEGIN").await;
        assert_eq!(user(client).await, None);
        run(client, "COMMIT").await;
    }
    run(&other, "COMMIT PREPARED 'held'").await;
    for client in [&other, &client] {
        assert_eq!((user(client).await, id(client).await), (None, None));
    }
    run(&other, "TABLE made").await;
}

#[tokio::test]
async fn a_held_cursor_keeps_the_rows_of_its_transaction_and_no_session() {
    let (_database, client, seven, _) = two_sessions().await;
    run(&client, "BEGIN").await;
    assert_eq!(authenticate(&client, &seven.key).await, 1);
    run(
        &client,
        "DECLARE held CURSOR WITH HOLD FOR
         SELECT qsessions.current_user_id() FROM generate_series(1, 2); COMMIT",
    )
    .await;
    let fetched = row(&client, "FETCH held", &[]).await;
    assert_eq!(fetched.get::<_, &str>(0), "7");
    assert_eq!(user(&client).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_client_of_a_pooled_connection_finds_none() {
    let (database, _client, seven, _) = two_sessions().await;
    let pgbouncer = PgBouncer::in_front_of(database.server(), 1).await.unwrap();
    let config = pgbouncer.config(database.name());
    let mut clients = Vec::new();
    for _ in 0..2 {
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        clients.push(client);
    }
    let who = "SELECT pg_backend_pid(), qsessions.current_user_id()";
    // Both of the pool's clients get its only connection to the server.
    for end in ["COMMIT", "ROLLBACK", "SELECT 1 / 0"] {
        run(
            &clients[0],
            &format!("BEGIN; SELECT qsessions.authenticate('{}')", seven.key),
        )
        .await;
        let (pid, user) = asked(&clients[0], who).await;
        assert_eq!(user.as_deref(), Some("7"));
        if clients[0].batch_execute(end).await.is_err() {
            run(&clients[0], "ROLLBACK").await;
        }
        assert_eq!(asked(&clients[1], who).await, (pid, None));
    }
}

/// The values of a simple query: the first column, and the second if it is not null.
async fn asked(client: &tokio_postgres::Client, statement: &str) -> (String, Option<String>) {
    let messages = client.simple_query(statement).await.unwrap();
    messages
        .iter()
        .find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some((
                row.get(0).unwrap().to_owned(),
                row.get(1).map(str::to_owned),
            )),
            _ => None,
        })
        .unwrap()
}
