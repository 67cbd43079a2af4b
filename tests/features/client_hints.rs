//! Client hints: what they add to a User-Agent, and how sessions keep them.

use crate::common::{begin, begun, row};
use qsessions_testkit::{Database, Users};
use serde_json::{Value, json};
use tokio_postgres::Client;

const PHONE: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) \
                     Chrome/131.0.0.0 Mobile Safari/537.36";
const PC: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                  Chrome/131.0.0.0 Safari/537.36";

/// The hints that each request has.
fn usual() -> Value {
    json!({
        "sec-ch-ua": r#""Google Chrome";v="131", "Chromium";v="131", "Not_A Brand";v="24""#,
        "sec-ch-ua-mobile": "?1",
        "sec-ch-ua-platform": r#""Android""#,
    })
}

/// The hints that a browser sends when it is asked to.
fn asked() -> Value {
    json!({
        "sec-ch-ua-model": r#""SM-S921B""#,
        "sec-ch-ua-platform-version": r#""14.0.0""#,
        "sec-ch-ua-full-version-list":
            r#""Google Chrome";v="131.0.6778.135", "Chromium";v="131.0.6778.135", "Not_A Brand";v="24.0.0.0""#,
    })
}

fn both() -> Value {
    let mut both = usual();
    let map = both.as_object_mut().expect("an object");
    map.extend(asked().as_object().expect("an object").clone());
    both
}

async fn device(client: &Client, agent: Option<&str>, hints: Option<Value>) -> Option<String> {
    let statement = "SELECT qsessions.device($1, $2)";
    row(client, statement, &[&agent, &hints]).await.get(0)
}

async fn kept(client: &Client) -> Option<Value> {
    let statement = "SELECT client_hints FROM qsessions.session";
    row(client, statement, &[]).await.get(0)
}

async fn resume(client: &Client, key: &str, agent: Option<&str>, hints: Option<Value>) {
    let statement =
        "SELECT * FROM qsessions.resume_session($1, user_agent => $2, client_hints => $3)";
    row(client, statement, &[&key, &agent, &hints]).await;
}

#[tokio::test]
async fn hints_tell_what_the_string_does_not_tell() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    assert_eq!(
        device(&client, Some(PHONE), Some(both())).await.as_deref(),
        Some("Galaxy S24 / Android 14 / Chrome 131.0.6778.135")
    );
    let eleven =
        json!({"Sec-CH-UA-Platform": "\"Windows\"", "Sec-CH-UA-Platform-Version": "\"15.0.0\""});
    assert_eq!(
        device(&client, Some(PC), Some(eleven.clone()))
            .await
            .as_deref(),
        Some("PC / Windows 11 / Chrome 131.0.0.0")
    );
    let found = row(
        &client,
        "SELECT * FROM qsessions.parse_user_agent($1, $2)",
        &[&PHONE, &both()],
    )
    .await;
    for (column, part) in [
        ("browser", "Chrome"),
        ("browser_version", "131.0.6778.135"),
        ("os", "Android"),
        ("os_version", "14"),
        ("device", "SM-S921B"),
        ("vendor", "Samsung"),
        ("category", "mobile"),
    ] {
        assert_eq!(found.get::<_, String>(column), part);
    }
    let named = row(
        &client,
        "SELECT (qsessions.parse_user_agent(user_agent => $1, client_hints => $2)).os_version,
                qsessions.device(user_agent => $1, client_hints => $2)",
        &[&PC, &eleven],
    )
    .await;
    assert_eq!(named.get::<_, String>(0), "11");
}

#[tokio::test]
async fn without_hints_the_string_decides() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    for hints in [None, Some(json!({})), Some(json!({"cookie": "a=b"}))] {
        let same: bool = row(
            &client,
            "SELECT qsessions.device($1, $2) = qsessions.device($1)
                AND qsessions.parse_user_agent($1, $2) = qsessions.parse_user_agent($1)",
            &[&PC, &hints],
        )
        .await
        .get(0);
        assert!(same, "{hints:?}");
        assert_eq!(device(&client, Some(""), hints).await.as_deref(), Some(""));
    }
    assert_eq!(device(&client, None, Some(both())).await, None);
    assert_eq!(device(&client, None, None).await, None);
    let null: bool = row(
        &client,
        "SELECT qsessions.parse_user_agent(NULL, $1) IS NULL",
        &[&both()],
    )
    .await
    .get(0);
    assert!(null);
}

