//! record_visits beside other calls: no call waits for a session, and none deadlocks.

use super::holds;
use crate::common::{begin, row};
use futures_util::future::join_all;
use qsessions_testkit::Database;

/// A call for all sessions, in the order of their ids or the other way round. Each call comes from
/// another address, so that it has something to write.
fn for_all(order: &str) -> String {
    format!(
        "SELECT qsessions.record_visits(
             array_agg(id ORDER BY id {order}), array_agg(digest ORDER BY id {order}),
             array_agg('10.0.0.0'::inet + pg_current_xact_id()::text::bigint ORDER BY id {order}),
             array_agg(NULL::text), array_agg(now()))
         FROM qsessions.session"
    )
}

#[tokio::test]
async fn calls_for_the_same_sessions_do_not_deadlock() {
    let database = Database::new().await;
    let admin = database.connect().await;
    admin
        .batch_execute("SELECT qsessions.create_session(user_id => 1) FROM generate_series(1, 200)")
        .await
        .unwrap();
    let calls = ["", "DESC", "", "DESC"].map(|order| {
        let (database, call) = (&database, for_all(order));
        async move {
            let client = database.connect().await;
            for _ in 0..20 {
                row(&client, &call, &[]).await;
            }
        }
    });
    let ends = async {
        let client = database.connect().await;
        for _ in 0..10 {
            client
                .batch_execute(
                    "SELECT qsessions.revoke_user_sessions(1);
                     SELECT qsessions.create_session(user_id => 1) FROM generate_series(1, 200)",
                )
                .await
                .unwrap();
        }
    };
    let purges = async {
        let client = database.connect().await;
        for _ in 0..20 {
            client
                .batch_execute(
                    "SELECT qsessions.create_session(ttl => '1 microsecond') FROM generate_series(1, 50);
                     SELECT qsessions.set_expiry(key, ttl => '1 millisecond')
                     FROM (SELECT (qsessions.create_session()).key FROM generate_series(1, 50)) AS k",
                )
                .await
                .unwrap();
            client
                .batch_execute("CALL qsessions.purge(20)")
                .await
                .unwrap();
        }
    };
    tokio::join!(join_all(calls), ends, purges);
}

#[tokio::test]
async fn a_session_that_another_transaction_changes_does_not_hold_up_the_others() {
    let database = Database::new().await;
    let (one, two) = (database.connect().await, database.connect().await);
    let (locked, free) = (begin(&one, "").await, begin(&one, "").await);
    one.batch_execute("BEGIN").await.unwrap();
    row(&one, "SELECT qsessions.patch_session($1)", &[&locked.key]).await;
    two.batch_execute("SET lock_timeout = '10 s'")
        .await
        .unwrap();
    assert_eq!(row(&two, &for_all(""), &[]).await.get::<_, i64>(0), 1);
    holds(&two, &free, "ip IS NOT NULL").await;
    one.batch_execute("COMMIT").await.unwrap();
    assert_eq!(row(&two, &for_all(""), &[]).await.get::<_, i64>(0), 2);
    holds(&two, &locked, "ip IS NOT NULL").await;
}
