//! Plans: a lookup costs as much as its index scan, and every search uses an index.

use crate::common::roles::{grant, new_role};
use crate::common::{Listening, begin, row, texts};
use qsessions_testkit::{Database, Users};
use serde_json::Value;
use tokio_postgres::Client;

/// A database with many sessions: a hundred for each user and as many anonymous ones. One in a
/// hundred is expired.
async fn filled(users: Users, user: &str) -> Database {
    let database = Database::with(users).await;
    let client = database.connect().await;
    client
        .batch_execute(&format!(
            "INSERT INTO qsessions.session (id, digest, user_id, expires_at)
             SELECT gen_random_uuid(), '', {user},
                    now() + CASE WHEN n % 100 = 50 THEN interval '-1 hour' ELSE interval '1 day' END
             FROM generate_series(1, 20000) AS n;
             ANALYZE qsessions.session"
        ))
        .await
        .unwrap();
    database
}

async fn filled_for_bigints() -> Database {
    let users = Users::Keyed("bigint", &["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    filled(users, "CASE WHEN n % 2 = 0 THEN n / 2 % 9 + 1 END").await
}

async fn plan(client: &Client, statement: &str) -> Value {
    row(client, &format!("EXPLAIN (FORMAT JSON) {statement}"), &[])
        .await
        .get::<_, Value>(0)[0]["Plan"]
        .clone()
}

/// The nodes of a plan from the top, each with its type and index.
fn nodes(plan: &Value) -> Vec<String> {
    let mut found = vec![match plan["Index Name"].as_str() {
        Some(index) => format!("{} on {index}", plan["Node Type"].as_str().unwrap()),
        None => plan["Node Type"].as_str().unwrap().to_owned(),
    }];
    for part in plan["Plans"].as_array().into_iter().flatten() {
        found.extend(nodes(part));
    }
    found
}

/// Asserts that the plan scans this index, and that no node scans the table or a function.
fn assert_searched_by(index: &str, plan: &Value) {
    let nodes = nodes(plan);
    assert!(
        nodes
            .iter()
            .any(|node| node.ends_with(&format!(" on {index}"))),
        "{plan:#}"
    );
    for slow in ["Seq Scan", "Function Scan"] {
        assert!(!nodes.iter().any(|node| node == slow), "{plan:#}");
    }
}

fn assert_bare_index_scan(plan: &Value) {
    assert_eq!(nodes(plan), ["Index Scan on session_pkey"], "{plan:#}");
    assert!(
        plan["Index Cond"].as_str().unwrap().starts_with("(id = "),
        "{plan:#}"
    );
}

#[tokio::test]
async fn load_session_is_a_bare_scan_of_the_primary_key() {
    let database = filled_for_bigints().await;
    let admin = database.connect().await;
    let key = begin(&admin, "user_id => 1").await.key;
    let role = new_role(&database, &admin, "app").await;
    grant(&admin, &role).await;
    for client in [admin, database.connect_as(&role).await] {
        let literal = format!("SELECT * FROM qsessions.load_session('{key}')");
        assert_bare_index_scan(&plan(&client, &literal).await);
        client
            .batch_execute("PREPARE load(text) AS SELECT * FROM qsessions.load_session($1)")
            .await
            .unwrap();
        for mode in ["force_generic_plan", "force_custom_plan"] {
            client
                .batch_execute(&format!("SET plan_cache_mode = {mode}"))
                .await
                .unwrap();
            let execute = format!("EXECUTE load('{key}')");
            assert_bare_index_scan(&plan(&client, &execute).await);
            assert_eq!(client.simple_query(&execute).await.unwrap().len(), 3);
        }
    }
}

#[tokio::test]
async fn get_session_is_a_bare_scan_of_the_primary_key() {
    let client = filled_for_bigints().await.connect().await;
    let call = "SELECT * FROM qsessions.get_session('00000000-0000-7000-8000-000000000000')";
    assert_bare_index_scan(&plan(&client, call).await);
}

#[tokio::test]
async fn load_session_joins_like_the_table() {
    let client = filled_for_bigints().await.connect().await;
    let join = "SELECT l.* FROM (VALUES ('12345678'), ('87654321')) AS cookie (key)
                CROSS JOIN LATERAL qsessions.load_session(cookie.key) AS l";
    let plan = plan(&client, join).await;
    assert_eq!(
        nodes(&plan),
        ["Nested Loop", "Values Scan", "Index Scan on session_pkey"],
        "{plan:#}"
    );
}

#[tokio::test]
async fn sessions_of_a_user_are_found_by_the_index_on_user_id() {
    let bigints = filled(
        Users::Keyed("bigint", &["1"]),
        "CASE WHEN n % 200 = 0 THEN 1 END",
    );
    let texts = filled(Users::Unlinked, "CASE WHEN n % 2 = 0 THEN n % 200 END");
    let uuids = filled(
        Users::Keyed("uuid", &["00000000-0000-4000-8000-000000000001"]),
        "CASE WHEN n % 200 = 0 THEN uuid '00000000-0000-4000-8000-000000000001' END",
    );
    for (database, key_type, user) in [
        (bigints.await, "bigint", "1"),
        (texts.await, "text", "42"),
        (uuids.await, "uuid", "00000000-0000-4000-8000-000000000001"),
    ] {
        let client = database.connect().await;
        for argument in [format!("'{user}'"), format!("'{user}'::{key_type}")] {
            let call = format!("SELECT * FROM qsessions.user_sessions({argument})");
            assert_searched_by("session_user_id_idx", &plan(&client, &call).await);
        }
        client
            .batch_execute(&format!(
                "SET plan_cache_mode = force_generic_plan;
                 PREPARE theirs({key_type}) AS SELECT * FROM qsessions.user_sessions($1)"
            ))
            .await
            .unwrap();
        let plan = plan(&client, &format!("EXECUTE theirs('{user}')")).await;
        assert_searched_by("session_user_id_idx", &plan);
    }
}

/// The planner would not inline a function that uses such an argument twice.
#[tokio::test]
async fn load_session_searches_by_the_primary_key_also_for_an_expensive_key() {
    let client = filled_for_bigints().await.connect().await;
    client
        .batch_execute(
            "CREATE FUNCTION cookie() RETURNS text LANGUAGE plpgsql STABLE AS 'BEGIN RETURN ''12345678''; END'",
        )
        .await
        .unwrap();
    for function in ["load_session", "load_for_cache"] {
        let call = format!("SELECT * FROM qsessions.{function}(cookie())");
        assert_bare_index_scan(&plan(&client, &call).await);
    }
}

#[tokio::test]
async fn the_rule_of_which_session_a_key_opens_is_inlined_everywhere() {
    let database = filled_for_bigints().await;
    let listening = explaining(&database).await;
    let key = begin(&listening.client, "").await.key;
    for mode in ["force_custom_plan", "force_generic_plan"] {
        listening
            .client
            .batch_execute(&format!(
                "SET plan_cache_mode = {mode}; SET qsessions.touch_interval = 0"
            ))
            .await
            .unwrap();
        for call in [
            format!("SELECT qsessions.session_exists('{key}')"),
            format!("SELECT FROM qsessions.resume_session('{key}')"),
            format!("SELECT qsessions.save_session('{key}', '{{}}')"),
            format!("SELECT qsessions.patch_session('{key}', '{{}}')"),
            format!("SELECT qsessions.set_expiry('{key}', ttl => '1 day')"),
            "SELECT FROM qsessions.login('another key', 1)".to_owned(),
        ] {
            for plan in inner_plans(&listening, &call, &["qsessions._key_opens"]).await {
                assert_searched_by("session_pkey", &plan);
                let condition = find(&plan, "session_pkey", "Index Cond");
                assert!(condition.starts_with("(id = "), "{plan:#}");
                assert!(!plan.to_string().contains("_key_opens"), "{plan:#}");
            }
        }
    }
}

/// A connection that receives the plans of the statements inside functions as notices.
async fn explaining(database: &Database) -> Listening {
    let listening = Listening::to(&database.config()).await;
    listening
        .client
        .batch_execute(
            "LOAD 'auto_explain';
             SET auto_explain.log_min_duration = 0;
             SET auto_explain.log_nested_statements = on;
             SET auto_explain.log_format = json;
             SET auto_explain.log_level = notice",
        )
        .await
        .unwrap();
    listening.notices();
    listening
}

/// The plans of those statements inside the called functions whose text contains all parts.
async fn inner_plans(listening: &Listening, statement: &str, parts: &[&str]) -> Vec<Value> {
    listening.client.batch_execute(statement).await.unwrap();
    let plans = listening.notices().into_iter().filter_map(|notice| {
        let explained: Value = serde_json::from_str(&notice[notice.find('{')?..]).ok()?;
        let text = explained["Query Text"].as_str()?;
        let wanted = text != statement && parts.iter().all(|part| text.contains(part));
        wanted.then(|| explained["Plan"].clone())
    });
    let plans: Vec<_> = plans.collect();
    assert!(
        !plans.is_empty(),
        "{statement} runs no statement with {parts:?}"
    );
    plans
}

#[tokio::test]
async fn list_sessions_reads_pages_by_the_index_on_created_at() {
    let database = filled_for_bigints().await;
    let listening = explaining(&database).await;
    for arguments in [
        "",
        "after => 'ffffffff-0000-7000-8000-000000000000'",
        "active => true, after => 'efffffff-0000-7000-8000-000000000000', max_rows => 10",
    ] {
        let call = format!("SELECT FROM qsessions.list_sessions({arguments})");
        for plan in inner_plans(&listening, &call, &["ORDER BY s.created_at DESC"]).await {
            assert_searched_by("session_created_at_id_idx", &plan);
            // The page is read in index order, without a sort.
            assert!(!nodes(&plan).contains(&"Sort".to_owned()), "{plan:#}");
            let searches = plan
                .to_string()
                .contains(r#""Index Cond":"(ROW(created_at, id) < "#);
            assert_eq!(searches, arguments.contains("after"), "{plan:#}");
        }
    }
}

/// The statistics say that many sessions have expired: they are older than the last purge.
#[tokio::test]
async fn a_list_of_expired_sessions_does_not_read_all_sessions() {
    let database = filled_for_bigints().await;
    let listening = explaining(&database).await;
    let expire = "UPDATE qsessions.session SET expires_at = now() - interval '1 hour'
                  WHERE expires_at > now() AND user_id IS NULL; ANALYZE qsessions.session";
    listening.client.batch_execute(expire).await.unwrap();
    for purge in ["SELECT", "CALL qsessions.purge()"] {
        listening.client.batch_execute(purge).await.unwrap();
        for arguments in ["active => false", "active => false, max_rows => 1"] {
            let call = format!("SELECT FROM qsessions.list_sessions({arguments})");
            let found = inner_plans(&listening, &call, &["FROM (SELECT s.id FROM"]).await;
            for plan in found {
                assert_searched_by("session_expires_hour_id_idx", &plan);
            }
        }
        let call = "SELECT FROM qsessions.list_sessions(active => false)";
        for plan in inner_plans(&listening, call, &["ORDER BY s.created_at DESC"]).await {
            let is_purged = purge.starts_with("CALL");
            let is_by_ids = nodes(&plan)
                .iter()
                .any(|node| node.contains("session_pkey"));
            assert_eq!(is_by_ids, is_purged, "{plan:#}");
        }
    }
}

/// The index that docs/users-and-table.md proposes.
#[tokio::test]
async fn list_sessions_and_revoke_sessions_use_an_index_on_ip() {
    let database = filled_for_bigints().await;
    let listening = explaining(&database).await;
    // PostgreSQL does not use an index that is made after such an UPDATE while a transaction runs, in
    // any database, that began before it.
    let fill = "CREATE INDEX by_ip ON qsessions.session (ip);
                UPDATE qsessions.session SET ip = '10.0.0.0'::inet + (random() * 65535)::int;
                ANALYZE qsessions.session";
    listening.client.batch_execute(fill).await.unwrap();
    for (call, part) in [
        (
            "SELECT FROM qsessions.list_sessions(ip => '10.0.7.0/28')",
            "ORDER BY s.created_at",
        ),
        (
            "SELECT qsessions.revoke_sessions(ip => '192.0.2.0/24')",
            "FOR UPDATE",
        ),
    ] {
        for plan in inner_plans(&listening, call, &[part]).await {
            assert_searched_by("by_ip", &plan);
        }
    }
}

#[tokio::test]
async fn a_purge_searches_by_expires_hour_from_the_end_of_the_last_batch() {
    let database = filled_for_bigints().await;
    let listening = explaining(&database).await;
    for mode in ["force_custom_plan", "force_generic_plan"] {
        listening
            .client
            .batch_execute(&format!("SET plan_cache_mode = {mode}"))
            .await
            .unwrap();
        for call in [
            "SELECT qsessions.purge_expired(10)",
            "CALL qsessions.purge(batch_size => 10, max_batches => 3)",
        ] {
            for plan in inner_plans(&listening, call, &["SKIP LOCKED"]).await {
                let nodes = nodes(&plan);
                let search = "Index Scan on session_expires_hour_id_idx".to_owned();
                assert!(nodes.contains(&search), "{plan:#}");
                assert!(!nodes.contains(&"Seq Scan".to_owned()), "{plan:#}");
                // The search is in index order; only the last position is sorted afterwards.
                assert!(!plan.to_string().contains("\"s.expires_hour"), "{plan:#}");
                let condition = find(&plan, "session_expires_hour_id_idx", "Index Cond");
                assert!(
                    condition.contains("ROW(expires_hour, id) > ROW("),
                    "{condition}"
                );
                assert!(condition.contains("expires_hour <= "), "{condition}");
            }
            for plan in inner_plans(&listening, call, &["DELETE FROM ONLY qsessions.session"]).await
            {
                assert!(nodes(&plan).contains(&"Tid Scan".to_owned()), "{plan:#}");
            }
        }
    }
}

/// A property of the scan of an index in a plan.
fn find(plan: &Value, index: &str, what: &str) -> String {
    if plan["Index Name"] == index {
        return plan[what].as_str().unwrap_or_default().to_owned();
    }
    let parts = plan["Plans"].as_array().into_iter().flatten();
    parts.map(|part| find(part, index, what)).collect()
}

#[tokio::test]
async fn a_visit_writes_no_index() {
    let client = Database::new().await.connect().await;
    for call in ["user_id => 1", "user_id => 1, idle_timeout => '14 days'"] {
        let session = begin(&client, call).await;
        client
            .batch_execute("BEGIN; SET LOCAL qsessions.touch_interval = 0")
            .await
            .unwrap();
        for visit in 1..=10 {
            // The previous visit was more than a day earlier.
            client
                .execute(
                    "UPDATE qsessions.session SET
                         last_seen_at = last_seen_at - interval '26 hours',
                         expires_at = expires_at - interval '26 hours'
                     WHERE id = $1 AND idle_timeout IS NOT NULL",
                    &[&session.id],
                )
                .await
                .unwrap();
            let before = updates(&client).await;
            let resume = format!("SELECT FROM qsessions.resume_session($1, '192.0.2.{visit}')");
            row(&client, &resume, &[&session.key]).await;
            let after = updates(&client).await;
            assert_eq!((after.0 - before.0, after.1 - before.1), (1, 1), "{call}");
        }
        let slid = texts(
            &client,
            "SELECT idle_timeout::text FROM qsessions.session
             WHERE idle_timeout IS NOT NULL AND expires_at = now() + idle_timeout",
        )
        .await;
        assert_eq!(slid.len(), usize::from(call.contains("idle_timeout")));
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}

#[tokio::test]
async fn a_save_writes_no_index() {
    let client = Database::new().await.connect().await;
    let session = begin(&client, "user_id => 1").await;
    client.batch_execute("BEGIN").await.unwrap();
    for statement in [
        "SELECT qsessions.save_session($1, '{\"a\": 1}')",
        "SELECT qsessions.patch_session($1, '{\"b\": 2}')",
    ] {
        let before = updates(&client).await;
        row(&client, statement, &[&session.key]).await;
        let after = updates(&client).await;
        assert_eq!(
            (after.0 - before.0, after.1 - before.1),
            (1, 1),
            "{statement}"
        );
    }
}

/// The number of updates in the current transaction, and how many of them were HOT.
async fn updates(client: &Client) -> (i64, i64) {
    let counts = row(
        client,
        "SELECT pg_stat_get_xact_tuples_updated('qsessions.session'::regclass),
                pg_stat_get_xact_tuples_hot_updated('qsessions.session'::regclass)",
        &[],
    )
    .await;
    (counts.get(0), counts.get(1))
}
