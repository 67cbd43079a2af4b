//! Bad input: a clear error or no session, and never a crash.

use crate::common::{alive, begin, failure, row};
use qsessions_testkit::Database;
use serde_json::json;

#[tokio::test]
async fn invalid_keys_find_no_session_and_are_an_error_in_changes() {
    let database = Database::new().await;
    let client = database.connect().await;
    for key in [
        Some(String::new()),
        Some("short".to_owned()),
        Some("x".repeat(1 << 20)),
        None,
    ] {
        for call in ["load_session($1)", "resume_session($1, '::1', 'agent')"] {
            let statement = format!("SELECT * FROM qsessions.{call}");
            assert!(
                client.query(&statement, &[&key]).await.unwrap().is_empty(),
                "{call}"
            );
        }
        for call in ["session_exists($1)", "logout($1)"] {
            assert!(
                !row(&client, &format!("SELECT qsessions.{call}"), &[&key])
                    .await
                    .get::<_, bool>(0)
            );
        }
        for call in [
            "save_session($1, '{}')",
            "patch_session($1)",
            "rotate_key($1)",
            "set_expiry($1, '1 h')",
        ] {
            let refused = failure(&client, &format!("SELECT qsessions.{call}"), &[&key]).await;
            assert_eq!(refused.code, "QS003", "{call}");
            assert!(
                refused.message.starts_with("argument \"key\"") && !refused.hint.is_empty(),
                "{refused:?}"
            );
        }
    }
    let refused = failure(&client, "SELECT qsessions.create_session(key => '')", &[]).await;
    assert_eq!(refused.code, "QS003");
}

#[tokio::test]
async fn nulls_are_defaults_where_that_is_safe_and_errors_elsewhere() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL").await;
    let found = row(
        &client,
        "SELECT data, user_id FROM qsessions.load_session($1)",
        &[&session.key],
    )
    .await;
    assert_eq!(found.get::<_, serde_json::Value>(0), json!({}));
    assert_eq!(found.get::<_, Option<String>>(1), None);
    for (call, names) in [
        ("save_session($1, NULL)", "argument \"data\""),
        ("login($1, NULL)", "argument \"user_id\""),
    ] {
        let refused = failure(
            &client,
            &format!("SELECT qsessions.{call}"),
            &[&session.key],
        )
        .await;
        assert_eq!(refused.code, "22004", "{call}");
        assert!(refused.message.starts_with(names), "{refused:?}");
    }
    let refused = failure(&client, "SELECT qsessions.revoke_user_sessions(NULL)", &[]).await;
    assert_eq!(refused.code, "22004");
    let ended: bool = row(&client, "SELECT qsessions.revoke_session(NULL)", &[])
        .await
        .get(0);
    assert!(!ended);
    for call in [
        "device(NULL)",
        "location(NULL)",
        "country_code(NULL)",
        "session_id(NULL)",
    ] {
        let null: bool = row(&client, &format!("SELECT qsessions.{call} IS NULL"), &[])
            .await
            .get(0);
        assert!(null, "{call}");
    }
}

#[tokio::test]
async fn data_has_a_limit_that_counts_bytes_before_compression() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "").await;
    // A jsonb string of n bytes takes n + 12 bytes.
    let text_of = |bytes: usize| json!("x".repeat(bytes - 12));
    let calls = [
        "SELECT qsessions.create_session(data => $1)",
        "SELECT qsessions.login(NULL, 1, data => $1)",
    ];
    for call in calls {
        row(&client, call, &[&text_of(1 << 20)]).await;
        let refused = failure(&client, call, &[&text_of((1 << 20) + 1)]).await;
        assert_eq!(refused.code, "QS004", "{call}");
        assert!(
            refused.message.contains("1048577") && refused.message.contains("1048576"),
            "{refused:?}"
        );
        assert!(
            refused.hint.contains("qsessions.max_data_bytes"),
            "{refused:?}"
        );
    }
    let save = "SELECT qsessions.save_session($1, $2)";
    row(&client, save, &[&session.key, &text_of(1 << 20)]).await;
    assert_eq!(
        failure(&client, save, &[&session.key, &text_of((1 << 20) + 1)])
            .await
            .code,
        "QS004"
    );

    // Two members that are below the limit only one by one, and a value that its table stores
    // compressed.
    row(&client, save, &[&session.key, &json!({})]).await;
    let half = "x".repeat(600_000);
    let patch = "SELECT qsessions.patch_session($1, $2)";
    row(&client, patch, &[&session.key, &json!({ "a": half })]).await;
    assert_eq!(
        failure(&client, patch, &[&session.key, &json!({ "b": half })])
            .await
            .code,
        "QS004"
    );
    client
        .batch_execute("CREATE TABLE kept AS SELECT to_jsonb(repeat('x', 2000000)) AS data")
        .await
        .unwrap();
    let compressed = "SELECT qsessions.save_session($1, data) FROM kept";
    assert_eq!(
        failure(&client, compressed, &[&session.key]).await.code,
        "QS004"
    );
}

