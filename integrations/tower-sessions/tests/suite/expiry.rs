//! When sessions expire, and how they are deleted.

use std::time::SystemTime;

use super::{Browser, count, one, routes, sessions, store, visit};
use axum::http::StatusCode;
use qsessions_testkit::Database;
use time::{Duration, OffsetDateTime};
use tokio_postgres::Client;
use tower_sessions::{Expiry, SessionManagerLayer};
use tower_sessions_core::ExpiredDeletion as _;

async fn expires_in(client: &Client) -> Duration {
    let seconds: f64 = one(
        client,
        "SELECT extract(epoch FROM expires_at - now())::float8 FROM qsessions.session",
    )
    .await;
    Duration::seconds_f64(seconds)
}

/// The instants of two clocks, a minute apart at most.
fn is_about(actual: Duration, expected: Duration) -> bool {
    (actual - expected).abs() < Duration::minutes(1)
}

async fn let_all_expire(client: &Client) {
    let sql = "UPDATE qsessions.session SET expires_at = now() - interval '1 hour'";
    client.execute(sql, &[]).await.unwrap();
}

#[tokio::test]
async fn the_database_and_the_cookie_have_the_same_expiry() {
    let (database, mut browser) = visit().await;
    let client = database.connect().await;
    browser.set("foo", "42").await;
    assert!(is_about(expires_in(&client).await, Duration::hours(1)));
    let day = Duration::days(1);
    let cookie = browser.get("/expire/86400").await.cookie.unwrap();
    assert!(is_about(cookie.max_age().unwrap(), day));
    assert!(is_about(expires_in(&client).await, day));
    let cookie = browser.get("/expire-with-browser").await.cookie.unwrap();
    assert!(cookie.max_age().is_none());
    // tower-sessions keeps such a session for two weeks.
    assert!(is_about(expires_in(&client).await, Duration::weeks(2)));
}

#[tokio::test]
async fn a_save_moves_the_expiry_and_a_load_does_not() {
    let (database, mut browser) = visit().await;
    let client = database.connect().await;
    browser.set("foo", "42").await;
    let sql = "UPDATE qsessions.session SET expires_at = now() + interval '10 minutes'";
    client.execute(sql, &[]).await.unwrap();
    assert_eq!(browser.value("foo").await, "42");
    assert!(is_about(expires_in(&client).await, Duration::minutes(10)));
    browser.set("foo", "43").await;
    assert!(is_about(expires_in(&client).await, Duration::hours(1)));
}

#[tokio::test]
async fn a_layer_that_always_saves_moves_the_expiry_with_each_request() {
    let database = Database::new().await;
    let client = database.connect().await;
    let layer = SessionManagerLayer::new(sessions(&database))
        .with_expiry(Expiry::OnInactivity(Duration::hours(1)))
        .with_always_save(true);
    let mut browser = Browser::of(routes().layer(layer));
    browser.set("foo", "42").await;
    let sql = "UPDATE qsessions.session SET expires_at = now() + interval '10 minutes'";
    client.execute(sql, &[]).await.unwrap();
    let reply = browser.get("/get/foo").await;
    assert_eq!(reply.body, "42");
    assert_eq!(reply.cookie.unwrap().max_age(), Some(Duration::hours(1)));
    assert!(is_about(expires_in(&client).await, Duration::hours(1)));
}

#[tokio::test]
async fn an_expired_session_is_not_found_and_another_one_begins() {
    let (database, mut browser) = visit().await;
    let client = database.connect().await;
    let old = browser.set("foo", "42").await;
    let_all_expire(&client).await;
    assert_eq!(browser.value("foo").await, "null");
    browser.cookie = Some(old.clone());
    assert_ne!(browser.set("bar", "1").await, old);
    assert_eq!(browser.value("foo").await, "null");
    assert_eq!(browser.value("bar").await, "1");
}

#[tokio::test]
async fn an_expiry_in_the_past_ends_the_session() {
    let (database, mut browser) = visit().await;
    let client = database.connect().await;
    browser.set("foo", "42").await;
    assert_eq!(browser.get("/expire/-1").await.status, StatusCode::OK);
    assert_eq!(browser.value("foo").await, "null");
    assert_eq!(count(&client).await, 0);
    // Ending it once more is no error, and such a session does not begin.
    assert_eq!(browser.get("/expire/-1").await.status, StatusCode::OK);
    browser.cookie = None;
    assert_eq!(browser.get("/expire/-1").await.status, StatusCode::OK);
    assert_eq!(count(&client).await, 0);
}

#[tokio::test]
async fn an_expiry_can_be_as_far_away_as_time_goes() {
    let database = Database::new().await;
    let layer = SessionManagerLayer::new(sessions(&database))
        .with_expiry(Expiry::OnInactivity(Duration::MAX));
    let mut browser = Browser::of(routes().layer(layer));
    browser.set("foo", "42").await;
    assert_eq!(browser.value("foo").await, "42");
    // Neither does a session that never expires trouble it, which other programs can make.
    let client = database.connect().await;
    let sql = "UPDATE qsessions.session SET expires_at = 'infinity'";
    client.execute(sql, &[]).await.unwrap();
    assert_eq!(browser.value("foo").await, "42");
    browser.set("foo", "43").await;
    assert_eq!(browser.value("foo").await, "43");
}

#[tokio::test]
async fn a_record_has_the_expiry_of_the_database() {
    use tower_sessions::SessionStore as _;
    let (database, mut browser) = visit().await;
    let id = browser.set("foo", "42").await.parse().unwrap();
    let record = sessions(&database).load(&id).await.unwrap().unwrap();
    let client = database.connect().await;
    let expires_at: SystemTime = one(&client, "SELECT expires_at FROM qsessions.session").await;
    assert_eq!(record.expiry_date, OffsetDateTime::from(expires_at));
}

#[tokio::test]
async fn only_expired_sessions_are_deleted() {
    let (database, mut browser) = visit().await;
    let client = database.connect().await;
    for _ in 0..3 {
        browser.cookie = None;
        browser.set("foo", "42").await;
    }
    let_all_expire(&client).await;
    browser.cookie = None;
    browser.set("foo", "42").await;
    sessions(&database).delete_expired().await.unwrap();
    assert_eq!(count(&client).await, 1);
    assert_eq!(browser.value("foo").await, "42");
    sessions(&database).delete_expired().await.unwrap();
}

#[tokio::test]
async fn a_task_deletes_expired_sessions_again_and_again() {
    let database = Database::new().await;
    let client = database.connect().await;
    let period = std::time::Duration::from_millis(1);
    let task = tokio::spawn(sessions(&database).continuously_delete_expired(period));
    for _ in 0..2 {
        store(&database).create().await.unwrap();
        let_all_expire(&client).await;
        while count(&client).await > 0 {
            tokio::task::yield_now().await;
        }
    }
    assert!(!task.is_finished());
    task.abort();
}
