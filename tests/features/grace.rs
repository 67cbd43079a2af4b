//! Rotation with a grace: the former key opens the session too, until the grace is over or the
//! session ends.

use crate::common::waiting::second_waits_for_first;
use crate::common::{Begun, alive, begin, data, failure, row};
use qsessions_testkit::Database;
use serde_json::json;
use tokio_postgres::Client;

/// A session of user 1 that was rotated with this grace, with its former key, and its present key.
async fn rotated(client: &Client, grace: &str) -> (Begun, String) {
    let former = begin(client, r#"user_id => 1, data => '{"a": 1}'"#).await;
    let present = rotate(client, &former.key, grace).await;
    (former, present)
}

async fn rotate(client: &Client, key: &str, grace: &str) -> String {
    let statement = format!("SELECT qsessions.rotate_key($1, grace => '{grace}')");
    row(client, &statement, &[&key]).await.get(0)
}

async fn truth(client: &Client, condition: &str, key: &str) -> bool {
    row(client, &format!("SELECT {condition}"), &[&key])
        .await
        .get(0)
}

/// Conditions that hold for a key that opens the session, in this order.
const USES: &[&str] = &[
    "qsessions.session_exists($1)",
    "(SELECT user_id = '1' FROM qsessions.load_session($1))",
    "(SELECT ip = '192.0.2.7' FROM qsessions.resume_session($1, '192.0.2.7'))",
    "(SELECT ip = '192.0.2.7' FROM qsessions.load_for_cache($1))",
    "qsessions.save_session($1, '{\"b\": 2}') = 2",
    "qsessions.save_session($1, '{\"b\": 2}', expected_version => 2, user_id => 1) = 3",
    "qsessions.patch_session($1, '{\"c\": 3}') = 4",
    "qsessions.set_expiry($1, ttl => '1 hour') > now()",
    "(SELECT is_current FROM qsessions.user_sessions(1, $1))",
    "qsessions.revoke_user_sessions(1, except_key => $1) = 0",
    "qsessions.logout($1)",
];

#[tokio::test]
async fn both_keys_can_do_everything_but_rotate_during_the_grace() {
    let database = Database::new().await;
    let client = database.connect().await;
    let (former, _) = rotated(&client, "1 minute").await;
    for condition in USES {
        assert!(truth(&client, condition, &former.key).await, "{condition}");
    }
    let (_, present) = rotated(&client, "1 minute").await;
    for condition in USES {
        assert!(truth(&client, condition, &present).await, "{condition}");
    }
}

#[tokio::test]
async fn the_former_key_opens_nothing_once_the_grace_is_over() {
    let database = Database::new().await;
    let client = database.connect().await;
    let (former, present) = rotated(&client, "300 ms").await;
    while truth(&client, "qsessions.session_exists($1)", &former.key).await {
        tokio::task::yield_now().await;
    }
    for query in [
        "SELECT FROM qsessions.resume_session($1, '192.0.2.7')",
        "SELECT FROM qsessions.load_for_cache($1)",
        "SELECT FROM qsessions.user_sessions(1, $1) WHERE is_current",
    ] {
        assert!(
            client
                .query(query, &[&former.key])
                .await
                .unwrap()
                .is_empty(),
            "{query}"
        );
    }
    for call in [
        "save_session($1, '{}')",
        "save_session($1, '{}', user_id => 1)",
        "patch_session($1)",
        "set_expiry($1, ttl => '1 hour')",
        "rotate_key($1)",
        "rotate_key($1, grace => '1 minute')",
    ] {
        let gone = failure(&client, &format!("SELECT qsessions.{call}"), &[&former.key]).await;
        assert_eq!(gone.code, "QS001", "{call}");
        assert_eq!(gone.detail, "", "{call}");
    }
    assert!(!truth(&client, "qsessions.logout($1)", &former.key).await);
    assert_eq!(data(&client, &present).await, json!({"a": 1}));
    // The session is not that of the former key.
    let spared = "qsessions.revoke_user_sessions(1, except_key => $1) = 1";
    assert!(truth(&client, spared, &former.key).await);
    assert!(!alive(&client, &present).await);
}

#[tokio::test]
async fn whatever_ends_the_session_ends_the_former_key() {
    let database = Database::new().await;
    let client = database.connect().await;
    for end in [
        "qsessions.logout($1)",
        "qsessions.revoke_session($2, 1)",
        "qsessions.revoke_session($2)",
        "qsessions.revoke_user_sessions(1)",
        "qsessions.revoke_sessions(1)",
        "qsessions.login($1, 2)",
    ] {
        for by_former in [false, true] {
            let (former, present) = rotated(&client, "1 minute").await;
            assert!(alive(&client, &former.key).await);
            let key = if by_former { &former.key } else { &present };
            let statement = format!(
                "SELECT {end}::text IS NOT NULL AND $1::text <> '' AND $2::uuid IS NOT NULL"
            );
            row(&client, &statement, &[key, &former.id]).await;
            assert!(!alive(&client, &former.key).await, "{end}");
            assert!(!alive(&client, &present).await, "{end}");
        }
    }
}

#[tokio::test]
async fn a_login_leaves_only_its_new_key() {
    let database = Database::new().await;
    let client = database.connect().await;
    for by_former in [false, true] {
        let (former, present) = rotated(&client, "1 minute").await;
        let key = if by_former { &former.key } else { &present };
        let found = row(
            &client,
            "SELECT key, id FROM qsessions.login($1, 1)",
            &[key],
        )
        .await;
        assert_eq!(found.get::<_, uuid::Uuid>("id"), former.id);
        assert!(alive(&client, found.get("key")).await);
        assert!(!alive(&client, &former.key).await);
        assert!(!alive(&client, &present).await);
    }
}

#[tokio::test]
async fn a_second_rotation_ends_the_former_key() {
    let database = Database::new().await;
    let client = database.connect().await;
    let (first, second) = rotated(&client, "1 minute").await;
    let third = rotate(&client, &second, "1 minute").await;
    for (key, lives) in [(&first.key, false), (&second, true), (&third, true)] {
        assert_eq!(alive(&client, key).await, lives);
    }
    let fourth: String = row(&client, "SELECT qsessions.rotate_key($1)", &[&third])
        .await
        .get(0);
    for (key, lives) in [
        (&first.key, false),
        (&second, false),
        (&third, false),
        (&fourth, true),
    ] {
        assert_eq!(alive(&client, key).await, lives);
    }
}

#[tokio::test]
async fn the_former_key_cannot_be_rotated_and_its_grace_cannot_be_extended() {
    let database = Database::new().await;
    let client = database.connect().await;
    let (former, present) = rotated(&client, "1 minute").await;
    let until = "SELECT former_digest_until::text FROM qsessions.session";
    let before: String = row(&client, until, &[]).await.get(0);
    for call in ["rotate_key($1)", "rotate_key($1, grace => '1 minute')"] {
        let refused = failure(&client, &format!("SELECT qsessions.{call}"), &[&former.key]).await;
        assert_eq!(refused.code, "QS001");
        assert!(refused.message.contains("was rotated already"));
        assert!(!refused.detail.is_empty() && !refused.hint.is_empty());
    }
    for key in [&former.key, &present] {
        for call in [
            "save_session($1, '{}')::text",
            "patch_session($1)::text",
            "set_expiry($1, ttl => '1 day')::text",
            "resume_session($1, '192.0.2.1')::text",
        ] {
            row(&client, &format!("SELECT qsessions.{call}"), &[key]).await;
        }
    }
    assert_eq!(
        row(&client, until, &[]).await.get::<_, String>(0),
        before,
        "no use extends the grace"
    );
}

#[tokio::test]
async fn only_the_former_key_is_marked_for_caches() {
    let database = Database::new().await;
    let client = database.connect().await;
    let (former, present) = rotated(&client, "1 minute").await;
    for (key, is_former) in [(&former.key, true), (&present, false)] {
        let marked = "(SELECT is_former_key FROM qsessions.load_for_cache($1))";
        assert_eq!(truth(&client, marked, key).await, is_former);
    }
}

#[tokio::test]
async fn a_grace_is_at_most_a_minute() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "").await;
    for grace in [
        "0",
        "-1 second",
        "60.000001 seconds",
        "1 hour",
        "100000000 years",
        // Equal to ten seconds in a comparison, but days longer or shorter by the calendar.
        "1 year -360 days 10 seconds",
        "-1 year 360 days 10 seconds",
    ] {
        let statement = format!("SELECT qsessions.rotate_key($1, grace => '{grace}')");
        let refused = failure(&client, &statement, &[&session.key]).await;
        assert_eq!(refused.code, "22023", "{grace}");
        assert!(refused.message.starts_with("argument \"grace\""));
        assert!(!refused.hint.is_empty());
    }
    assert!(alive(&client, &session.key).await);
    let present = rotate(&client, &session.key, "60 seconds").await;
    assert!(alive(&client, &present).await && alive(&client, &session.key).await);
}

