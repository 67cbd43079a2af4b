//! A session that has ended stays dead, also for requests that are under way.

use super::{Browser, Gate, an_hour, count, routes, sessions, store, visit, visitors};
use axum::Extension;
use axum::http::StatusCode;
use qsessions::{CacheConfig, CachedStore, Key, Store};
use qsessions_testkit::Database;
use qsessions_tower_sessions::QsessionsStore;
use serde_json::json;
use time::{Duration, OffsetDateTime};
use tokio_postgres::NoTls;
use tower_sessions::SessionStore as _;
use tower_sessions::session::{Id, Record};

/// Revokes the session of a browser while a request of it is under way.
async fn revoked_during_a_request(with_layer: bool) {
    let database = Database::new().await;
    let gate = Gate::new();
    let app = routes()
        .layer(Extension(gate.clone()))
        .layer(an_hour(sessions(&database)));
    let mut browser = Browser::of(match with_layer {
        true => app.layer(visitors()),
        false => app,
    });
    let key = Key::from(browser.set("foo", "42").await);
    let mut same = browser.clone();
    let held = tokio::spawn(async move { same.get("/set-held/foo/43").await });
    gate.wait_for(1).await;
    let id = key.id().unwrap();
    assert!(store(&database).revoke(id).await.unwrap());
    gate.let_through(1);
    let reply = held.await.unwrap();
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(reply.cookie.is_none());
    assert_eq!(count(&database.connect().await).await, 0);
    // The next request begins again.
    assert_eq!(browser.value("foo").await, "null");
    assert_ne!(browser.set("foo", "44").await, key.expose());
}

#[tokio::test]
async fn a_request_under_way_does_not_bring_back_a_revoked_session() {
    revoked_during_a_request(true).await;
}

#[tokio::test]
async fn nor_does_it_without_the_layer() {
    revoked_during_a_request(false).await;
}

#[tokio::test]
async fn saving_a_session_that_does_not_exist_is_an_error() {
    let database = Database::new().await;
    let sessions = sessions(&database);
    let record = Record {
        id: Id::default(),
        data: [("foo".to_owned(), json!(42))].into(),
        expiry_date: OffsetDateTime::now_utc() + Duration::hours(1),
    };
    let error = sessions.save(&record).await.unwrap_err();
    let message = "session not found: it has ended or never existed";
    assert_eq!(error.to_string(), message);
    assert_eq!(count(&database.connect().await).await, 0);
}

#[tokio::test]
async fn clearing_a_session_that_has_ended_does_not_begin_one_with_its_id() {
    let (database, mut browser) = visit().await;
    let id = browser.set("foo", "42").await;
    browser.get("/flush").await;
    browser.cookie = Some(id);
    let reply = browser.get("/clear").await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(count(&database.connect().await).await, 0);
}

async fn cached(database: &Database) -> CachedStore {
    let pool = super::pool(&database.config());
    let config = CacheConfig::new().max_staleness(std::time::Duration::from_secs(300));
    let builder = Store::builder(pool)
        .cached(database.config(), NoTls)
        .config(config);
    let store = builder.build().unwrap();
    store.ready().await.unwrap();
    store
}

/// Changes all sessions without telling caches.
async fn change_silently(database: &Database, set: &str) {
    let sql = format!(
        "BEGIN; ALTER TABLE qsessions.session DISABLE TRIGGER ALL;
         UPDATE qsessions.session SET {set};
         ALTER TABLE qsessions.session ENABLE TRIGGER ALL; COMMIT"
    );
    database.connect().await.batch_execute(&sql).await.unwrap();
}

#[tokio::test]
async fn a_store_with_a_cache_knows_of_sessions_that_others_end() {
    let database = Database::new().await;
    let store = cached(&database).await;
    let layer = an_hour(QsessionsStore::new(store.clone()));
    let mut browser = Browser::of(routes().layer(layer).layer(visitors()));
    let key = Key::from(browser.set("foo", "42").await);
    assert_eq!(browser.value("foo").await, "42");
    // The cache does not hear of it, so it answers as before.
    change_silently(&database, "data = '{}'").await;
    assert_eq!(browser.value("foo").await, "42");
    let id = key.id().unwrap();
    assert!(super::store(&database).revoke(id).await.unwrap());
    store.catch_up().await;
    assert_eq!(browser.value("foo").await, "null");
}

#[tokio::test]
async fn an_old_state_in_the_cache_does_not_undo_what_others_have_saved() {
    let database = Database::new().await;
    let layer = an_hour(QsessionsStore::new(cached(&database).await));
    let mut browser = Browser::of(routes().layer(layer).layer(visitors()));
    browser.set("foo", "1").await;
    assert_eq!(browser.value("foo").await, "1");
    let save = r#"version = version + 1, data = '{"theirs": 2}'"#;
    change_silently(&database, save).await;
    assert_eq!(browser.value("theirs").await, "null");
    browser.set("bar", "3").await;
    for (name, value) in [("foo", "null"), ("theirs", "2"), ("bar", "3")] {
        assert_eq!(browser.value(name).await, value);
    }
}

#[tokio::test]
async fn a_store_with_a_cache_reads_what_it_has_saved_itself() {
    let database = Database::new().await;
    let layer = an_hour(QsessionsStore::new(cached(&database).await));
    let mut browser = Browser::of(routes().layer(layer).layer(visitors()));
    for value in ["1", "2", "3"] {
        browser.set("foo", value).await;
        assert_eq!(browser.value("foo").await, value);
    }
    let mut old = browser.clone();
    browser.get("/cycle").await;
    assert_eq!(browser.value("foo").await, "3");
    assert_eq!(old.value("foo").await, "null");
    browser.get("/flush").await;
    assert_eq!(browser.value("foo").await, "null");
}

#[tokio::test]
async fn deleting_the_user_ends_the_sessions() {
    let (database, mut browser) = visit().await;
    browser.set("user", "1").await;
    let client = database.connect().await;
    client
        .execute("DELETE FROM users WHERE id = 1", &[])
        .await
        .unwrap();
    assert_eq!(browser.value("user").await, "null");
}

#[tokio::test]
async fn logging_out_everywhere_else_keeps_one_browser() {
    let (database, mut browser) = visit().await;
    let mut other = browser.clone();
    let key = Key::from(browser.set("user", "1").await);
    other.set("user", "1").await;
    let store = store(&database);
    assert_eq!(store.revoke_user_sessions(1).except(&key).await.unwrap(), 1);
    assert_eq!(browser.value("user").await, "1");
    assert_eq!(other.value("user").await, "null");
}
