//! Requests of one browser at the same time.

use super::{Browser, Gate, an_hour, routes, sessions, store, visitors};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Extension, Router};
use qsessions::Key;
use qsessions_testkit::Database;
use serde_json::json;
use std::sync::Arc;
use tower_sessions::{Session, SessionStore as _};

fn app(database: &Database, gate: &Gate) -> Router {
    routes()
        .layer(Extension(gate.clone()))
        .layer(an_hour(sessions(database)))
}

/// Two requests that have loaded the session before either of them saves it.
async fn both(browser: &Browser, gate: &Gate, paths: [&'static str; 2]) {
    let requests = paths.map(|path| {
        let mut browser = browser.clone();
        tokio::spawn(async move { browser.get(path).await })
    });
    gate.wait_for(2).await;
    gate.let_through(2);
    for request in requests {
        assert_eq!(request.await.unwrap().status, StatusCode::OK);
    }
}

#[tokio::test]
async fn requests_keep_the_members_that_others_set() {
    let (database, gate) = (Database::new().await, Gate::new());
    let mut browser = Browser::of(app(&database, &gate).layer(visitors()));
    browser.set("foo", "1").await;
    both(&browser, &gate, ["/set-held/bar/2", "/set-held/baz/3"]).await;
    for (name, value) in [("foo", "1"), ("bar", "2"), ("baz", "3")] {
        assert_eq!(browser.value(name).await, value);
    }
}

#[tokio::test]
async fn a_member_that_one_request_removes_is_not_brought_back_by_another() {
    let (database, gate) = (Database::new().await, Gate::new());
    let mut browser = Browser::of(app(&database, &gate).layer(visitors()));
    browser.set("foo", "1").await;
    let mut held = browser.clone();
    let held = tokio::spawn(async move { held.get("/set-held/bar/2").await });
    gate.wait_for(1).await;
    browser.get("/remove/foo").await;
    gate.let_through(1);
    assert_eq!(held.await.unwrap().status, StatusCode::OK);
    assert_eq!(browser.value("foo").await, "null");
    assert_eq!(browser.value("bar").await, "2");
}

#[tokio::test]
async fn without_the_layer_the_last_save_replaces_all_data() {
    let (database, gate) = (Database::new().await, Gate::new());
    let mut browser = Browser::of(app(&database, &gate));
    browser.set("foo", "1").await;
    let mut held = browser.clone();
    let held = tokio::spawn(async move { held.get("/set-held/bar/2").await });
    gate.wait_for(1).await;
    browser.set("baz", "3").await;
    gate.let_through(1);
    assert_eq!(held.await.unwrap().status, StatusCode::OK);
    assert_eq!(browser.value("bar").await, "2");
    assert_eq!(browser.value("baz").await, "null");
}

#[tokio::test]
async fn a_request_that_saves_several_times_keeps_what_others_save_in_between() {
    let (database, gate) = (Database::new().await, Gate::new());
    let saves = get(async |session: Session, gate: Extension<Gate>| {
        for name in ["first", "second", "third"] {
            session.insert(name, 1).await.unwrap();
            gate.pass().await;
            session.save().await.unwrap();
        }
    });
    let app = routes()
        .route("/saves", saves)
        .layer(Extension(gate.clone()))
        .layer(an_hour(sessions(&database)))
        .layer(visitors());
    let mut browser = Browser::of(app);
    browser.set("foo", "1").await;
    let mut held = browser.clone();
    let held = tokio::spawn(async move { held.get("/saves").await });
    for others in [Some("bar"), None, Some("baz")] {
        gate.wait_for(1).await;
        if let Some(name) = others {
            browser.set(name, "3").await;
        }
        gate.let_through(1);
    }
    assert_eq!(held.await.unwrap().status, StatusCode::OK);
    for name in ["foo", "first", "second", "third", "bar", "baz"] {
        assert_ne!(browser.value(name).await, "null", "{name}");
    }
}

#[tokio::test]
async fn many_requests_that_set_members_all_take_effect() {
    let database = Database::new().await;
    let app = routes()
        .layer(an_hour(sessions(&database)))
        .layer(visitors());
    let mut browser = Browser::of(app);
    let key = Key::from(browser.set("foo", "1").await);
    let requests: Vec<_> = (0..20)
        .map(|n| {
            let mut browser = browser.clone();
            tokio::spawn(async move { browser.set(&format!("n{n}"), "1").await })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), key.expose());
    }
    let session = store(&database).load(&key).await.unwrap().unwrap();
    assert_eq!(session.data.as_object().unwrap().len(), 21);
}

#[tokio::test]
async fn one_request_sees_its_changes_in_all_copies_of_the_session() {
    let database = Database::new().await;
    let sessions = Arc::new(sessions(&database));
    let session = Session::new(None, Arc::clone(&sessions), None);
    let changes = (0..10).map(|n| {
        let session = session.clone();
        tokio::spawn(async move { session.insert(&n.to_string(), n).await.unwrap() })
    });
    for change in changes.collect::<Vec<_>>() {
        change.await.unwrap();
    }
    session.save().await.unwrap();
    let record = sessions.load(&session.id().unwrap()).await.unwrap();
    assert_eq!(record.unwrap().data.len(), 10);
}

#[tokio::test]
async fn tasks_that_a_handler_spawns_can_use_the_session() {
    let database = Database::new().await;
    let spawned = get(async |session: Session| {
        let task = tokio::spawn(async move {
            session.insert("spawned", json!(1)).await.unwrap();
            session.save().await.unwrap();
        });
        task.await.unwrap();
    });
    let app = routes().route("/spawned", spawned);
    let app = app.layer(an_hour(sessions(&database))).layer(visitors());
    let mut browser = Browser::of(app);
    assert_eq!(browser.get("/spawned").await.status, StatusCode::OK);
    assert_eq!(browser.value("spawned").await, "1");
}
