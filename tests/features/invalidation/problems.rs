//! What `invalidation_status()` says is wrong, and that what it tells to do is right.

use super::{Heard, ids, problem};
use crate::common::begin;
use qsessions_testkit::{Database, Users};

/// The statements in a problem's words.
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
async fn a_trigger_that_is_not_as_it_must_be_is_told_of_with_what_to_do() {
    let database = Database::new().await;
    let mut heard = Heard::of(database.config()).await;
    assert_eq!(problem(&heard.client).await, None);
    for (damage, words) in [
        // What `pg_dump --data-only --disable-triggers` writes around the data.
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
        heard.run(damage).await;
        let told = problem(&heard.client).await.expect(damage);
        assert!(told.contains(words), "{damage}: {told}");
        for remedy in remedies(&told) {
            heard.run(&remedy).await;
        }
        assert_eq!(problem(&heard.client).await, None, "{damage}");
        let session = begin(&heard.client, "").await;
        heard.run("SET session_replication_role = replica").await;
        heard.touch(&session).await;
        heard.run("SET session_replication_role = origin").await;
        assert_eq!(heard.announced().await, ids([&session]), "{damage}");
    }
}

#[tokio::test]
async fn without_a_session_table_nothing_is_wrong() {
    let database = Database::with(Users::Nothing).await;
    assert_eq!(problem(&database.connect().await).await, None);
}

#[tokio::test]
async fn what_is_wrong_is_found_whatever_the_search_path_is() {
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