#[tokio::test]
async fn an_expired_session_is_not_opened_by_its_former_key() {
    let database = Database::new().await;
    let client = database.connect().await;
    let (former, present) = rotated(&client, "1 minute").await;
    client
        .batch_execute("UPDATE qsessions.session SET expires_at = now()")
        .await
        .unwrap();
    assert!(!alive(&client, &former.key).await);
    assert!(!alive(&client, &present).await);
    let refused = failure(&client, "SELECT qsessions.rotate_key($1)", &[&former.key]).await;
    assert_eq!(
        (refused.code.as_str(), refused.detail.as_str()),
        ("QS001", "")
    );
}

#[tokio::test]
async fn a_save_that_waited_for_a_rotation_with_grace_succeeds() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let rotate = "SELECT qsessions.rotate_key($1, grace => '1 minute')";
    for write in [
        "SELECT qsessions.save_session($1, '{}')",
        "SELECT qsessions.patch_session($1)",
        "SELECT qsessions.set_expiry($1, ttl => '1 h')",
        "SELECT id FROM qsessions.resume_session($1, '192.0.2.1')",
    ] {
        let session = begin(&admin, "").await;
        second_waits_for_first(&database, &session, rotate, write)
            .await
            .unwrap();
        assert!(alive(&admin, &session.key).await, "{write}");
    }
}