/// Values that are not hints, or not in the right form.
fn hostile() -> Vec<Value> {
    let mut deep = json!("\"Windows\"");
    for _ in 0..100 {
        deep = json!([{"sec-ch-ua-platform": deep}]);
    }
    let many: serde_json::Map<_, _> = (0..10_000)
        .map(|number| (format!("sec-ch-ua-{number}"), json!("x".repeat(100))))
        .collect();
    vec![
        json!(null),
        json!(true),
        json!(17),
        json!("sec-ch-ua-model"),
        json!([]),
        json!(["sec-ch-ua-model", "\"Pixel 8\""]),
        json!([{"sec-ch-ua-model": "\"Pixel 8\""}]),
        json!({"sec-ch-ua-model": null, "sec-ch-ua-platform-version": 15, "sec-ch-ua-mobile": true}),
        json!({"sec-ch-ua-model": ["\"Pixel 8\""], "sec-ch-ua-platform-version": {"a": "\"15\""}}),
        json!({"": "", "sec-ch-ua-": "\"a\"", "ſec-ch-ua-model": "\"Pixel 8\""}),
        json!({"sec-ch-ua-platform-version": "\"15.0.0\n\"", "sec-ch-ua-model": "\u{1}"}),
        json!({"sec-ch-ua-platform-version": format!("\"15.0.0\"{}", " ".repeat(1000))}),
        json!({"sec-ch-ua-model": "x".repeat(1 << 20)}),
        json!({"a": "x".repeat(1 << 20), "sec-ch-ua-platform-version": "\"15.0.0\""}),
        Value::Object(many),
        deep.clone(),
        json!({"sec-ch-ua-platform-version": deep}),
    ]
}

#[tokio::test]
async fn what_is_not_a_hint_is_ignored() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    for hints in hostile() {
        let text: String = hints.to_string().chars().take(80).collect();
        assert_eq!(
            device(&client, Some(PC), Some(hints)).await.as_deref(),
            Some("PC / Windows 10 / Chrome 131.0.0.0"),
            "{text}"
        );
    }
    // These are deeper than a client can build them.
    for depth in [1000, 5000] {
        let nested = format!(
            "SELECT qsessions.device('curl/8.7.1', (repeat('[', {depth}) || repeat(']', {depth}))::jsonb)"
        );
        let line: String = row(&client, &nested, &[]).await.get(0);
        assert_eq!(line, "Other / Other / curl 8.7.1");
    }
}

#[tokio::test]
async fn a_session_keeps_only_hints() {
    let database = Database::new().await;
    let client = database.connect().await;
    let create = "SELECT * FROM qsessions.create_session(user_agent => $1, client_hints => $2)";
    for hints in hostile() {
        row(&client, create, &[&PC, &hints]).await;
        assert_eq!(kept(&client).await, None);
        client
            .batch_execute("DELETE FROM qsessions.session")
            .await
            .unwrap();
    }
    let headers = json!({
        "Cookie": "secret",
        "Sec-CH-UA-Model": r#""a\"b\\c é😀""#,
        "HTTP_SEC_CH_UA_PLATFORM": "\"Android\"",
        "sec-ch-ua-mobile": "?1",
        "sec-ch-ua-arch": ["x86"],
        "Sec-CH-Prefers-Color-Scheme": "dark",
    });
    row(&client, create, &[&PHONE, &headers]).await;
    let expected = json!({
        "sec-ch-ua-model": r#""a\"b\\c é😀""#,
        "sec-ch-ua-platform": "\"Android\"",
        "sec-ch-ua-mobile": "?1",
    });
    assert_eq!(kept(&client).await, Some(expected));
}

#[tokio::test]
async fn lists_of_sessions_show_the_device_by_its_hints() {
    let database = Database::new().await;
    let client = database.connect().await;
    row(
        &client,
        "SELECT * FROM qsessions.create_session(1, user_agent => $1, client_hints => $2)",
        &[&PHONE, &both()],
    )
    .await;
    for call in [
        "user_sessions(1)",
        "list_sessions()",
        "list_sessions(device => 'galaxy s24')",
        "list_sessions(device => 'sm-s921b')",
    ] {
        let statement = format!("SELECT device FROM qsessions.{call}");
        let shown: String = row(&client, &statement, &[]).await.get(0);
        assert_eq!(
            shown, "Galaxy S24 / Android 14 / Chrome 131.0.6778.135",
            "{call}"
        );
    }
}

