//! record_visits with many sessions: each row is searched for once, and any mixture of visits is
//! recorded as the same visits are one by one.

use crate::common::row;
use qsessions_testkit::Database;
use tokio_postgres::Client;

/// Adds sessions whose visits are due.
async fn fill(client: &Client, sessions: i64) {
    client
        .batch_execute(&format!(
            r#"SELECT qsessions.create_session(
                   idle_timeout => CASE WHEN n % 2 = 0 THEN interval '1 hour' END, ip => '192.0.2.1',
                   user_agent => 'one', client_hints => '{{"sec-ch-ua-mobile": "?0"}}')
               FROM generate_series(1, {sessions}) AS n;
               UPDATE qsessions.session SET last_seen_at = last_seen_at - interval '10 minutes';
               ANALYZE qsessions.session"#
        ))
        .await
        .unwrap();
}

async fn written(client: &Client, call: &str) -> i64 {
    row(client, call, &[]).await.get(0)
}

#[tokio::test]
async fn each_row_is_searched_for_once() {
    let database = Database::new().await;
    let client = database.connect().await;
    // Of a smaller table, the planner reads all of it.
    let sessions = 3000;
    fill(&client, sessions).await;
    client.batch_execute("BEGIN").await.unwrap();
    let scans = "SELECT idx_scan, seq_scan FROM pg_stat_xact_user_tables WHERE relid = 'qsessions.session'::regclass";
    let counts = async || {
        let counts = row(&client, scans, &[]).await;
        (counts.get::<_, i64>(0), counts.get::<_, i64>(1))
    };
    client
        .batch_execute(
            "CREATE TEMPORARY TABLE visits AS
             SELECT array_agg(id ORDER BY id) AS ids, array_agg(digest ORDER BY id) AS digests,
                    array_agg(ip ORDER BY id) AS ips, array_agg(user_agent ORDER BY id) AS agents,
                    array_agg(now() ORDER BY id) AS seen_at
             FROM qsessions.session",
        )
        .await
        .unwrap();
    let call = "SELECT qsessions.record_visits(ids, digests, ips, agents, seen_at) FROM visits";
    let before = counts().await;
    assert_eq!(written(&client, call).await, sessions);
    let after = counts().await;
    assert_eq!((after.0 - before.0, after.1 - before.1), (sessions, 0));
    // If none is written, a second search tells why.
    assert_eq!(written(&client, call).await, 0);
    assert_eq!(counts().await, (after.0 + 2 * sessions, after.1));
    client.batch_execute("COMMIT").await.unwrap();
}

/// A visit of each session, and a different one of some: address, User-Agent or hints that change,
/// a time that is null, too old or ahead, a wrong key.
const MIXED: &str = r#"
    CREATE TEMPORARY TABLE visits AS
    SELECT number, id, CASE WHEN kind = 1 THEN '\x00'::bytea ELSE digest END AS digest,
           CASE WHEN kind = 2 THEN '192.0.2.2'::inet WHEN kind <> 3 THEN '::ffff:192.0.2.1' END AS ip,
           CASE WHEN kind = 4 THEN 'two' WHEN kind <> 5 THEN 'one' END AS agent,
           now() + CASE kind WHEN 6 THEN NULL WHEN 7 THEN interval '-1 hour' WHEN 8 THEN interval '1 hour' ELSE '0' END AS seen_at,
           CASE kind WHEN 4 THEN '{"sec-ch-ua-mobile": "?1"}'::jsonb WHEN 9 THEN '{"sec-ch-ua-model": "a"}'
                     WHEN 10 THEN '{"no": "hint"}' END AS hints
    FROM (SELECT *, row_number() OVER (ORDER BY id) AS number, row_number() OVER (ORDER BY id) % 11 AS kind
          FROM qsessions.session) AS s"#;

#[tokio::test]
async fn a_batch_is_recorded_as_its_visits_are_one_by_one() {
    let database = Database::new().await;
    let client = database.connect().await;
    let sessions = 200;
    fill(&client, sessions).await;
    client.batch_execute("BEGIN").await.unwrap();
    client.batch_execute(MIXED).await.unwrap();
    let arrays = "array_agg(id ORDER BY number), array_agg(digest ORDER BY number), array_agg(ip ORDER BY number),
                  array_agg(agent ORDER BY number), array_agg(seen_at ORDER BY number), array_agg(hints ORDER BY number)";
    let together = format!("SELECT qsessions.record_visits({arrays}) FROM visits");
    let with_null = together.replace(
        "FROM visits",
        "FROM (TABLE visits UNION ALL SELECT 0, NULL, NULL, NULL, NULL, now(), NULL) AS v",
    );
    let twice = together.replace(
        "FROM visits",
        "FROM (TABLE visits UNION ALL TABLE visits) AS v",
    );
    // The number of the first element is any.
    let from_zero = "SELECT qsessions.record_visits(id, digest, ip, agent, seen_at, hints)
         FROM (SELECT ('[0:' || count(*) - 1 || ']=' || array_agg(id ORDER BY number)::text)::uuid[] AS id,
                      array_agg(digest ORDER BY number) AS digest, array_agg(ip ORDER BY number) AS ip,
                      array_agg(agent ORDER BY number) AS agent, array_agg(seen_at ORDER BY number) AS seen_at,
                      array_agg(hints ORDER BY number) AS hints FROM visits) AS v";
    let one_by_one = "SELECT sum(qsessions.record_visits(
             ARRAY[id], ARRAY[digest], ARRAY[ip], ARRAY[agent], ARRAY[seen_at], ARRAY[hints]))::bigint
         FROM visits";
    let mut results = vec![];
    for call in [one_by_one, &together, &with_null, &twice, from_zero] {
        client.batch_execute("SAVEPOINT before").await.unwrap();
        let count = written(&client, call).await;
        let table = "SELECT string_agg(concat_ws(' ', id, ip, user_agent, client_hints, last_seen_at, expires_at, purge_after),
                                       E'\n' ORDER BY id) FROM qsessions.session";
        results.push((count, row(&client, table, &[]).await.get::<_, String>(0)));
        client.batch_execute("ROLLBACK TO before").await.unwrap();
    }
    let (first, others) = results.split_first().unwrap();
    assert!(first.0 > sessions / 2 && first.0 < sessions);
    assert!(
        first.1.contains(" two ") && first.1.contains("192.0.2.2 one") && first.1.contains("model")
    );
    for other in others {
        assert_eq!(other, first);
    }
}
