//! Users whose key has a nondeterministic collation. A function in PL/pgSQL gives the collation of
//! an argument to all its texts, and PostgreSQL 15 has no LIKE or regular expressions for them.

use crate::common::row;
use qsessions_testkit::{Database, Users};

#[tokio::test]
async fn each_function_takes_a_user_id_from_a_column_with_such_a_collation() {
    let client = Database::with(Users::Nothing).await.connect().await;
    client
        .batch_execute(
            "CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
             CREATE TABLE users (email text COLLATE any_case PRIMARY KEY);
             INSERT INTO users VALUES ('ada@example.org'), ('blank ');
             SELECT qsessions.create_session_table('users');
             SELECT qsessions.create_event_table()",
        )
        .await
        .unwrap();
    for (call, expected) in [
        (
            "count(qsessions.create_session(email, max_sessions => 2))",
            2,
        ),
        (
            "count(qsessions.create_session(email, key => md5(email)))",
            2,
        ),
        (
            "count(qsessions.login(NULL, email, user_agent => 'curl/8.5.0'))",
            2,
        ),
        (
            "count(*) FILTER (WHERE qsessions.import_session(md5(email || 2), email))",
            2,
        ),
        (
            "count(qsessions.save_session((qsessions.create_session()).key, '{}', user_id => email))",
            2,
        ),
        (
            "sum((SELECT count(*) FROM qsessions.user_sessions(email)))",
            10,
        ),
        (
            "sum((SELECT count(*) FROM qsessions.user_events(email)))",
            10,
        ),
        (
            "sum((SELECT count(*) FROM qsessions.list_sessions(email, country => 'DE')))",
            0,
        ),
        (
            "sum((SELECT count(*) FROM qsessions.list_sessions(upper(email), device => 'CURL')))",
            2,
        ),
        (
            "sum(qsessions.revoke_sessions(email, user_agent => 'curl%'))",
            2,
        ),
        ("sum(qsessions.revoke_user_sessions(upper(email)))", 8),
    ] {
        let query = format!("SELECT ({call})::bigint FROM users");
        assert_eq!(
            row(&client, &query, &[]).await.get::<_, i64>(0),
            expected,
            "{call}"
        );
    }
}