#[tokio::test]
async fn malformed_json_is_refused() {
    let database = Database::new().await;
    let client = database.connect().await;
    for (data, code) in [
        ("{", "22P02"),
        ("", "22P02"),
        (r#"{"a": "\u0000"}"#, "22P05"),
        ("{'a': 1}", "22P02"),
    ] {
        let statement = "SELECT qsessions.create_session(data => $1::text::jsonb)";
        assert_eq!(
            failure(&client, statement, &[&data]).await.code,
            code,
            "{data}"
        );
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let statement = "SELECT qsessions.create_session(data => $1::text::jsonb)";
    assert_eq!(failure(&client, statement, &[&deep]).await.code, "54001");
}

#[tokio::test]
async fn a_long_user_agent_is_truncated_between_characters() {
    let database = Database::new().await;
    let client = database.connect().await;
    for (character, limit) in [("x", 512), ("é", 512), ("😀", 7), ("\u{301}", 3)] {
        client
            .batch_execute(&format!("SET qsessions.user_agent_max_length = {limit}"))
            .await
            .unwrap();
        let long = character.repeat(1 << 18);
        row(
            &client,
            "SELECT qsessions.create_session(user_agent => $1)",
            &[&long],
        )
        .await;
        let kept: String = row(
            &client,
            "DELETE FROM qsessions.session RETURNING user_agent",
            &[],
        )
        .await
        .get(0);
        assert_eq!(kept, character.repeat(limit));
    }
}

#[tokio::test]
async fn keys_with_unusual_characters_work() {
    let database = Database::new().await;
    let client = database.connect().await;
    for key in [
        "'; DROP TABLE qsessions.session; --",
        "\"quoted\\\"",
        "$$dollar$$ %s %I",
        "  spaces  ",
        "\t\n\r\u{1}\u{7f}control",
    ] {
        row(
            &client,
            "SELECT qsessions.create_session(key => $1)",
            &[&key],
        )
        .await;
        assert!(alive(&client, key).await);
        row(&client, "SELECT qsessions.save_session($1, '{}')", &[&key]).await;
        row(&client, "SELECT qsessions.patch_session($1)", &[&key]).await;
        assert!(
            row(&client, "SELECT qsessions.logout($1)", &[&key])
                .await
                .get::<_, bool>(0)
        );
    }
}

#[tokio::test]
async fn invalid_user_ids_are_refused() {
    let database = Database::new().await;
    let client = database.connect().await;
    for (user, code) in [
        ("ann", "22P02"),
        ("", "22P02"),
        ("1.5", "22P02"),
        ("99999999999999999999", "22003"),
        ("404", "23503"),
    ] {
        for call in ["create_session(user_id => $1)", "login(NULL, $1)"] {
            let refused = failure(&client, &format!("SELECT qsessions.{call}"), &[&user]).await;
            assert_eq!(refused.code, code, "{call} {user}");
        }
        if code != "23503" {
            for call in [
                "user_sessions($1)",
                "list_sessions($1)",
                "revoke_user_sessions($1)",
            ] {
                let refused = failure(&client, &format!("SELECT qsessions.{call}"), &[&user]).await;
                assert_eq!(refused.code, code, "{call} {user}");
            }
        }
    }
}

#[tokio::test]
async fn hostile_user_agents_are_parsed_like_others() {
    let database = Database::new().await;
    let client = database.connect().await;
    let long = "Mozilla/5.0 ".repeat(100_000);
    let odd = [
        "",
        " ",
        "\\",
        "((((((((((",
        "%00",
        "\u{202e}",
        "Mozilla/",
        "a\tb",
        &"(".repeat(10_000),
        &long,
    ];
    for agent in odd {
        row(&client, "SELECT qsessions.parse_user_agent($1)", &[&agent]).await;
        row(&client, "SELECT qsessions.device($1)", &[&agent]).await;
    }
}

#[tokio::test]
async fn without_a_session_table_functions_raise_undefined_table_or_object() {
    let database = Database::with(qsessions_testkit::Users::Nothing).await;
    let client = database.connect().await;
    for call in [
        "create_session()",
        "load_session('12345678')",
        "stats()",
        "purge_expired()",
    ] {
        let missing = failure(&client, &format!("SELECT qsessions.{call}"), &[]).await;
        assert!(
            ["42P01", "42704"].contains(&missing.code.as_str()),
            "{call}: {missing:?}"
        );
    }
    let refused = failure(&client, "SELECT qsessions.grant_access('postgres')", &[]).await;
    assert!(refused.hint.contains("create_session_table"), "{refused:?}");
}
