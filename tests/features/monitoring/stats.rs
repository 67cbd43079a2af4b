//! `stats`, exact and estimated.

use crate::common::roles::new_role;
use crate::common::{add_expired, begin, row};
use qsessions_testkit::Database;
use std::time::SystemTime;
use tokio_postgres::Client;

/// The numbers of sessions in a row of `stats`.
#[derive(Debug, PartialEq, Eq)]
struct Numbers {
    total: i64,
    active: i64,
    expired: i64,
    anonymous: i64,
    authenticated: i64,
    users: i64,
    oldest_expired_at: Option<SystemTime>,
}

async fn numbers(client: &Client, arguments: &str) -> Numbers {
    let statement = format!("SELECT * FROM qsessions.stats({arguments})");
    let row = row(client, &statement, &[]).await;
    let numbers = Numbers {
        total: row.get("total"),
        active: row.get("active"),
        expired: row.get("expired"),
        anonymous: row.get("anonymous"),
        authenticated: row.get("authenticated"),
        users: row.get("users"),
        oldest_expired_at: row.get("oldest_expired_at"),
    };
    assert_eq!(
        numbers.total,
        numbers.active + numbers.expired,
        "{numbers:?}"
    );
    assert_eq!(
        numbers.total,
        numbers.anonymous + numbers.authenticated,
        "{numbers:?}"
    );
    assert!(
        (0..=numbers.authenticated).contains(&numbers.users),
        "{numbers:?}"
    );
    for number in [numbers.active, numbers.expired, numbers.anonymous] {
        assert!(number >= 0, "{numbers:?}");
    }
    assert!(row.get::<_, i64>("table_bytes") > 0 && row.get::<_, i64>("index_bytes") > 0);
    numbers
}

/// A database with 60,000 live sessions, two thirds of them of 6 users.
async fn large() -> (Database, Client) {
    let database = Database::new().await;
    let client = database.connect().await;
    client
        .batch_execute("ALTER TABLE qsessions.session SET (autovacuum_enabled = false)")
        .await
        .unwrap();
    add(&client, "qsessions.session", 60_000).await;
    (database, client)
}

async fn add(client: &Client, table: &str, count: i32) {
    let statement = format!(
        "INSERT INTO {table} (id, digest, user_id, user_agent, expires_at)
         SELECT gen_random_uuid(), sha256(n::text::bytea), CASE WHEN n % 3 > 0 THEN n % 9 + 1 END,
                repeat('x', 40), now() + n * interval '10 seconds' + interval '2 hours'
         FROM generate_series(1, $1::integer) AS n"
    );
    client.execute(&statement, &[&count]).await.unwrap();
}

/// Executes statements that cannot run in one transaction.
async fn execute(client: &Client, statements: &str) {
    for statement in statements.split(';') {
        client.batch_execute(statement).await.unwrap();
    }
}

#[track_caller]
fn assert_near(estimate: i64, number: i64) {
    assert!(
        (number * 4 / 5..=number * 5 / 4).contains(&estimate),
        "{estimate} is not near {number}"
    );
}

#[tokio::test]
async fn stats_add_up() {
    let database = Database::new().await;
    let client = database.connect().await;
    let none = Numbers {
        total: 0,
        active: 0,
        expired: 0,
        anonymous: 0,
        authenticated: 0,
        users: 0,
        oldest_expired_at: None,
    };
    // A small table is counted, also if it was never analyzed.
    let arguments = ["", "exact => true", "exact => false", "NULL"];
    for arguments in arguments {
        assert_eq!(numbers(&client, arguments).await, none);
    }
    for arguments in ["user_id => 1", "user_id => 1", "user_id => 2", "", ""] {
        begin(&client, arguments).await;
    }
    let dead = begin(&client, "user_id => 3").await;
    client
        .execute(
            "UPDATE qsessions.session SET expires_at = '2020-01-01 00:00Z' WHERE id = $1",
            &[&dead.id],
        )
        .await
        .unwrap();
    for arguments in arguments {
        let found = numbers(&client, arguments).await;
        let oldest = found.oldest_expired_at.unwrap();
        let expected = Numbers {
            total: 6,
            active: 5,
            expired: 1,
            anonymous: 2,
            authenticated: 4,
            users: 3,
            oldest_expired_at: Some(oldest),
        };
        assert_eq!(found, expected);
        let since = oldest.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(since.as_secs(), 1_577_836_800);
    }
}

#[tokio::test]
async fn estimates_are_near_the_counts() {
    let (_database, client) = large().await;
    add_expired(&client, 500).await;
    execute(&client, "ANALYZE qsessions.session").await;
    let (exact, estimate) = (
        numbers(&client, "").await,
        numbers(&client, "exact => false").await,
    );
    assert_eq!(exact.total, 60_500);
    assert_near(estimate.total, exact.total);
    assert_near(estimate.anonymous, exact.anonymous);
    assert_near(estimate.authenticated, exact.authenticated);
    assert_eq!(estimate.users, 6);
    // Few expired sessions are counted.
    assert_eq!(estimate.expired, 500);
    assert_eq!(estimate.oldest_expired_at, exact.oldest_expired_at);

    // Many are estimated.
    execute(
        &client,
        "UPDATE qsessions.session SET expires_at = expires_at - interval '3 days'; VACUUM ANALYZE qsessions.session",
    )
    .await;
    let (exact, estimate) = (
        numbers(&client, "").await,
        numbers(&client, "exact => false").await,
    );
    assert!(exact.expired > 20_000, "{exact:?}");
    assert_near(estimate.expired, exact.expired);
    assert_eq!(estimate.oldest_expired_at, exact.oldest_expired_at);
}

