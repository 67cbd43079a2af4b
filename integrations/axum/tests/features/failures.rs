//! Handlers that fail, panic, or find the database gone.

use crate::common::{Browser, SESSION, Site, pool};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use futures_util::FutureExt;
use qsessions::Store;
use qsessions_axum::{Error, Session, SessionLayer};
use serde_json::json;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::sync::Notify;

async fn change(session: &Session) -> Result<(), Error> {
    session.insert("n", 1)
}

async fn fail(session: Session) -> Result<StatusCode, Error> {
    change(&session).await?;
    Ok(StatusCode::BAD_GATEWAY)
}

async fn refuse(session: Session) -> Result<StatusCode, Error> {
    change(&session).await?;
    Ok(StatusCode::UNPROCESSABLE_ENTITY)
}

async fn login_and_fail(session: Session) -> Result<StatusCode, Error> {
    session.login(1).await?;
    fail(session).await
}

async fn rotate_and_fail(session: Session) -> Result<StatusCode, Error> {
    session.rotate().await?;
    fail(session).await
}

async fn rotate_and_panic(session: Session) {
    session.rotate().await.unwrap();
    change(&session).await.unwrap();
    panic!("the handler panics");
}

async fn panics(session: Session) {
    change(&session).await.unwrap();
    panic!("the handler panics");
}

fn app(layer: SessionLayer) -> Router {
    Router::new()
        .route(
            "/login",
            get(async |session: Session| session.login(1).await.map(drop)),
        )
        .route("/fail", get(fail))
        .route("/refuse", get(refuse))
        .route("/login-and-fail", get(login_and_fail))
        .route("/rotate-and-fail", get(rotate_and_fail))
        .route("/rotate-and-panic", get(rotate_and_panic))
        .route("/panics", get(panics))
        .route(
            "/too-large",
            get(async |session: Session| session.insert("n", "x".repeat(2_000_000))),
        )
        .layer(layer)
}

#[tokio::test]
async fn a_server_error_saves_nothing_unless_asked() {
    let site = Site::new().await;
    let mut browser = Browser::of(&app(site.layer()));
    let page = browser.get("/fail").await;
    assert_eq!(
        (page.status, page.cookies().len()),
        (StatusCode::BAD_GATEWAY, 0)
    );
    assert_eq!(site.sessions().await, 0);
    browser.get("/refuse").await;
    assert_eq!(site.session(&browser).await.unwrap().data, json!({"n": 1}));
    let layer = site.layer_with(|layer| layer.save_on_server_errors(true));
    let mut browser = Browser::of(&app(layer.unwrap()));
    let page = browser.get("/fail").await;
    assert_eq!(
        (page.status, page.cookies().len()),
        (StatusCode::BAD_GATEWAY, 1)
    );
    assert_eq!(site.session(&browser).await.unwrap().data, json!({"n": 1}));
}

#[tokio::test]
async fn a_new_key_reaches_the_browser_although_the_handler_fails() {
    let site = Site::new().await;
    let mut browser = Browser::of(&app(site.layer()));
    for path in ["/login-and-fail", "/rotate-and-fail"] {
        let page = browser.get(path).await;
        assert_eq!(
            (page.status, page.cookies().len()),
            (StatusCode::BAD_GATEWAY, 1),
            "{path}"
        );
        let session = site.session(&browser).await.unwrap();
        assert_eq!(
            (session.user_id.as_deref(), &session.data),
            (Some("1"), &json!({}))
        );
    }
}

#[tokio::test]
async fn a_panic_saves_nothing_and_loses_no_key() {
    let site = Site::new().await;
    for saves in [false, true] {
        let layer = site.layer_with(|layer| layer.save_on_server_errors(saves));
        let mut browser = Browser::of(&app(layer.unwrap()));
        browser.get("/login").await;
        let before = browser.cookie(SESSION).unwrap().to_owned();
        let page = browser.get("/rotate-and-panic").await;
        assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_ne!(browser.cookie(SESSION), Some(before.as_str()));
        assert_eq!(site.session(&browser).await.unwrap().data, json!({}));
        let panic = AssertUnwindSafe(browser.get("/panics"))
            .catch_unwind()
            .await;
        let panic = panic.unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"the handler panics"));
        assert_eq!(site.session(&browser).await.unwrap().data, json!({}));
    }
}

#[tokio::test]
async fn a_session_that_cannot_be_saved_is_an_error_and_not_a_success() {
    let site = Site::new().await;
    let mut browser = Browser::of(&app(site.layer()));
    let page = browser.get("/too-large").await;
    assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!page.text.contains("max_data_bytes"), "{}", page.text);
    browser.get("/login").await;
    let closing = pool(&site.database.config(), 1);
    let layer = SessionLayer::new(Store::new(closing.clone()));
    let close = closing.clone();
    let app = Router::new()
        .route(
            "/change",
            get(async move |session: Session| {
                close.close();
                change(&session).await
            }),
        )
        .layer(layer);
    let mut same = Browser::of(&app);
    same.set_cookie(SESSION, browser.cookie(SESSION).unwrap());
    let page = same.get("/change").await;
    assert_eq!(
        (page.status, page.cookies().len()),
        (StatusCode::SERVICE_UNAVAILABLE, 0)
    );
}

#[tokio::test]
async fn a_rotation_that_a_timeout_gives_up_still_sets_its_cookie() {
    let site = Site::new().await;
    let give_up = Arc::new(Notify::new());
    let timeout = Arc::clone(&give_up);
    let rotate = async move |session: Session| {
        tokio::select! {
            _ = session.rotate() => StatusCode::OK,
            () = timeout.notified() => StatusCode::GATEWAY_TIMEOUT,
        }
    };
    let app = Router::new()
        .route("/rotate", get(rotate))
        .route(
            "/login",
            get(async |session: Session| session.login(1).await.map(drop)),
        )
        .layer(site.layer());
    let mut browser = Browser::of(&app);
    browser.get("/login").await;
    let before = browser.cookie(SESSION).unwrap().to_owned();
    let mut client = site.database.connect().await;
    let locked = client.transaction().await.unwrap();
    let lock = "SELECT FROM qsessions.session FOR UPDATE";
    locked.execute(lock, &[]).await.unwrap();
    let request = browser.get("/rotate");
    let meanwhile = async {
        let waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid IN \
                     (SELECT pid FROM pg_stat_activity WHERE datname = current_database()))";
        while !locked
            .query_one(waits, &[])
            .await
            .unwrap()
            .get::<_, bool>(0)
        {
            tokio::task::yield_now().await;
        }
        give_up.notify_one();
        locked.commit().await.unwrap();
    };
    let (page, ()) = tokio::join!(request, meanwhile);
    assert_eq!(page.status, StatusCode::GATEWAY_TIMEOUT);
    assert_ne!(browser.cookie(SESSION), Some(before.as_str()));
    assert!(site.session(&browser).await.is_some());
}
