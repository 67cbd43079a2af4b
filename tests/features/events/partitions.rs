//! The months of the event table: made ahead, and dropped after the retention.

use super::{CREATE, login, with_events};
use crate::common::roles::application;
use crate::common::{Listening, row, sessions, texts};
use qsessions_testkit::Database;
use tokio_postgres::Client;

const PURGE: &str = "CALL qsessions.purge()";

/// The months that have a partition, counted from the present one.
async fn months(client: &Client) -> Vec<i32> {
    let found = client
        .query(
            "SELECT (12 * (extract(year FROM begins AT TIME ZONE 'UTC') - extract(year FROM now() AT TIME ZONE 'UTC'))
                     + extract(month FROM begins AT TIME ZONE 'UTC') - extract(month FROM now() AT TIME ZONE 'UTC'))::int
             FROM qsessions._event_partitions() WHERE isfinite(begins) AND isfinite(ends) AND ends >= begins + interval '28 days' ORDER BY begins",
            &[],
        )
        .await
        .unwrap();
    found.iter().map(|row| row.get(0)).collect()
}

/// Adds events of so many months ago.
async fn add(client: &Client, months: &[i32]) {
    for months in months {
        client
            .execute(
                "INSERT INTO qsessions.session_event (at, event, session_id, user_id)
                 VALUES (date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - make_interval(months => $1)
                         + interval '12 hours', 'login', gen_random_uuid(), '1')",
                &[months],
            )
            .await
            .unwrap();
    }
}

async fn in_default(client: &Client) -> i64 {
    let count = "SELECT count(*) FROM qsessions.session_event_default";
    row(client, count, &[]).await.get(0)
}

async fn in_all(client: &Client) -> i64 {
    let count = "SELECT count(*) FROM qsessions.session_event";
    row(client, count, &[]).await.get(0)
}

async fn keep(client: &Client, retention: &str) {
    let update = format!("UPDATE qsessions.session_event_retention SET retention = {retention}");
    client.batch_execute(&update).await.unwrap();
}

#[tokio::test]
async fn months_are_made_ahead_whatever_the_time_zone() {
    for zone in ["UTC", "Pacific/Kiritimati", "America/Los_Angeles"] {
        let database = Database::new().await;
        let client = database.connect().await;
        client
            .batch_execute(&format!(
                "SET timezone = '{zone}'; SET datestyle = 'SQL, DMY'; {CREATE}"
            ))
            .await
            .unwrap();
        client.batch_execute(PURGE).await.unwrap();
        assert_eq!(months(&client).await, [0, 1, 2], "{zone}");
        let begins = "SELECT DISTINCT to_char(begins AT TIME ZONE 'UTC', 'DD HH24:MI') FROM qsessions._event_partitions()";
        assert_eq!(texts(&client, begins).await, ["01 00:00"]);
        login(&client, "NULL, 1").await;
        assert_eq!(in_default(&client).await, 0);
    }
}

#[tokio::test]
async fn a_purge_moves_events_from_the_default_partition_to_their_months() {
    let (_database, client) = with_events().await;
    // As if no purge had run for half a year, and the table were as old.
    client
        .batch_execute(
            "DO $$ DECLARE part regclass; BEGIN
                 FOR part IN SELECT partition FROM qsessions._event_partitions() LOOP
                     EXECUTE format('DROP TABLE %s', part);
                 END LOOP;
             END $$",
        )
        .await
        .unwrap();
    add(&client, &[0, 0, 2, 3, 4]).await;
    let session = login(&client, "NULL, 1, user_agent => 'curl/8.5.0'").await;
    assert_eq!(in_default(&client).await, 6);
    client.batch_execute(PURGE).await.unwrap();
    assert_eq!(in_default(&client).await, 0);
    assert_eq!(in_all(&client).await, 6);
    assert_eq!(months(&client).await, [-4, -3, -2, 0, 1, 2]);
    assert_eq!(super::events(&client, session.id).await, ["login"]);
    let found = texts(&client, "SELECT event FROM qsessions.user_events(1)").await;
    assert_eq!(found.len(), 6);
}

#[tokio::test]
async fn a_purge_drops_months_after_the_retention() {
    let (_database, client) = with_events().await;
    add(&client, &[0, 2, 4, 9]).await;
    client.batch_execute(PURGE).await.unwrap();
    // 180 days: the event of nine months ago was not worth a partition.
    assert_eq!(months(&client).await, [-4, -2, 0, 1, 2]);
    assert_eq!(in_all(&client).await, 3);
    keep(&client, "'70 days'").await;
    client.batch_execute(PURGE).await.unwrap();
    assert_eq!(months(&client).await, [-2, 0, 1, 2]);
    assert_eq!(in_all(&client).await, 2);
    keep(&client, "NULL").await;
    add(&client, &[100]).await;
    client.batch_execute(PURGE).await.unwrap();
    assert_eq!(months(&client).await, [-100, -2, 0, 1, 2]);
    assert_eq!(in_all(&client).await, 3);
}

#[tokio::test]
async fn purge_expired_drops_months_too_when_nothing_is_left() {
    let (_database, client) = with_events().await;
    add(&client, &[0, 4]).await;
    client.batch_execute(PURGE).await.unwrap();
    keep(&client, "'60 days'").await;
    crate::common::add_expired(&client, 3).await;
    client
        .batch_execute("SELECT qsessions.purge_expired(2)")
        .await
        .unwrap();
    assert_eq!(months(&client).await, [-4, 0, 1, 2]);
    client
        .batch_execute("SELECT qsessions.purge_expired(2)")
        .await
        .unwrap();
    assert_eq!(months(&client).await, [0, 1, 2]);
}

