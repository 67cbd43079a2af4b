//! What `distribute_session_table` needs and does, as far as it can be seen without Citus; `citus.rs`
//! tests it with Citus.

use crate::common::{begin, failure, row, texts};
use qsessions_testkit::{Database, Users};
use tokio_postgres::Client;

#[tokio::test]
async fn without_citus_the_table_cannot_be_distributed() {
    for users in [Users::Nothing, Users::Unlinked] {
        let client = Database::with(users).await.connect().await;
        let refused = failure(&client, "SELECT qsessions.distribute_session_table()", &[]).await;
        assert_eq!(refused.code, "0A000");
        assert_eq!(
            refused.message,
            "extension \"citus\" is not installed in this database"
        );
        assert!(refused.hint.contains("CREATE EXTENSION citus"));
    }
}

#[tokio::test]
async fn each_body_has_the_arguments_and_the_result_of_its_function() {
    let client = Database::with(Users::Unlinked).await.connect().await;
    let different = texts(
        &client,
        "SELECT b.proname::text
         FROM pg_proc AS b
         LEFT JOIN pg_proc AS p ON p.pronamespace = b.pronamespace AND p.proname = substr(b.proname, 14)
              AND pg_get_function_arguments(p.oid) = pg_get_function_arguments(b.oid)
              AND pg_get_function_result(p.oid) = pg_get_function_result(b.oid)
              AND p.provolatile = b.provolatile AND p.prorows = b.prorows AND p.proisstrict = b.proisstrict
         WHERE b.pronamespace = 'qsessions'::regnamespace AND b.proname LIKE '\\_distributed\\_%' AND p.oid IS NULL",
    )
    .await;
    assert_eq!(different, [""; 0]);
}

/// What the readers answer for sessions of all kinds. Each statement is prepared and called ten
/// times, so that PostgreSQL uses a generic plan in the end.
async fn answers(client: &Client, keys: &[String]) -> Vec<String> {
    let mut answers = Vec::new();
    for call in [
        "SELECT l::text FROM qsessions.load_session($1) AS l",
        "SELECT l::text FROM qsessions.load_for_cache($1) AS l",
        "SELECT g::text FROM qsessions.get_session(qsessions.session_id($1)) AS g",
        "SELECT u::text FROM qsessions.user_sessions('1', $1) AS u",
        "SELECT u::text FROM qsessions.user_sessions(1::bigint, $1, max_rows => 2) AS u",
    ] {
        let statement = client.prepare(call).await.unwrap();
        for _ in 0..10 {
            for key in keys {
                let rows = client.query(&statement, &[key]).await.unwrap();
                answers.push(call.to_owned());
                answers.extend(rows.iter().map(|row| row.get::<_, String>(0)));
            }
        }
    }
    answers
}

#[tokio::test]
async fn the_bodies_answer_as_the_plain_functions() {
    let client = Database::new().await.connect().await;
    let mut keys = vec!["the key of no session".to_owned()];
    for arguments in [
        "",
        "user_id => 1, data => '{\"cart\": [1]}', ip => '192.0.2.1', user_agent => 'Mozilla/5.0'",
        "user_id => 1, idle_timeout => '1 hour', client_hints => '{\"Sec-CH-UA-Model\": \"\\\"Pixel 8\\\"\"}'",
        "user_id => 1, ttl => '1 microsecond'",
        "user_id => 2, key => 'a key of another framework'",
    ] {
        keys.push(begin(&client, arguments).await.key);
    }
    // A former key that opens its session for a while, and the key that has replaced it.
    let rotated = begin(&client, "user_id => 1").await.key;
    let present = row(
        &client,
        "SELECT qsessions.rotate_key($1, grace => '1 minute')",
        &[&rotated],
    )
    .await
    .get(0);
    keys.extend([rotated, present]);
    let plain = answers(&client, &keys).await;
    assert!(
        plain.len() > 500,
        "the readers find sessions: {}",
        plain.len()
    );
    client
        .batch_execute("SELECT qsessions._use_distributed_bodies()")
        .await
        .unwrap();
    let language = texts(
        &client,
        "SELECT DISTINCT l.lanname::text FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
         WHERE p.oid IN ('qsessions.load_session'::regproc, 'qsessions.load_for_cache'::regproc,
                         'qsessions.get_session'::regproc, 'qsessions.user_sessions'::regproc)",
    )
    .await;
    assert_eq!(language, ["plpgsql"]);
    assert_eq!(answers(&client, &keys).await, plain);
}

#[tokio::test]
async fn only_bodies_of_the_extension_are_used() {
    let client = Database::with(Users::Unlinked).await.connect().await;
    client
        .batch_execute(
            "CREATE FUNCTION qsessions._distributed_session_exists(key text) RETURNS boolean
             LANGUAGE plpgsql STABLE AS 'BEGIN RETURN true; END';
             SELECT qsessions._use_distributed_bodies()",
        )
        .await
        .unwrap();
    let exists: bool = row(
        &client,
        "SELECT qsessions.session_exists('the key of no session')",
        &[],
    )
    .await
    .get(0);
    assert!(!exists);
}

/// The functions stay members of the extension, with their comments, so dumps leave them out.
#[tokio::test]
async fn the_functions_stay_members_of_the_extension() {
    let client = Database::with(Users::Unlinked).await.connect().await;
    let members =
        "SELECT concat_ws(' ', p.oid::regprocedure, d.deptype, obj_description(p.oid, 'pg_proc'))
                   FROM pg_proc AS p LEFT JOIN pg_depend AS d ON d.objid = p.oid AND d.deptype = 'e'
                   WHERE p.pronamespace = 'qsessions'::regnamespace ORDER BY 1";
    let before = texts(&client, members).await;
    client
        .batch_execute("SELECT qsessions._use_distributed_bodies()")
        .await
        .unwrap();
    assert_eq!(texts(&client, members).await, before);
}

#[tokio::test]
async fn a_shard_is_purged_by_itself() {
    let client = Database::with(Users::Unlinked).await.connect().await;
    for _ in 0..5 {
        begin(&client, "ttl => '1 microsecond'").await;
    }
    // Its hour has passed, but it lives: the purge moves it on, and keeps it.
    let live = begin(&client, "idle_timeout => '1 day'").await;
    client
        .batch_execute(
            "UPDATE qsessions.session SET purge_after = now() - interval '3 hours' WHERE idle_timeout IS NOT NULL",
        )
        .await
        .unwrap();
    for (batch_size, purged) in [(2, 2), (10, 3), (10, 0)] {
        let found: i64 = row(
            &client,
            "SELECT qsessions._purge_relation('qsessions.session', $1)",
            &[&batch_size],
        )
        .await
        .get(0);
        assert_eq!(found, purged);
    }
    let left = texts(
        &client,
        "SELECT id || ' ' || (purge_after IS NULL) FROM qsessions.session",
    )
    .await;
    assert_eq!(left, [format!("{} true", live.id)]);
}
