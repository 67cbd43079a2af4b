//! Login, rotation and logout.

use crate::common::{Browser, SESSION, Site};
use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use qsessions_axum::{Error, LoggedIn, Session, SessionLayer};
use serde_json::json;
use std::time::Duration;

async fn fill(session: Session, Path(item): Path<String>) -> Result<(), Error> {
    session.insert("cart", item)
}

async fn login(session: Session, Path(user): Path<i64>) -> Result<String, Error> {
    let login: LoggedIn = session.login(user).await?;
    assert_eq!(session.id(), Some(login.id));
    Ok(format!("{:?} {:?}", session.user_id(), session.names()))
}

async fn fill_and_login(session: Session, Path(user): Path<i64>) -> Result<String, Error> {
    session.insert("cart", "pen")?;
    let told = login(session.clone(), Path(user)).await?;
    session.insert("seen", true)?;
    Ok(told)
}

async fn who(session: Session) -> String {
    let record = session.record().map(|record| record.user_id.clone());
    format!("{:?} {record:?}", session.user_id())
}

fn app(layer: SessionLayer) -> Router {
    Router::new()
        .route("/fill/{item}", get(fill))
        .route("/login/{user}", get(login))
        .route("/fill-and-login/{user}", get(fill_and_login))
        .route("/who", get(who))
        .route(
            "/rotate",
            get(async |session: Session| session.rotate().await),
        )
        .route(
            "/logout-and-say-so",
            get(async |session: Session| {
                session.insert("lost", true)?;
                session.logout().await?;
                assert_eq!((session.id(), session.user_id()), (None, None));
                session.insert("flash", "You are signed out.")
            }),
        )
        .layer(layer)
}

#[tokio::test]
async fn a_login_keeps_what_the_visitor_has_gathered_under_a_new_key() {
    let site = Site::new().await;
    let app = app(site.layer());
    let mut browser = Browser::of(&app);
    browser.get("/fill/book").await;
    let before = browser.clone();
    let anonymous = site.session(&before).await.unwrap();
    let page = browser.get("/login/1").await;
    assert_eq!(page.text, r#"Some("1") {"cart"}"#);
    let session = site.session(&browser).await.unwrap();
    assert_eq!(
        (session.id, &session.data),
        (anonymous.id, &json!({"cart": "book"}))
    );
    assert!(
        site.session(&before).await.is_none(),
        "the key from before the login is worthless"
    );
    assert_eq!(
        browser.get("/who").await.text,
        r#"Some("1") Some(Some("1"))"#
    );
}

#[tokio::test]
async fn a_login_saves_what_its_own_request_has_changed() {
    let site = Site::new().await;
    let app = app(site.layer());
    let mut new = Browser::of(&app);
    assert_eq!(
        new.get("/fill-and-login/1").await.text,
        r#"Some("1") {"cart"}"#
    );
    let expected = json!({"cart": "pen", "seen": true});
    assert_eq!(site.session(&new).await.unwrap().data, expected);
    let mut known = Browser::of(&app);
    known.get("/fill/book").await;
    known.get("/fill-and-login/2").await;
    assert_eq!(site.session(&known).await.unwrap().data, expected);
    assert_eq!(site.sessions().await, 2);
}

#[tokio::test]
async fn the_data_of_one_user_never_reaches_another() {
    let site = Site::new().await;
    let app = app(site.layer());
    let mut browser = Browser::of(&app);
    browser.get("/login/1").await;
    browser.get("/fill/book").await;
    let of_the_first = browser.clone();
    // The cart that this request changes is still that of the first user.
    let page = browser.get("/fill-and-login/2").await;
    assert_eq!(page.text, r#"Some("2") {}"#);
    let session = site.session(&browser).await.unwrap();
    assert_eq!(session.user_id.as_deref(), Some("2"));
    assert_eq!(session.data, json!({"seen": true}));
    assert!(site.session(&of_the_first).await.is_none());
    browser.get("/fill/pen").await;
    browser.get("/login/2").await;
    let again = site.session(&browser).await.unwrap();
    assert_eq!((again.id, &again.data["cart"]), (session.id, &json!("pen")));
}

#[tokio::test]
async fn the_layer_limits_the_sessions_of_a_user() {
    let site = Site::new().await;
    let app = app(site.layer_with(|layer| layer.max_sessions(2)).unwrap());
    let mut browsers = Vec::new();
    for _ in 0..3 {
        let mut browser = Browser::of(&app);
        browser.get("/login/1").await;
        browsers.push(browser);
    }
    assert_eq!(site.sessions().await, 2);
    assert!(site.session(&browsers[0]).await.is_none());
}

#[tokio::test]
async fn a_rotation_changes_the_key_and_nothing_else() {
    let site = Site::new().await;
    let app = app(site.layer());
    let mut browser = Browser::of(&app);
    assert_eq!(browser.get("/rotate").await.cookies().len(), 0);
    browser.get("/fill/book").await;
    let before = browser.clone();
    let session = site.session(&browser).await.unwrap();
    assert_eq!(browser.get("/rotate").await.status, StatusCode::OK);
    assert_ne!(browser.cookie(SESSION), before.cookie(SESSION));
    let after = site.session(&browser).await.unwrap();
    assert_eq!((after.id, &after.data), (session.id, &session.data));
    assert!(site.session(&before).await.is_none());
}

#[tokio::test]
async fn in_the_grace_a_former_key_goes_on_and_sets_no_cookie() {
    let site = Site::new().await;
    let grace = Duration::from_secs(60);
    let app = app(site.layer_with(|layer| layer.grace(grace)).unwrap());
    let mut browser = Browser::of(&app);
    browser.get("/fill/book").await;
    let mut other_tab = browser.clone();
    browser.get("/rotate").await;
    let page = other_tab.get("/rotate").await;
    assert_eq!((page.status, page.cookies().len()), (StatusCode::OK, 0));
    other_tab.get("/fill/pen").await;
    assert_eq!(
        site.session(&browser).await.unwrap().data,
        json!({"cart": "pen"})
    );
    // A login ends the grace.
    browser.get("/login/1").await;
    assert!(site.session(&other_tab).await.is_none());
    // But a login under a former key is a login too.
    let mut former = browser.clone();
    browser.get("/rotate").await;
    former.get("/login/1").await;
    assert!(site.session(&former).await.is_some());
}

#[tokio::test]
async fn after_a_logout_the_same_request_can_begin_a_new_session() {
    let site = Site::new().await;
    let app = app(site.layer());
    let mut browser = Browser::of(&app);
    browser.get("/login/1").await;
    let former = site.session(&browser).await.unwrap();
    let page = browser.get("/logout-and-say-so").await;
    assert_eq!(page.cookies().len(), 1);
    let session = site.session(&browser).await.unwrap();
    assert_eq!(session.data, json!({"flash": "You are signed out."}));
    assert_eq!(session.user_id, None);
    assert_ne!(session.id, former.id);
    assert_eq!(site.sessions().await, 1);
}

#[tokio::test]
async fn an_unknown_user_is_an_error_and_leaves_the_session_as_it_was() {
    let site = Site::new().await;
    let app = app(site.layer());
    let mut browser = Browser::of(&app);
    let page = browser.get("/fill-and-login/77").await;
    assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!((page.cookies().len(), site.sessions().await), (0, 0));
    browser.get("/fill/book").await;
    browser.get("/login/77").await;
    assert_eq!(
        site.session(&browser).await.unwrap().data,
        json!({"cart": "book"})
    );
}
