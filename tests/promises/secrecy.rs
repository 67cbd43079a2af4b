//! No error, log line or notification carries a key.

use crate::common::{begin, row};
use qsessions_tests::{Server, ServerBuilder};
use tokio_postgres::Client;

/// Calls everything that takes a key, with parameters as an application does, in ways that succeed and ways that fail.
async fn use_keys(client: &Client) -> Vec<String> {
    let mut keys = Vec::new();
    for arguments in ["", "key => 'foreign-secret-key-0001'", "user_id => 1"] {
        let session = begin(client, arguments).await;
        let mut key = session.key;
        for round in 0..2 {
            for call in [
                "load_session($1)",
                "resume_session($1, '192.0.2.1')",
                "session_exists($1)",
                "save_session($1, '{}')",
                "save_session($1, '{}', 1)",
                "save_session($1, NULL)",
                "patch_session($1, '{\"a\": 1}')",
                "patch_session($1, '[]')",
                "set_expiry($1, ttl => '1 h')",
                "set_expiry($1, ttl => '-1 h')",
                "set_expiry($1)",
                "user_sessions(1, $1)",
                "revoke_user_sessions(2, $1)",
                "login($1, 404)",
                "login($1, 'nobody')",
                "create_session(key => $1)",
                "session_id($1)",
            ] {
                // Some of these fail, as they should.
                let _ = client
                    .query(&format!("SELECT qsessions.{call}"), &[&key])
                    .await;
            }
            keys.push(key.clone());
            if round == 0 {
                key = row(client, "SELECT qsessions.rotate_key($1)", &[&key])
                    .await
                    .get(0);
            } else {
                row(client, "SELECT qsessions.logout($1)", &[&key]).await;
            }
        }
        let _ = client
            .query("SELECT qsessions.rotate_key($1)", &[&key])
            .await;
    }
    // Texts that are no keys, yet might be a part of one.
    for text in ["sh0rt-s", &"too-long-secret".repeat(40)] {
        let _ = client
            .query("SELECT qsessions.session_id($1)", &[&text])
            .await;
        let _ = client
            .query("SELECT qsessions.save_session($1, '{}')", &[&text])
            .await;
        keys.push(text.to_owned());
    }
    keys
}

fn verbose() -> ServerBuilder {
    Server::builder()
        .setting("log_min_messages", "debug1")
        .setting("log_error_verbosity", "verbose")
        .setting("log_statement", "all")
        // These two are for parameters, which are the caller's to log or not.
        .setting("log_parameter_max_length", "0")
        .setting("log_parameter_max_length_on_error", "0")
}

#[tokio::test]
async fn a_server_that_logs_everything_logs_no_key() {
    let server = verbose().start().await.unwrap();
    let client = server.connect("postgres").await.unwrap();
    client
        .batch_execute(
            "CREATE EXTENSION qsessions; CREATE TABLE users (id bigint PRIMARY KEY);
             INSERT INTO users VALUES (1); SELECT qsessions.create_session_table('users');
             SET client_min_messages = debug1",
        )
        .await
        .unwrap();
    let keys = use_keys(&client).await;
    let log = std::fs::read_to_string(server.log_path()).unwrap();
    // The log is there, with errors of every kind.
    for code in [
        "QS001", "QS002", "QS003", "22004", "22023", "23503", "23505",
    ] {
        assert!(log.contains(code), "{code} is not in the log");
    }
    for key in keys.iter().filter(|key| *key != "foreign-secret-key-0001") {
        assert!(!log.contains(key.as_str()), "a key is in the log");
    }
    // The statement that brought this one in holds it; nothing else may.
    let lines = log
        .lines()
        .filter(|line| line.contains("foreign-secret-key-0001"))
        .count();
    assert_eq!(lines, 1);
}