#[tokio::test]
async fn estimates_read_few_rows() {
    let (_database, client) = large().await;
    execute(
        &client,
        "UPDATE qsessions.session SET expires_at = now() - interval '1 minute'; VACUUM ANALYZE qsessions.session; BEGIN",
    )
    .await;
    numbers(&client, "exact => false").await;
    let reads = row(
        &client,
        "SELECT seq_tup_read, idx_tup_fetch FROM pg_stat_xact_user_tables
         WHERE relid = 'qsessions.session'::regclass",
        &[],
    )
    .await;
    assert_eq!(reads.get::<_, i64>(0), 0);
    assert!((1..=1000).contains(&reads.get::<_, i64>(1)), "{reads:?}");
}

#[tokio::test]
async fn statistics_older_than_a_purge_do_not_make_sessions_expired() {
    let (_database, client) = large().await;
    execute(
        &client,
        "UPDATE qsessions.session SET expires_at = expires_at - interval '3 days'; ANALYZE qsessions.session;
         CALL qsessions.purge()",
    )
    .await;
    add_expired(&client, 7).await;
    let estimate = numbers(&client, "exact => false").await;
    assert_eq!(estimate.expired, 7);
    assert!(estimate.oldest_expired_at.is_some());
}

#[tokio::test]
async fn a_large_table_that_was_never_analyzed_has_estimates() {
    let (_database, client) = large().await;
    add_expired(&client, 500).await;
    let never = "SELECT reltuples FROM pg_class WHERE oid = 'qsessions.session'::regclass";
    assert!(row(&client, never, &[]).await.get::<_, f32>(0) < 0.0);
    let estimate = numbers(&client, "exact => false").await;
    // From the size of the table and the types of its columns.
    assert!((20_000..200_000).contains(&estimate.total), "{estimate:?}");
    assert_eq!(estimate.expired, 500);
}

#[tokio::test]
async fn stats_include_tables_that_inherit_from_the_session_table() {
    let (_database, client) = large().await;
    execute(&client, "CREATE TABLE more () INHERITS (qsessions.session)").await;
    let bytes = "SELECT table_bytes FROM qsessions.stats(exact => false)";
    let before: i64 = row(&client, bytes, &[]).await.get(0);
    add(&client, "more", 60_000).await;
    execute(&client, "ANALYZE qsessions.session; ANALYZE more").await;
    assert!(row(&client, bytes, &[]).await.get::<_, i64>(0) > before * 3 / 2);
    assert_eq!(numbers(&client, "").await.total, 120_000);
    assert_near(numbers(&client, "exact => false").await.total, 120_000);
}

/// The sizes of a partitioned table itself are 0.
#[tokio::test]
async fn stats_include_the_partitions_of_a_session_table() {
    let (_database, client) = large().await;
    execute(
        &client,
        "ALTER TABLE qsessions.session RENAME TO plain;
         CREATE TABLE qsessions.session (LIKE qsessions.plain INCLUDING ALL EXCLUDING STORAGE) PARTITION BY HASH (id);
         CREATE TABLE one PARTITION OF qsessions.session FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE other PARTITION OF qsessions.session FOR VALUES WITH (MODULUS 2, REMAINDER 1);
         DROP TABLE qsessions.plain CASCADE",
    )
    .await;
    add(&client, "qsessions.session", 60_000).await;
    execute(&client, "ANALYZE qsessions.session").await;
    assert_eq!(numbers(&client, "").await.total, 60_000);
    assert_near(numbers(&client, "exact => false").await.total, 60_000);
    for exact in [true, false] {
        let differs: bool = row(
            &client,
            "SELECT (table_bytes, index_bytes) IS DISTINCT FROM
                    (pg_table_size('one') + pg_table_size('other'), pg_indexes_size('one') + pg_indexes_size('other'))
             FROM qsessions.stats(exact => $1)",
            &[&exact],
        )
        .await
        .get(0);
        assert!(!differs);
    }
    let session = begin(&client, "user_id => 1").await;
    row(
        &client,
        "SELECT qsessions.save_session($1, '{}')",
        &[&session.key],
    )
    .await;
    assert_eq!(numbers(&client, "").await.total, 60_001);
}

#[tokio::test]
async fn estimates_are_of_the_rows_that_policies_show() {
    let (database, admin) = large().await;
    let role = new_role(&database, &admin, "monitor").await;
    execute(
        &admin,
        &format!(
            "ANALYZE qsessions.session;
             SELECT qsessions.grant_monitoring('{role}');
             ALTER TABLE qsessions.session ENABLE ROW LEVEL SECURITY"
        ),
    )
    .await;
    let client = database.connect_as(&role).await;
    assert_eq!(numbers(&client, "").await.total, 0);
    assert_eq!(numbers(&client, "exact => false").await.total, 0);
    execute(
        &admin,
        &format!("CREATE POLICY monitor ON qsessions.session FOR SELECT TO {role} USING (true)"),
    )
    .await;
    assert_eq!(numbers(&client, "").await.total, 60_000);
    let estimate = numbers(&client, "exact => false").await;
    assert_near(estimate.total, 60_000);
    assert_near(estimate.anonymous, 20_000);
    assert_eq!(estimate.users, 6);
}