#[tokio::test]
async fn hints_of_later_requests_are_added_and_those_of_another_browser_replace_them() {
    let database = Database::new().await;
    let client = database.connect().await;
    let create = "SELECT * FROM qsessions.create_session(user_agent => $1, client_hints => $2)";
    let session = begun(&row(&client, create, &[&PHONE, &usual()]).await);
    assert_eq!(kept(&client).await, Some(usual()));

    resume(&client, &session.key, Some(PHONE), Some(asked())).await;
    assert_eq!(kept(&client).await, Some(both()));

    let mut newer = both();
    newer["sec-ch-ua-platform-version"] = json!("\"15.0.0\"");
    let change = json!({"Sec-CH-UA-Platform-Version": "\"15.0.0\""});
    resume(&client, &session.key, None, Some(change)).await;
    assert_eq!(kept(&client).await, Some(newer.clone()));

    resume(&client, &session.key, Some(PHONE), None).await;
    assert_eq!(kept(&client).await, Some(newer));

    let windows = json!({"sec-ch-ua-platform": "\"Windows\""});
    resume(&client, &session.key, Some(PC), Some(windows.clone())).await;
    assert_eq!(kept(&client).await, Some(windows));

    resume(&client, &session.key, Some("curl/8.7.1"), None).await;
    assert_eq!(kept(&client).await, None);
}

#[tokio::test]
async fn a_visit_whose_hints_are_known_writes_nothing() {
    let database = Database::new().await;
    let client = database.connect().await;
    let create = "SELECT * FROM qsessions.create_session(user_agent => $1, client_hints => $2)";
    let session = begun(&row(&client, create, &[&PHONE, &both()]).await);
    let place = "SELECT ctid::text || xmin::text FROM qsessions.session";
    let before: String = row(&client, place, &[]).await.get(0);
    let mut named_otherwise = json!({"Cookie": "a=b"});
    for (name, value) in usual().as_object().expect("an object") {
        named_otherwise[name.to_uppercase()] = value.clone();
    }
    for hints in [
        Some(usual()),
        Some(both()),
        Some(named_otherwise),
        Some(json!([])),
        None,
    ] {
        resume(&client, &session.key, Some(PHONE), hints).await;
        let after: String = row(&client, place, &[]).await.get(0);
        assert_eq!(after, before);
    }
    resume(
        &client,
        &session.key,
        Some(PHONE),
        Some(json!({"sec-ch-ua-arch": "\"arm\""})),
    )
    .await;
    let after: String = row(&client, place, &[]).await.get(0);
    assert_ne!(after, before);
}

#[tokio::test]
async fn a_login_keeps_the_hints_of_its_request() {
    let database = Database::new().await;
    let client = database.connect().await;
    let login = "SELECT * FROM qsessions.login($1, 1, user_agent => $2, client_hints => $3)";
    let visitor = begin(&client, "").await;
    row(&client, login, &[&visitor.key, &PHONE, &both()]).await;
    assert_eq!(kept(&client).await, Some(both()));
    client
        .batch_execute("DELETE FROM qsessions.session")
        .await
        .unwrap();
    row(&client, login, &[&None::<&str>, &PHONE, &both()]).await;
    assert_eq!(kept(&client).await, Some(both()));
}

#[tokio::test]
async fn events_show_the_device_by_its_hints() {
    let database = Database::new().await;
    let client = database.connect().await;
    client
        .batch_execute("SELECT qsessions.create_event_table()")
        .await
        .unwrap();
    let login = "SELECT * FROM qsessions.login(NULL, 1, user_agent => $1, client_hints => $2)";
    row(&client, login, &[&PHONE, &both()]).await;
    let shown: String = row(&client, "SELECT device FROM qsessions.user_events(1)", &[])
        .await
        .get(0);
    assert_eq!(shown, "Galaxy S24 / Android 14 / Chrome 131.0.6778.135");
}
