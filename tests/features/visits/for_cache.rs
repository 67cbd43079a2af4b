//! record_visits_for_cache: it tells what has become of each visit.

use crate::common::{Begun, begin, row};
use qsessions_testkit::Database;
use tokio_postgres::Client;

/// Records a visit of each session, and returns what is told of this one.
async fn told(client: &Client, sessions: &[&Begun], session: &Begun) -> String {
    let ids: Vec<_> = sessions.iter().map(|session| session.id).collect();
    let keys: Vec<_> = sessions
        .iter()
        .map(|session| session.key.as_str())
        .collect();
    let statement = "
        SELECT coalesce(string_agg(CASE WHEN r.is_written THEN 'written' WHEN r.is_skipped THEN 'skipped' ELSE 'known' END,
                                   ' and '), 'nothing')
        FROM (SELECT array_agg(id) AS ids, array_agg(sha256(convert_to(key, 'UTF8'))) AS digests,
                     array_agg('192.0.2.1'::inet) AS ips, array_agg(NULL::text) AS agents,
                     array_agg(clock_timestamp()) AS seen_at
              FROM unnest($1::uuid[], $2::text[]) AS v (id, key)) AS v,
             LATERAL qsessions.record_visits_for_cache(ids, digests, ips, agents, seen_at) AS r
        WHERE r.id = $3";
    row(client, statement, &[&ids, &keys, &session.id])
        .await
        .get(0)
}

#[tokio::test]
async fn it_tells_what_has_become_of_each_visit() {
    let database = Database::new().await;
    let (one, two) = (database.connect().await, database.connect().await);
    let (free, locked, dead) = (
        begin(&one, "").await,
        begin(&one, "").await,
        begin(&one, "ttl => '1 microsecond'").await,
    );
    let rotated = begin(&one, "").await;
    row(&one, "SELECT qsessions.rotate_key($1)", &[&rotated.key]).await;
    let all = [&free, &locked, &dead, &rotated];
    one.batch_execute("BEGIN").await.unwrap();
    row(&one, "SELECT qsessions.patch_session($1)", &[&locked.key]).await;
    two.batch_execute("SET lock_timeout = '10 s'")
        .await
        .unwrap();
    assert_eq!(told(&two, &all, &locked).await, "skipped");
    assert_eq!(told(&two, &all, &free).await, "known");
    for gone in [&dead, &rotated] {
        assert_eq!(told(&two, &all, gone).await, "nothing");
    }
    one.batch_execute("COMMIT").await.unwrap();
    assert_eq!(told(&two, &all, &locked).await, "written");
    assert_eq!(told(&two, &[&locked, &locked], &locked).await, "known");
}

#[tokio::test]
async fn it_returns_the_session_as_it_is_then() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "idle_timeout => '1 hour'").await;
    let statement = "
        SELECT r.is_written,
               (r.last_seen_at, r.expires_at, r.visit_due_at) = (l.last_seen_at, l.expires_at, l.visit_due_at)
        FROM qsessions.load_for_cache($2) AS l,
             qsessions.record_visits_for_cache(
                 ARRAY[$1::uuid], ARRAY[sha256(convert_to($2, 'UTF8'))], '{NULL}', '{NULL}', ARRAY[now()]) AS r";
    for (age, is_written) in [("0", false), ("10 minutes", true)] {
        let aged = format!(
            "UPDATE qsessions.session SET last_seen_at = last_seen_at - interval '{age}',
                 expires_at = expires_at - interval '{age}'"
        );
        client.batch_execute(&aged).await.unwrap();
        client.batch_execute("BEGIN").await.unwrap();
        let told = row(&client, statement, &[&session.id, &session.key]).await;
        assert_eq!(told.get::<_, bool>(0), is_written);
        // The statement has read the session as it was before.
        let is_same = told.get::<_, bool>(1);
        assert_eq!(is_same, !is_written);
        let told = row(&client, statement, &[&session.id, &session.key]).await;
        assert_eq!((told.get(0), told.get(1)), (false, true));
        client.batch_execute("COMMIT").await.unwrap();
    }
}
