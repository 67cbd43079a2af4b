//! Requests that run at the same time, and sessions that end meanwhile.

use crate::common::{Browser, Page, SESSION, Site};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::routing::get;
use qsessions::Key;
use qsessions_axum::{Error, Interrupted, Session, SessionLayer};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::Barrier;

/// Lets a test do something while a request runs.
type Meeting = Arc<Barrier>;

async fn slowly_set(
    State(meeting): State<Meeting>,
    session: Session,
    Path(member): Path<String>,
) -> Result<(), Error> {
    meeting.wait().await;
    session.insert(member, true)?;
    meeting.wait().await;
    Ok(())
}

async fn slowly_look(State(meeting): State<Meeting>, session: Session) -> String {
    meeting.wait().await;
    meeting.wait().await;
    format!("{:?}", session.user_id())
}

async fn slowly_rotate(State(meeting): State<Meeting>, session: Session) -> Result<(), Error> {
    meeting.wait().await;
    meeting.wait().await;
    session.rotate().await
}

async fn slowly_log_out(State(meeting): State<Meeting>, session: Session) -> Result<(), Error> {
    meeting.wait().await;
    meeting.wait().await;
    session.logout().await
}

async fn handles_it_itself(State(meeting): State<Meeting>, session: Session) -> &'static str {
    session.insert("n", 1).unwrap();
    meeting.wait().await;
    meeting.wait().await;
    match session.save().await {
        Err(Error::Interrupted) => "too late",
        _ => "saved",
    }
}

fn app(meeting: &Meeting, layer: SessionLayer) -> Router {
    Router::new()
        .route("/slowly-set/{member}", get(slowly_set))
        .route("/slowly-look", get(slowly_look))
        .route("/slowly-rotate", get(slowly_rotate))
        .route("/slowly-log-out", get(slowly_log_out))
        .route("/handles-it-itself", get(handles_it_itself))
        .route(
            "/login",
            get(async |session: Session| session.login(1).await.map(drop)),
        )
        .route(
            "/logout",
            get(async |session: Session| session.logout().await),
        )
        .route(
            "/rotate",
            get(async |session: Session| session.rotate().await),
        )
        .with_state(Arc::clone(meeting))
        .layer(layer)
}

/// Runs a request, and something else between its two meetings.
async fn during<F: Future>(
    browser: &Browser,
    path: &str,
    meeting: &Meeting,
    meanwhile: F,
) -> (Page, Browser) {
    let mut browser = browser.clone();
    let request = async {
        let page = browser.get(path).await;
        (page, browser)
    };
    let other = async {
        meeting.wait().await;
        meanwhile.await;
        meeting.wait().await;
    };
    tokio::join!(request, other).0
}

#[tokio::test]
async fn requests_at_the_same_time_keep_each_others_changes() {
    let site = Site::new().await;
    let meeting = Meeting::new(Barrier::new(2));
    let app = app(&meeting, site.layer());
    let mut browser = Browser::of(&app);
    browser.get("/login").await;
    let (mut one, mut other) = (browser.clone(), browser.clone());
    // Both have loaded the session before one of them saves.
    let (one, other) = tokio::join!(one.get("/slowly-set/one"), other.get("/slowly-set/other"));
    assert_eq!((one.status, other.status), (StatusCode::OK, StatusCode::OK));
    let session = site.session(&browser).await.unwrap();
    assert_eq!(session.data, json!({"one": true, "other": true}));
}

#[tokio::test]
async fn a_change_of_a_session_that_was_revoked_meanwhile_is_answered_clearly() {
    let site = Site::new().await;
    let meeting = Meeting::new(Barrier::new(2));
    let app = app(&meeting, site.layer());
    let mut browser = Browser::of(&app);
    browser.get("/login").await;
    let revoke = site.store.revoke_user_sessions(1).into_future();
    let (page, browser) = during(&browser, "/slowly-set/n", &meeting, revoke).await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    assert!(page.extensions.get::<Interrupted>().is_some());
    assert!(page.text.contains("sign in again"), "{}", page.text);
    assert_eq!((browser.cookie(SESSION), site.sessions().await), (None, 0));
}

#[tokio::test]
async fn a_request_that_changes_nothing_is_not_interrupted() {
    let site = Site::new().await;
    let meeting = Meeting::new(Barrier::new(2));
    let app = app(&meeting, site.layer());
    let mut browser = Browser::of(&app);
    browser.get("/login").await;
    let revoke = site.store.revoke_user_sessions(1).into_future();
    let (page, browser) = during(&browser, "/slowly-look", &meeting, revoke).await;
    assert_eq!(
        (page.status, page.text.as_str()),
        (StatusCode::OK, r#"Some("1")"#)
    );
    assert!(browser.cookie(SESSION).is_some());
}

#[tokio::test]
async fn the_application_can_answer_an_interruption_in_its_own_way() {
    let site = Site::new().await;
    let meeting = Meeting::new(Barrier::new(2));
    let layer = site.layer_with(|layer| layer.when_interrupted(|| Redirect::to("/sign-in")));
    let app = app(&meeting, layer.unwrap());
    let mut browser = Browser::of(&app);
    for (path, status, location, text) in [
        ("/slowly-set/n", StatusCode::SEE_OTHER, Some("/sign-in"), ""),
        (
            "/slowly-rotate",
            StatusCode::UNAUTHORIZED,
            None,
            "Your session has ended. Please sign in again.",
        ),
        ("/handles-it-itself", StatusCode::OK, None, "too late"),
    ] {
        browser.get("/login").await;
        let mut other_tab = browser.clone();
        let logout = other_tab.get("/logout");
        let (page, after) = during(&browser, path, &meeting, logout).await;
        assert_eq!(
            (page.status, page.header("location")),
            (status, location),
            "{path}"
        );
        assert_eq!(
            (page.text.as_str(), after.cookie(SESSION)),
            (text, None),
            "{path}"
        );
        browser = after;
    }
}

#[tokio::test]
async fn a_late_request_does_not_remove_the_cookie_that_another_one_has_set() {
    let site = Site::new().await;
    let meeting = Meeting::new(Barrier::new(2));
    let app = app(&meeting, site.layer());
    for path in ["/slowly-set/n", "/slowly-rotate"] {
        let mut browser = Browser::of(&app);
        browser.get("/login").await;
        let mut other_tab = browser.clone();
        let rotate = other_tab.get("/rotate");
        let (page, _) = during(&browser, path, &meeting, rotate).await;
        assert_eq!(
            (page.status, page.cookies().len()),
            (StatusCode::UNAUTHORIZED, 0)
        );
        let key = Key::from(other_tab.cookie(SESSION).unwrap());
        assert_eq!(
            site.store.load(&key).await.unwrap().unwrap().data,
            json!({})
        );
    }
}

#[tokio::test]
async fn a_logout_ends_the_session_although_another_request_has_just_rotated_its_key() {
    let site = Site::new().await;
    let meeting = Meeting::new(Barrier::new(2));
    let app = app(&meeting, site.layer());
    let mut browser = Browser::of(&app);
    browser.get("/login").await;
    let mut other_tab = browser.clone();
    let rotate = other_tab.get("/rotate");
    let (page, after) = during(&browser, "/slowly-log-out", &meeting, rotate).await;
    assert_eq!((page.status, after.cookie(SESSION)), (StatusCode::OK, None));
    assert_eq!(site.sessions().await, 0);
}