#[tokio::test]
async fn a_logout_that_waited_for_a_rotation_with_grace_ends_the_session() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let session = begin(&admin, "").await;
    let rotate = "SELECT qsessions.rotate_key($1, grace => '1 minute')";
    let logout = "SELECT qsessions.logout($1)";
    second_waits_for_first(&database, &session, rotate, logout)
        .await
        .unwrap();
    assert_eq!(crate::common::sessions(&admin).await, 0);
}

#[tokio::test]
async fn a_use_of_the_former_key_that_waited_for_the_end_of_its_grace_fails() {
    let database = Database::new().await;
    let admin = database.connect().await;
    for end in [
        "SELECT qsessions.logout($1)",
        "SELECT key FROM qsessions.login($1, 1)",
        "SELECT qsessions.rotate_key((SELECT k FROM present WHERE $1 <> ''))",
    ] {
        for write in [
            "SELECT qsessions.save_session($1, '{}')",
            "SELECT qsessions.save_session($1, '{}', user_id => 1)",
            "SELECT qsessions.patch_session($1)",
            "SELECT qsessions.set_expiry($1, ttl => '1 h')",
        ] {
            let (former, present) = rotated(&admin, "1 minute").await;
            admin
                .batch_execute(&format!(
                    "DROP TABLE IF EXISTS present; CREATE TABLE present AS SELECT '{present}'::text AS k"
                ))
                .await
                .unwrap();
            let outcome = second_waits_for_first(&database, &former, end, write).await;
            assert_eq!(outcome.unwrap_err().code, "QS001", "{end}, {write}");
            assert!(!alive(&admin, &former.key).await, "{end}, {write}");
        }
    }
}

#[tokio::test]
async fn of_two_rotations_with_grace_at_once_the_second_fails() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let session = begin(&admin, "").await;
    let rotate = "SELECT qsessions.rotate_key($1, grace => '1 minute')";
    let outcome = second_waits_for_first(&database, &session, rotate, rotate).await;
    let refused = outcome.unwrap_err();
    assert_eq!(refused.code, "QS001");
    assert!(!refused.detail.is_empty(), "{refused:?}");
    // The cookie of the second request still works.
    assert!(alive(&admin, &session.key).await);
}
