//! The address and the browser of a session.

use super::{Browser, an_hour, one, routes, sessions, store, visitors};
use axum::routing::get;
use qsessions::{Key, Session};
use qsessions_testkit::Database;
use std::net::IpAddr;

const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6_1 like Mac OS X) AppleWebKit/605.1.15 \
                     (KHTML, like Gecko) Version/17.6 Mobile/15E148 Safari/604.1";

async fn visit() -> (Database, Browser) {
    let database = Database::new().await;
    let app = routes()
        .layer(an_hour(sessions(&database)))
        .layer(visitors());
    let mut browser = Browser::of(app);
    browser.address = Some("192.0.2.7".parse().unwrap());
    browser.headers = vec![("user-agent", PHONE.to_owned())];
    (database, browser)
}

async fn session(database: &Database, browser: &Browser) -> Session {
    let key = Key::from(browser.cookie.as_deref().unwrap());
    store(database).load(&key).await.unwrap().unwrap()
}

fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

#[tokio::test]
async fn a_session_begins_with_the_address_and_the_browser_of_the_request() {
    let (database, mut browser) = visit().await;
    browser.set("user", "1").await;
    let begun = session(&database, &browser).await;
    assert_eq!(begun.ip, address("192.0.2.7"));
    assert_eq!(begun.user_agent.as_deref(), Some(PHONE));
    let listed = store(&database).user_sessions(1).await.unwrap();
    let device = listed[0].device.as_deref();
    assert_eq!(device, Some("iPhone / iOS 17.6.1 / Safari 17.6"));
}

#[tokio::test]
async fn a_load_records_a_visit_from_elsewhere() {
    let (database, mut browser) = visit().await;
    browser.set("foo", "42").await;
    browser.address = address("2001:db8::1");
    browser.headers = vec![("user-agent", "curl/8.5.0".to_owned())];
    assert_eq!(browser.value("foo").await, "42");
    let seen = session(&database, &browser).await;
    assert_eq!(seen.ip, address("2001:db8::1"));
    assert_eq!(seen.user_agent.as_deref(), Some("curl/8.5.0"));
}

#[tokio::test]
async fn a_request_without_address_and_browser_changes_neither() {
    let (database, mut browser) = visit().await;
    browser.set("foo", "42").await;
    (browser.address, browser.headers) = (None, Vec::new());
    assert_eq!(browser.value("foo").await, "42");
    let seen = session(&database, &browser).await;
    assert_eq!(seen.ip, address("192.0.2.7"));
    assert_eq!(seen.user_agent.as_deref(), Some(PHONE));
}

#[tokio::test]
async fn a_cycled_session_has_the_address_and_the_browser_of_the_request() {
    let (database, mut browser) = visit().await;
    browser.set("foo", "42").await;
    browser.address = address("192.0.2.8");
    browser.get("/cycle").await;
    let cycled = session(&database, &browser).await;
    assert_eq!(cycled.ip, address("192.0.2.8"));
    assert_eq!(cycled.user_agent.as_deref(), Some(PHONE));
}

#[tokio::test]
async fn headers_that_anyone_can_send_change_no_address() {
    let (database, mut browser) = visit().await;
    for name in [
        "x-forwarded-for",
        "x-real-ip",
        "forwarded",
        "cf-connecting-ip",
    ] {
        browser.headers.push((name, "203.0.113.66".to_owned()));
    }
    browser.set("foo", "42").await;
    assert_eq!(session(&database, &browser).await.ip, address("192.0.2.7"));
}

#[tokio::test]
async fn client_hints_name_the_device() {
    let (database, mut browser) = visit().await;
    let android = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) \
                   Chrome/130.0.0.0 Mobile Safari/537.36";
    browser.headers = vec![
        ("user-agent", android.to_owned()),
        ("sec-ch-ua-model", r#""Pixel 8""#.to_owned()),
        ("sec-ch-ua-platform", r#""Android""#.to_owned()),
    ];
    browser.set("user", "1").await;
    let listed = store(&database).user_sessions(1).await.unwrap();
    let device = listed[0].device.as_deref().unwrap();
    assert!(device.contains("Pixel 8"), "{device}");
}

#[tokio::test]
async fn without_the_layer_a_session_has_neither_address_nor_browser() {
    let (database, mut browser) = visit().await;
    browser.app = routes().layer(an_hour(sessions(&database)));
    browser.set("foo", "42").await;
    assert_eq!(browser.value("foo").await, "42");
    let begun = session(&database, &browser).await;
    assert_eq!((begun.ip, &begun.user_agent), (None, &None));
}

#[tokio::test]
async fn a_request_that_does_not_use_its_session_asks_no_database() {
    let (database, mut browser) = visit().await;
    browser.set("foo", "42").await;
    let client = database.connect().await;
    let sql = "UPDATE qsessions.session SET last_seen_at = 'epoch'";
    client.execute(sql, &[]).await.unwrap();
    browser.app = browser.app.route("/plain", get(async || "plain"));
    browser.get("/").await;
    browser.get("/plain").await;
    let sql = "SELECT last_seen_at = 'epoch' FROM qsessions.session";
    assert!(one::<bool>(&client, sql).await);
    browser.value("foo").await;
    assert!(!one::<bool>(&client, sql).await);
}

#[tokio::test]
async fn a_browser_name_that_is_no_text_is_kept_as_far_as_it_is_one() {
    use axum::body::Body;
    use axum::http::{HeaderValue, Request, header::USER_AGENT};
    let (database, mut browser) = visit().await;
    browser.headers.clear();
    let mut request = Request::get("/set/foo/42").body(Body::empty()).unwrap();
    let agent = HeaderValue::from_bytes(b"agent \xe9").unwrap();
    request.headers_mut().insert(USER_AGENT, agent);
    browser.send(request).await;
    let begun = session(&database, &browser).await;
    assert_eq!(begun.user_agent.as_deref(), Some("agent \u{fffd}"));
}