#[tokio::test]
async fn events_can_be_kept_for_ever() {
    let database = Database::new().await;
    let client = database.connect().await;
    client
        .batch_execute("SELECT qsessions.create_event_table(NULL)")
        .await
        .unwrap();
    add(&client, &[500]).await;
    client.batch_execute(PURGE).await.unwrap();
    assert_eq!(in_all(&client).await, 1);
}

#[tokio::test]
async fn a_purge_does_not_wait_for_a_transaction_that_reads_events() {
    let (database, client) = with_events().await;
    add(&client, &[0, 4]).await;
    client.batch_execute(PURGE).await.unwrap();
    keep(&client, "'60 days'").await;
    let reader = database.connect().await;
    reader
        .batch_execute("BEGIN; SELECT FROM qsessions.session_event")
        .await
        .unwrap();
    client
        .batch_execute(
            "SELECT qsessions.create_session(); UPDATE qsessions.session SET expires_at = now()",
        )
        .await
        .unwrap();
    client.batch_execute(PURGE).await.unwrap();
    assert_eq!(sessions(&client).await, 0);
    assert_eq!(months(&client).await, [-4, 0, 1, 2]);
    reader.batch_execute("COMMIT").await.unwrap();
    client.batch_execute(PURGE).await.unwrap();
    assert_eq!(months(&client).await, [0, 1, 2]);
}

#[tokio::test]
async fn a_purge_by_a_role_that_does_not_own_the_table_leaves_the_partitions() {
    let (_database, admin, _role, client) = application().await;
    admin.batch_execute(CREATE).await.unwrap();
    add(&admin, &[0, 4]).await;
    login(&client, "NULL, 1").await;
    admin
        .batch_execute("UPDATE qsessions.session SET expires_at = now()")
        .await
        .unwrap();
    client.batch_execute(PURGE).await.unwrap();
    assert_eq!(sessions(&admin).await, 0);
    assert_eq!(months(&admin).await, [0, 1, 2]);
    let expired = "SELECT event FROM qsessions.session_event WHERE event = 'expired'";
    assert_eq!(texts(&admin, expired).await, ["expired"]);
}

#[tokio::test]
async fn partitions_of_the_owner_are_used_and_dropped() {
    let (_database, client) = with_events().await;
    client
        .batch_execute(
            "CREATE TABLE mine PARTITION OF qsessions.session_event FOR VALUES FROM ('2020-02-01') TO ('2020-02-08');
             CREATE TABLE earliest PARTITION OF qsessions.session_event FOR VALUES FROM (MINVALUE) TO ('2019-01-01');
             CREATE TABLE latest PARTITION OF qsessions.session_event FOR VALUES FROM ('2150-01-01') TO (MAXVALUE)",
        )
        .await
        .unwrap();
    client.batch_execute(PURGE).await.unwrap();
    assert_eq!(months(&client).await, [0, 1, 2]);
    let left = "SELECT partition::text FROM qsessions._event_partitions() WHERE partition::text !~ 'session_event'";
    assert_eq!(texts(&client, left).await, ["latest"]);
}

#[tokio::test]
async fn partitions_belong_to_the_owner_of_the_table_and_have_its_additions() {
    let (database, admin, role, _client) = application().await;
    admin
        .batch_execute(&format!(
            "{CREATE};
             ALTER TABLE qsessions.session_event ADD COLUMN tenant text DEFAULT 'main' CHECK (tenant <> '');
             CREATE INDEX ON qsessions.session_event (ip);
             GRANT CREATE ON SCHEMA qsessions TO {role};
             ALTER TABLE qsessions.session_event OWNER TO {role};
             CREATE PUBLICATION everything FOR ALL TABLES"
        ))
        .await
        .unwrap();
    add(&admin, &[3]).await;
    let listening = Listening::to(&database.config()).await;
    listening.client.batch_execute(PURGE).await.unwrap();
    assert_eq!(
        listening.notices(),
        ["expired sessions purged: 0 (batches: 1)"]
    );
    assert_eq!(months(&admin).await, [-3, 0, 1, 2]);
    let found = texts(
        &admin,
        "SELECT concat_ws(' ', pg_get_userbyid(c.relowner) LIKE 'app%', c.relreplident,
                          (SELECT count(*) FROM pg_index AS i WHERE i.indrelid = c.oid),
                          (SELECT count(*) FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'tenant'))
         FROM qsessions._event_partitions() AS p JOIN pg_class AS c ON c.oid = p.partition ORDER BY p.begins LIMIT 1",
    )
    .await;
    assert_eq!(found, ["t f 2 1"]);
    // Rows can be deleted although the table is published and has no primary key.
    admin
        .batch_execute("DELETE FROM qsessions.session_event WHERE user_id = '1'")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_month_that_cannot_be_made_is_a_warning_and_sessions_are_purged() {
    let (database, client) = with_events().await;
    add(&client, &[3]).await;
    let name = "SELECT 'session_event_' || to_char(date_trunc('month', now() AT TIME ZONE 'UTC') - interval '3 months', 'YYYY_MM')";
    let name = texts(&client, name).await.remove(0);
    client
        .batch_execute(&format!(
            "CREATE TABLE qsessions.{name} (); SELECT qsessions.create_session();
             UPDATE qsessions.session SET expires_at = now()"
        ))
        .await
        .unwrap();
    let listening = Listening::to(&database.config()).await;
    listening.client.batch_execute(PURGE).await.unwrap();
    let notices = listening.notices();
    assert_eq!(notices.len(), 2, "{notices:?}");
    assert!(
        notices[0].contains("could not add partition"),
        "{notices:?}"
    );
    assert_eq!(sessions(&client).await, 0);
    assert_eq!(in_default(&client).await, 1);
}
