//! Sessions of users: lists, logins, and what is refused.

use super::{Browser, an_hour, one, routes, store, visit, visitors};
use axum::http::StatusCode;
use qsessions::Key;
use qsessions_testkit::{Database, Users};
use qsessions_tower_sessions::{QsessionsStore, axum_login_user};
use serde_json::json;

#[tokio::test]
async fn a_session_is_in_the_list_of_its_user() {
    let (database, mut browser) = visit().await;
    let store = store(&database);
    browser.set("foo", "42").await;
    assert_eq!(store.user_sessions(1).await.unwrap(), []);
    browser.get("/cycle").await;
    let key = Key::from(browser.set("user", "1").await);
    let listed = store.user_sessions(1).current(&key).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(Some(listed[0].id), key.id());
    assert!(listed[0].is_current);
    assert!(listed[0].authenticated_at.is_some());
}

#[tokio::test]
async fn a_new_session_can_be_a_users_from_the_beginning() {
    let (database, mut browser) = visit().await;
    browser.set("user", "1").await;
    browser.set("foo", "42").await;
    let listed = store(&database).user_sessions(1).await.unwrap();
    assert_eq!(listed.len(), 1);
}

#[tokio::test]
async fn a_session_is_not_given_to_another_user_under_the_same_id() {
    let (database, mut browser) = visit().await;
    let store = store(&database);
    let old = browser.set("user", "1").await;
    let reply = browser.get("/set/user/2").await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(browser.value("user").await, "1");
    assert_eq!(store.user_sessions(2).await.unwrap(), []);
    for step in ["/cycle", "/flush"] {
        // Cycled without the former user, whose session it would be otherwise.
        browser.get("/remove/user").await;
        browser.get(step).await;
        assert_ne!(browser.set("user", "2").await, old);
        assert_eq!(store.user_sessions(2).await.unwrap().len(), 1);
        assert_eq!(store.user_sessions(1).await.unwrap(), []);
        store.revoke_user_sessions(2).await.unwrap();
        browser.set("user", "1").await;
    }
}

#[tokio::test]
async fn with_the_layer_too_a_session_is_not_given_to_another_user() {
    let (database, mut browser) = visit().await;
    browser.app = browser.app.layer(visitors());
    browser.set("foo", "1").await;
    browser.set("user", "1").await;
    browser.set("foo", "2").await;
    let listed = store(&database).user_sessions(1).await.unwrap();
    assert_eq!(listed.len(), 1);
    let reply = browser.get("/set/user/2").await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(browser.value("user").await, "1");
}

#[tokio::test]
async fn a_session_stays_its_users_when_the_data_forgets_the_user() {
    let (database, mut browser) = visit().await;
    browser.set("user", "1").await;
    browser.get("/remove/user").await;
    assert_eq!(store(&database).revoke_user_sessions(1).await.unwrap(), 1);
    browser.set("foo", "1").await;
    assert_eq!(browser.value("user").await, "null");
}

#[tokio::test]
async fn a_user_who_does_not_exist_gets_no_session() {
    let (database, mut browser) = visit().await;
    let reply = browser.get("/set/user/77").await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(reply.cookie.is_none());
    let client = database.connect().await;
    let sessions: i64 = one(&client, "SELECT count(*) FROM qsessions.session").await;
    assert_eq!(sessions, 0);
}

#[tokio::test]
async fn user_ids_can_be_texts() {
    let database = Database::with(Users::Keyed("text", &["ada", "7"])).await;
    let store = store(&database);
    let sessions =
        QsessionsStore::new(store.clone()).user_id(|data| Some(data.get("who")?.as_str()?.into()));
    let mut browser = Browser::of(routes().layer(an_hour(sessions)));
    browser.set("who", "ada").await;
    assert_eq!(store.user_sessions("ada").await.unwrap().len(), 1);
}

#[test]
fn the_user_of_axum_login_is_an_integer_or_a_text() {
    let user = |login| {
        let data = [("login".to_owned(), login)].into();
        axum_login_user(&data, "login")
    };
    let of = |id| user(json!({ "user_id": id, "auth_hash": [1] }));
    assert_eq!(of(json!(42)), Some(42.into()));
    assert_eq!(of(json!(-1)), Some((-1).into()));
    assert_eq!(of(json!(u64::MAX)), Some(u64::MAX.into()));
    assert_eq!(of(json!("ada")), Some("ada".into()));
    for none in [json!(null), json!({ "$oid": "1" }), json!([1]), json!(true)] {
        assert_eq!(of(none), None);
    }
    for none in [json!(null), json!({}), json!([]), json!("user_id")] {
        assert_eq!(user(none), None);
    }
    let data = [("login".to_owned(), json!({ "user_id": 1 }))].into();
    assert_eq!(axum_login_user(&data, "other"), None);
}
