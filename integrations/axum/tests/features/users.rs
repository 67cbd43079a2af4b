//! Who is signed in, and what visitors get who are not.

use crate::common::{Browser, Site};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use qsessions_axum::{CurrentUser, RequireLogin, Session, SessionLayer};

fn app(layer: SessionLayer) -> Router {
    let inner = Router::new()
        .route("/orders", get("your orders").post("ordered"))
        .route_layer(RequireLogin);
    Router::new()
        .nest("/shop", inner)
        .route(
            "/mine",
            get(async |user: CurrentUser<i64>| format!("user {}", *user)),
        )
        .route("/mine", post(async |CurrentUser(id): CurrentUser| id))
        .route(
            "/perhaps",
            get(async |user: Option<CurrentUser<i64>>| format!("{user:?}")),
        )
        .route(
            "/wrong",
            get(async |user: Option<CurrentUser<std::net::IpAddr>>| format!("{user:?}")),
        )
        .route(
            "/login",
            get(async |session: Session| session.login(7).await.map(drop)),
        )
        .layer(layer)
}

#[tokio::test]
async fn a_visitor_who_is_not_signed_in_is_sent_to_the_sign_in_page_and_back() {
    let site = Site::new().await;
    let app = app(site
        .layer_with(|layer| layer.sign_in_page("/sign-in"))
        .unwrap());
    let mut browser = Browser::of(&app);
    for path in ["/shop/orders", "/mine"] {
        let page = browser.get(&format!("{path}?page=2&a=%26")).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER);
        let path = path.replace('/', "%2F");
        let expected = format!("/sign-in?next={path}%3Fpage%3D2%26a%3D%2526");
        assert_eq!(page.header("location"), Some(expected.as_str()));
        assert_eq!(page.header("vary"), Some("Cookie"));
    }
    // A form cannot be sent again from there.
    for path in ["/shop/orders", "/mine"] {
        let page = browser.post(path, "").await;
        assert_eq!(page.header("location"), Some("/sign-in"));
    }
    browser.get("/login").await;
    assert_eq!(browser.get("/shop/orders").await.text, "your orders");
    assert_eq!(browser.get("/mine").await.text, "user 7");
    assert_eq!(browser.post("/mine", "").await.text, "7");
}

#[tokio::test]
async fn a_script_and_a_site_without_a_sign_in_page_get_401() {
    let site = Site::new().await;
    let with_page = app(site
        .layer_with(|layer| layer.sign_in_page("/sign-in"))
        .unwrap());
    let script = Browser::of(&with_page).with("accept", "application/json, */*");
    let visitor = Browser::of(&app(site.layer()));
    for mut browser in [script, visitor] {
        for path in ["/shop/orders", "/mine"] {
            let page = browser.get(path).await;
            assert_eq!(
                (page.status, page.header("location")),
                (StatusCode::UNAUTHORIZED, None)
            );
        }
    }
}

#[tokio::test]
async fn a_path_that_leads_elsewhere_is_not_brought_along() {
    let site = Site::new().await;
    let app = Router::new()
        .fallback("anything")
        .layer(RequireLogin)
        .layer(
            site.layer_with(|layer| layer.sign_in_page("/sign-in"))
                .unwrap(),
        );
    for path in ["//evil.example/", "/%2fevil.example", "/%5Cevil.example"] {
        let page = Browser::of(&app).get(path).await;
        assert_eq!(page.header("location"), Some("/sign-in"), "{path}");
    }
}

#[tokio::test]
async fn an_optional_user_is_none_for_visitors_and_an_error_for_another_type() {
    let site = Site::new().await;
    let mut browser = Browser::of(&app(site.layer()));
    assert_eq!(browser.get("/perhaps").await.text, "None");
    browser.get("/login").await;
    assert_eq!(browser.get("/perhaps").await.text, "Some(CurrentUser(7))");
    let page = browser.get("/wrong").await;
    assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR);
}
