//! The problems that `invalidation_status()` reports, and the statements that it proposes.

use super::{Listener, ids, problem};
use crate::common::begin;
use qsessions_testkit::{Database, Users};

/// The statements in the text of a problem.
fn remedies(problem: &str) -> Vec<String> {
    problem
        .split("; ")
        .map(|one| {
            let from = one.find("CREATE TRIGGER").or(one.find("ALTER TABLE"));
            one[from.unwrap()..].replace(", then ", "; ")
        })
        .collect()
}

#[tokio::test]
async fn a_damaged_trigger_is_reported_with_the_statement_that_mends_it() {
    let database = Database::new().await;
    let mut listener = Listener::new(database.config()).await;
    assert_eq!(problem(&listener.client).await, None);
    for (damage, words) in [
        // `pg_dump --data-only --disable-triggers` writes these around the data.
        (
            "ALTER TABLE qsessions.session DISABLE TRIGGER ALL; ALTER TABLE qsessions.session ENABLE TRIGGER ALL",
            "not ENABLE ALWAYS",
        ),
        (
            "ALTER TABLE qsessions.session DISABLE TRIGGER session_announce_row",
            "is disabled",
        ),
        (
            "ALTER TABLE qsessions.session ENABLE REPLICA TRIGGER session_announce_row",
            "not ENABLE ALWAYS",
        ),
        (
            "DROP TRIGGER session_announce_row ON qsessions.session",
            "no trigger",
        ),
        (
            "DROP TRIGGER session_announce_truncate ON qsessions.session",
            "TRUNCATE",
        ),
    ] {
        listener.run(damage).await;
        let reported = problem(&listener.client).await.expect(damage);
        assert!(reported.contains(words), "{damage}: {reported}");
        for remedy in remedies(&reported) {
            listener.run(&remedy).await;
        }
        assert_eq!(problem(&listener.client).await, None, "{damage}");
        let session = begin(&listener.client, "").await;
        listener.run("SET session_replication_role = replica").await;
        listener.touch(&session).await;
        listener.run("SET session_replication_role = origin").await;
        assert_eq!(listener.notified().await, ids([&session]), "{damage}");
    }
}

#[tokio::test]
async fn without_a_session_table_there_is_no_problem() {
    let database = Database::with(Users::Nothing).await;
    assert_eq!(problem(&database.connect().await).await, None);
}

#[tokio::test]
async fn problems_are_found_with_any_search_path() {
    let database = Database::new().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "CREATE SCHEMA evil;
             CREATE FUNCTION evil.never(oid, oid) RETURNS boolean LANGUAGE sql AS 'SELECT false';
             CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.never);
             CREATE TABLE evil.pg_trigger ();
             SET search_path = evil, pg_catalog;
             ALTER TABLE qsessions.session DISABLE TRIGGER session_announce_row",
        )
        .await
        .unwrap();
    assert!(problem(&client).await.is_some());
}
