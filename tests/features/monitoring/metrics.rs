//! `metrics`: what is counted, when, and for whom.

use super::{database_of, server_with_metrics};
use crate::common::{add_expired, begin, begun, failure, row};
use qsessions_testkit::Database;
use std::collections::BTreeMap;
use tokio_postgres::Client;

/// The counters that are not zero, without `_total`.
async fn counted(client: &Client) -> BTreeMap<String, i64> {
    let metrics = row(client, "SELECT * FROM qsessions.metrics()", &[]).await;
    let counters = metrics
        .columns()
        .iter()
        .enumerate()
        .map(|(position, column)| {
            let name = column.name().strip_suffix("_total").unwrap();
            (name.to_owned(), metrics.get::<_, i64>(position))
        });
    counters.filter(|(_, count)| *count != 0).collect()
}

fn counts<const N: usize>(expected: [(&str, i64); N]) -> BTreeMap<String, i64> {
    expected
        .map(|(name, count)| (name.to_owned(), count))
        .into()
}

#[tokio::test]
async fn what_the_functions_do_is_counted_once() {
    let server = server_with_metrics().await;
    let client = database_of(&server, "shop").await;
    assert_eq!(counted(&client).await, counts([]));

    let visitor = begin(&client, "").await;
    begin(&client, "user_id => 2, key => 'key of another framework'").await;
    for save in [
        "SELECT qsessions.save_session($1, '{\"a\": 1}')",
        "SELECT qsessions.patch_session($1, '{\"b\": 2}')",
    ] {
        row(&client, save, &[&visitor.key]).await;
    }
    let stale = "SELECT qsessions.save_session($1, '{}', expected_version => 1)";
    assert_eq!(failure(&client, stale, &[&visitor.key]).await.code, "QS002");
    // The first login makes the visitor's session that of user 1, the second creates one and ends
    // the first.
    let login = "SELECT key, id FROM qsessions.login($1, 1, max_sessions => 1)";
    begun(&row(&client, login, &[&visitor.key]).await);
    let member = begun(&row(&client, login, &[&None::<&str>]).await);
    row(&client, "SELECT qsessions.rotate_key($1)", &[&member.key]).await;
    for nothing in [
        "SELECT count(*) FROM qsessions.resume_session($1)",
        "SELECT count(*) FROM qsessions.resume_session(NULL) WHERE $1 <> ''",
    ] {
        row(&client, nothing, &[&member.key]).await;
    }
    let logout = "SELECT qsessions.logout('key of another framework')";
    for expected in [true, false] {
        assert_eq!(row(&client, logout, &[]).await.get::<_, bool>(0), expected);
    }
    for user in [3, 3, 4, 4] {
        begin(&client, &format!("user_id => {user}")).await;
    }
    row(&client, "SELECT qsessions.revoke_user_sessions(3)", &[]).await;
    let ids = "SELECT id FROM qsessions.user_sessions(4)";
    let ids: Vec<uuid::Uuid> = client
        .query(ids, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    row(&client, "SELECT qsessions.revoke_session($1)", &[&ids[0]]).await;
    let theirs = "SELECT qsessions.revoke_session($1, 4)";
    row(&client, theirs, &[&ids[1]]).await;
    row(&client, theirs, &[&ids[1]]).await;
    let mut expected = counts([
        ("sessions_created", 7),
        ("logins", 2),
        ("loads_of_nothing", 1),
        ("saves", 2),
        ("conflicts", 1),
        ("logouts", 1),
        ("revoked", 5),
    ]);
    let mut found = counted(&client).await;
    found.remove("announced");
    assert_eq!(found, expected);

    // The key of an expired session is counted, until a purge has deleted its row.
    let expired = begin(&client, "").await;
    client
        .execute(
            "UPDATE qsessions.session SET expires_at = now() WHERE id = $1",
            &[&expired.id],
        )
        .await
        .unwrap();
    let resume = "SELECT count(*) FROM qsessions.resume_session($1)";
    row(&client, resume, &[&expired.key]).await;
    let save = "SELECT qsessions.save_session($1, '{}')";
    assert_eq!(failure(&client, save, &[&expired.key]).await.code, "QS001");
    add_expired(&client, 3).await;
    client
        .batch_execute("CALL qsessions.purge()")
        .await
        .unwrap();
    row(&client, resume, &[&expired.key]).await;
    expected.extend(counts([
        ("sessions_created", 8),
        ("loads_of_nothing", 4),
        ("expired", 2),
        ("purged", 4),
    ]));
    let mut found = counted(&client).await;
    found.remove("announced");
    assert_eq!(found, expected);
}

#[tokio::test]
async fn only_what_is_committed_is_counted_except_refused_keys() {
    let server = server_with_metrics().await;
    let client = database_of(&server, "shop").await;
    let key = begin(&client, "").await.key;
    let save = format!("SELECT qsessions.save_session('{key}', '{{}}')");
    let conflict = format!(
        "DO $$ BEGIN PERFORM qsessions.save_session('{key}', '{{}}', 99);
         EXCEPTION WHEN SQLSTATE 'QS002' THEN NULL; END $$"
    );
    client
        .batch_execute(&format!(
            "BEGIN; {save}; ROLLBACK;
             BEGIN; {conflict}; ROLLBACK;
             BEGIN;
             {save};
             SAVEPOINT one; {save}; SAVEPOINT two; {save}; RELEASE two; ROLLBACK TO one;
             SAVEPOINT three; {save}; RELEASE three;
             SAVEPOINT four; SAVEPOINT five; {save}; RELEASE five; RELEASE four"
        ))
        .await
        .unwrap();
    let before = counts([("sessions_created", 1), ("conflicts", 1)]);
    assert_eq!(counted(&client).await, before);
    client.batch_execute("COMMIT").await.unwrap();
    let mut found = counted(&client).await;
    found.remove("announced");
    let expected = counts([("sessions_created", 1), ("conflicts", 1), ("saves", 3)]);
    assert_eq!(found, expected);
}

#[tokio::test]
async fn each_database_has_its_own_counters() {
    let server = server_with_metrics().await;
    let shop = database_of(&server, "shop").await;
    let forum = database_of(&server, "forum").await;
    begin(&shop, "").await;
    begin(&forum, "").await;
    begin(&forum, "").await;
    let created = [("sessions_created", 1)];
    assert_eq!(counted(&shop).await, counts(created));
    let created = [("sessions_created", 2)];
    assert_eq!(counted(&forum).await, counts(created));
    // Another connection reads the same ones.
    let forum = server.connect("forum").await.unwrap();
    assert_eq!(counted(&forum).await, counts(created));
}

#[tokio::test]
async fn sent_notifications_are_counted_whoever_sends_them() {
    let server = server_with_metrics().await;
    let client = database_of(&server, "shop").await;
    let key = begin(&client, "").await.key;
    // The first commit starts the notifier and sends by itself; later ones use the ring.
    for _ in 0..20 {
        row(&client, "SELECT qsessions.save_session($1, '{}')", &[&key]).await;
    }
    // Some may be sent together, but the last one is sent after all others.
    let backlog = "SELECT backlog FROM qsessions.invalidation_status()";
    while row(&client, backlog, &[]).await.get::<_, i64>(0) > 0 {}
    let announced = *counted(&client).await.get("announced").unwrap();
    assert!((2..=20).contains(&announced), "{announced}");
}

#[tokio::test]
async fn a_role_without_a_privilege_on_the_table_counts_nothing() {
    let server = server_with_metrics().await;
    let client = database_of(&server, "shop").await;
    client
        .batch_execute(
            "CREATE ROLE stranger LOGIN; CREATE ROLE watcher LOGIN;
             SELECT qsessions.grant_monitoring('watcher')",
        )
        .await
        .unwrap();
    for role in ["stranger", "watcher"] {
        let config = server.config("shop").user(role).clone();
        let other = qsessions_testkit::connect(&config).await.unwrap();
        let count = "SELECT qsessions._count('logins', 5)";
        assert!(!row(&other, count, &[]).await.get::<_, bool>(0));
    }
    // Nor does a count that makes no sense.
    for arguments in ["'logins', -1", "'no such counter'", "''", "'announced'"] {
        let count = format!("SELECT qsessions._count({arguments})");
        assert!(!row(&client, &count, &[]).await.get::<_, bool>(0));
    }
    assert_eq!(counted(&client).await, counts([]));
}

#[tokio::test]
async fn without_preload_the_counters_are_null() {
    let database = Database::new().await;
    let client = database.connect().await;
    begin(&client, "").await;
    row(
        &client,
        "SELECT count(*) FROM qsessions.resume_session('no session has this key')",
        &[],
    )
    .await;
    let metrics = row(&client, "SELECT * FROM qsessions.metrics()", &[]).await;
    assert_eq!(metrics.len(), 11);
    for position in 0..metrics.len() {
        assert_eq!(metrics.get::<_, Option<i64>>(position), None);
    }
}
