//! Tokens against forged requests.

use crate::common::{Browser, SESSION, Site};
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path};
use axum::http::{Request, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use qsessions_axum::{CsrfForm, CsrfHeader, CsrfToken, Error, Session};
use std::collections::HashMap;

const CSRF: &str = "__Host-csrf";

type Fields = CsrfForm<HashMap<String, String>>;

async fn login(session: Session, Path(user): Path<i64>) -> Result<(), Error> {
    session.login(user).await.map(drop)
}

fn app(site: &Site) -> Router {
    Router::new()
        .route("/token", get(async |csrf: CsrfToken| csrf.token()))
        .route("/field", get(async |csrf: CsrfToken| csrf.field()))
        .route("/form", post(async |form: Fields| form["a"].clone()))
        .route(
            "/json",
            post(async |_: CsrfHeader, Json(text): Json<String>| text),
        )
        .route(
            "/by-hand",
            post(async |csrf: CsrfToken, text: String| csrf.verify(&text).to_string()),
        )
        .route(
            "/cart",
            get(async |session: Session| session.insert("cart", 1)),
        )
        .route(
            "/login-and-token",
            get(async |csrf: CsrfToken, session: Session| {
                session.login(1).await?;
                Ok::<_, Error>(csrf.token())
            }),
        )
        .route("/login/{user}", get(login))
        .route(
            "/rotate",
            get(async |session: Session| session.rotate().await),
        )
        .layer(site.layer())
}

/// What the form answers to this token.
async fn submit(browser: &mut Browser, token: &str) -> StatusCode {
    let page = browser
        .post("/form", &format!("a=b&csrf_token={token}"))
        .await;
    assert_eq!(page.status == StatusCode::OK, page.text == "b");
    page.status
}

#[tokio::test]
async fn a_form_without_a_session_works_and_begins_none() {
    let site = Site::new().await;
    let mut browser = Browser::of(&app(&site));
    let page = browser.get("/token").await;
    let cookie = page.cookie(CSRF).unwrap();
    assert_eq!(
        (cookie.secure(), cookie.http_only()),
        (Some(true), Some(true))
    );
    assert_eq!((cookie.max_age(), cookie.path()), (None, Some("/")));
    assert_eq!(submit(&mut browser, &page.text).await, StatusCode::OK);
    assert_eq!((browser.cookie(SESSION), site.sessions().await), (None, 0));
    // The second page keeps the secret of the first one.
    assert_eq!(browser.get("/token").await.cookies().len(), 0);
    assert_eq!(submit(&mut browser, &page.text).await, StatusCode::OK);
}

#[tokio::test]
async fn a_token_of_another_browser_and_no_token_are_refused() {
    let site = Site::new().await;
    let app = app(&site);
    let mut attacker = Browser::of(&app);
    let theirs = attacker.get("/token").await.text;
    let mut signed_in = Browser::of(&app);
    signed_in.get("/login/1").await;
    let mut visitor = Browser::of(&app);
    visitor.get("/token").await;
    for mut victim in [Browser::of(&app), visitor, signed_in] {
        for token in [theirs.as_str(), "", "AAAA", &"A".repeat(43)] {
            assert_eq!(
                submit(&mut victim, token).await,
                StatusCode::FORBIDDEN,
                "{token}"
            );
        }
        let page = victim.post("/form", "a=b").await;
        assert_eq!(page.status, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn tokens_are_masked_and_all_of_them_are_right() {
    let site = Site::new().await;
    let mut browser = Browser::of(&app(&site));
    browser.get("/login/1").await;
    let one = browser.get("/token").await.text;
    let other = browser.get("/token").await.text;
    assert_ne!(one, other);
    for token in [one, other] {
        assert_eq!(submit(&mut browser, &token).await, StatusCode::OK);
        assert!(
            token
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        );
    }
    let field = browser.get("/field").await.text;
    assert!(
        field.starts_with(r#"<input type="hidden" name="csrf_token" value=""#),
        "{field}"
    );
}

#[tokio::test]
async fn a_token_ends_with_the_login_and_with_the_key() {
    let site = Site::new().await;
    let mut browser = Browser::of(&app(&site));
    let before = browser.get("/token").await.text;
    // The session begins after the form was shown, as in another tab.
    browser.get("/cart").await;
    assert_eq!(submit(&mut browser, &before).await, StatusCode::OK);
    let anonymous = browser.get("/token").await.text;
    assert_eq!(submit(&mut browser, &anonymous).await, StatusCode::OK);
    browser.get("/login/1").await;
    for token in [&before, &anonymous] {
        assert_eq!(submit(&mut browser, token).await, StatusCode::FORBIDDEN);
    }
    let of_user = browser.get("/token").await.text;
    assert_eq!(submit(&mut browser, &of_user).await, StatusCode::OK);
    browser.get("/rotate").await;
    assert_eq!(submit(&mut browser, &of_user).await, StatusCode::FORBIDDEN);
    // A page that is shown after the login has the new token.
    let new = browser.get("/login-and-token").await.text;
    assert_eq!(submit(&mut browser, &new).await, StatusCode::OK);
}

#[tokio::test]
async fn a_script_sends_the_token_as_a_header() {
    let site = Site::new().await;
    let mut browser = Browser::of(&app(&site));
    browser.get("/login/1").await;
    let token = browser.get("/token").await.text;
    let json = || Request::post("/json").header("content-type", "application/json");
    let text = || Body::from(r#""text""#);
    let page = browser.send(json(), text()).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    let page = browser
        .send(json().header("X-CSRF-Token", "AAAA"), text())
        .await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    let page = browser
        .send(json().header("X-CSRF-Token", &token), text())
        .await;
    assert_eq!((page.status, page.text.as_str()), (StatusCode::OK, "text"));
    let mut with_header = browser.clone().with("x-csrf-token", &token);
    assert_eq!(with_header.post("/form", "a=b").await.text, "b");
    // A wrong header is not made good by a field.
    let mut wrong = browser.clone().with("x-csrf-token", "AAAA");
    let page = wrong
        .post("/form", &format!("a=b&csrf_token={token}"))
        .await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    let by_hand = |text: &str| (Request::post("/by-hand"), Body::from(text.to_owned()));
    let (request, body) = by_hand(&token);
    assert_eq!(browser.send(request, body).await.text, "true");
    let (request, body) = by_hand("wrong");
    assert_eq!(browser.send(request, body).await.text, "false");
}

#[tokio::test]
async fn a_form_of_another_type_is_refused_after_its_token() {
    #[derive(Debug, serde::Deserialize)]
    struct Number {
        n: u32,
    }
    let site = Site::new().await;
    let app = Router::new()
        .route("/token", get(async |csrf: CsrfToken| csrf.token()))
        .route(
            "/form",
            post(async |form: CsrfForm<Number>| form.n.to_string()),
        )
        .layer(site.layer());
    let mut browser = Browser::of(&app);
    let token = browser.get("/token").await.text;
    let page = browser
        .post("/form", &format!("n=7&csrf_token={token}"))
        .await;
    assert_eq!(page.text, "7");
    let page = browser
        .post("/form", &format!("n=x&csrf_token={token}"))
        .await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    let page = browser.post("/form", "n=x").await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    let json = Request::post("/form").header("content-type", "application/json");
    let body = Body::from(format!("n=7&csrf_token={token}"));
    assert_eq!(browser.send(json, body).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_form_may_be_as_large_as_the_application_allows() {
    const LARGE: usize = 3_000_000;
    let site = Site::new().await;
    for (limit, status) in [
        (2 * LARGE, StatusCode::OK),
        (LARGE, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let app = app(&site).layer(DefaultBodyLimit::max(limit));
        let mut browser = Browser::of(&app);
        let token = browser.get("/token").await.text;
        let form = format!("a={}&csrf_token={token}", "b".repeat(LARGE));
        let page = browser.post("/form", &form).await;
        assert_eq!(page.status, status, "{limit}");
    }
}
