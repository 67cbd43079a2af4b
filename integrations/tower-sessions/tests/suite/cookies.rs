//! The cookie as tower-sessions sets it, and what it opens.

use super::{Browser, an_hour, count, routes, sessions, visit};
use axum::http::StatusCode;
use qsessions_testkit::Database;
use time::Duration;
use tower_sessions::cookie::SameSite;
use tower_sessions::{Expiry, SessionManagerLayer};

#[tokio::test]
async fn a_session_that_is_not_used_sets_no_cookie_and_writes_nothing() {
    let (database, mut browser) = visit().await;
    assert!(browser.get("/").await.cookie.is_none());
    assert_eq!(browser.value("foo").await, "null");
    assert!(browser.cookie.is_none());
    assert_eq!(count(&database.connect().await).await, 0);
}

#[tokio::test]
async fn the_cookie_of_a_new_session_has_the_attributes_of_the_layer() {
    let (_database, mut browser) = visit().await;
    let cookie = browser.get("/set/foo/42").await.cookie.unwrap();
    assert_eq!(cookie.name(), "id");
    assert_eq!(cookie.value().len(), 22);
    assert_eq!(cookie.http_only(), Some(true));
    assert_eq!(cookie.secure(), Some(true));
    assert_eq!(cookie.same_site(), Some(SameSite::Strict));
    assert_eq!(cookie.path(), Some("/"));
    assert_eq!(cookie.max_age(), Some(Duration::hours(1)));
    assert_eq!(browser.value("foo").await, "42");
}

#[tokio::test]
async fn a_session_without_an_expiry_lasts_as_long_as_the_browser() {
    let database = Database::new().await;
    for expiry in [None, Some(Expiry::OnSessionEnd)] {
        let mut layer = SessionManagerLayer::new(sessions(&database));
        if let Some(expiry) = expiry {
            layer = layer.with_expiry(expiry);
        }
        let mut browser = Browser::of(routes().layer(layer));
        let cookie = browser.get("/set/foo/42").await.cookie.unwrap();
        assert_eq!((cookie.max_age(), cookie.expires()), (None, None));
        assert_eq!(browser.value("foo").await, "42");
    }
}

#[tokio::test]
async fn a_cookie_that_opens_no_session_is_replaced() {
    for forged in ["AAAAAAAAAAAAAAAAAAAAAA", "malformed", "", "%00"] {
        let (database, mut browser) = visit().await;
        browser.cookie = Some(forged.to_owned());
        assert_eq!(browser.value("foo").await, "null", "{forged}");
        browser.cookie = Some(forged.to_owned());
        assert_ne!(browser.set("foo", "42").await, forged);
        assert_eq!(browser.value("foo").await, "42");
        assert_eq!(count(&database.connect().await).await, 1);
    }
}

#[tokio::test]
async fn a_member_can_be_changed_and_removed() {
    let (_database, mut browser) = visit().await;
    let id = browser.set("foo", "42").await;
    browser.set("bar", "text").await;
    browser.set("foo", "43").await;
    assert_eq!(browser.value("foo").await, "43");
    browser.get("/remove/foo").await;
    assert_eq!(browser.value("foo").await, "null");
    browser.get("/remove/bar").await;
    assert_eq!(browser.value("bar").await, "null");
    // A session without members is still one.
    assert_eq!(browser.cookie, Some(id));
}

#[tokio::test]
async fn cycling_the_id_keeps_the_data_and_ends_the_old_id() {
    let (database, mut browser) = visit().await;
    let old = browser.set("foo", "42").await;
    let mut thief = browser.clone();
    assert_eq!(browser.get("/cycle").await.status, StatusCode::OK);
    assert_ne!(browser.cookie, Some(old));
    assert_eq!(browser.value("foo").await, "42");
    assert_eq!(thief.value("foo").await, "null");
    assert_eq!(count(&database.connect().await).await, 1);
}

#[tokio::test]
async fn flushing_removes_the_cookie_and_the_session() {
    let database = Database::new().await;
    let layer = an_hour(sessions(&database))
        .with_domain("example.org")
        .with_path("/get");
    let mut browser = Browser::of(routes().layer(layer));
    browser.set("foo", "42").await;
    let mut thief = browser.clone();
    let removed = browser.get("/flush").await.cookie.unwrap();
    assert_eq!(removed.value(), "");
    assert_eq!(removed.max_age(), Some(Duration::ZERO));
    assert_eq!(removed.domain(), Some("example.org"));
    assert_eq!(removed.path(), Some("/get"));
    assert_eq!(thief.value("foo").await, "null");
    assert_eq!(count(&database.connect().await).await, 0);
}

#[tokio::test]
async fn clearing_removes_all_members_and_keeps_the_session() {
    let (_database, mut browser) = visit().await;
    let id = browser.set("foo", "42").await;
    browser.get("/clear").await;
    assert_eq!(browser.value("foo").await, "null");
    assert_eq!(browser.cookie, Some(id));
}
