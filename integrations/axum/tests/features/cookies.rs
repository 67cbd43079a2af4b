//! What the cookie says, and that it says it for as long as the session lives.

use crate::common::{Browser, HOUR, SESSION, Site};
use axum::Router;
use axum::routing::get;
use cookie::{Cookie, SameSite as Attribute};
use qsessions::{Expiry, Key};
use qsessions_axum::{Error, SameSite, Session, SessionLayer, SessionLayerBuilder};
use std::time::{Duration, SystemTime};

async fn begin(session: Session) -> Result<(), Error> {
    session.insert("n", 1)
}

async fn remember(session: Session) -> Result<(), Error> {
    session.login(1).persistent(true).await.map(drop)
}

async fn forget(session: Session) -> Result<(), Error> {
    session.login(1).persistent(false).await.map(drop)
}

fn app(layer: SessionLayer) -> Router {
    Router::new()
        .route("/begin", get(begin))
        .route("/look", get(async |session: Session| drop(session)))
        .route("/remember", get(remember))
        .route("/forget", get(forget))
        .route(
            "/rotate",
            get(async |session: Session| session.rotate().await),
        )
        .route(
            "/shorten",
            get(async |session: Session| session.set_expiry(Expiry::ttl(HOUR)).await),
        )
        .route(
            "/logout",
            get(async |session: Session| session.logout().await),
        )
        .layer(layer)
}

async fn first_cookie(
    site: &Site,
    settings: impl FnOnce(SessionLayerBuilder) -> SessionLayerBuilder,
) -> Cookie<'static> {
    let app = app(site.layer_with(settings).unwrap());
    let page = Browser::of(&app).get("/begin").await;
    page.cookies().remove(0)
}

/// That the cookie lives as long as the session, to the seconds that the test may take.
async fn assert_in_step(site: &Site, browser: &Browser, cookie: &Cookie<'_>) {
    let end = site.session(browser).await.unwrap().expires_at.unwrap();
    let left = end.duration_since(SystemTime::now()).unwrap().as_secs();
    let age = u64::try_from(cookie.max_age().unwrap().whole_seconds()).unwrap();
    assert!((left..left + 60).contains(&age), "{age} of {left} seconds");
}

#[tokio::test]
async fn the_cookie_is_bound_to_the_host_unless_the_settings_say_otherwise() {
    let site = Site::new().await;
    let cookie = first_cookie(&site, |layer| layer).await;
    assert_eq!(cookie.name(), "__Host-session");
    assert_eq!(
        (cookie.secure(), cookie.http_only()),
        (Some(true), Some(true))
    );
    assert_eq!(cookie.same_site(), Some(Attribute::Lax));
    assert_eq!((cookie.path(), cookie.domain()), (Some("/"), None));
    let cookie = first_cookie(&site, |layer| {
        let layer = layer.cookie_path("/shop").cookie_domain("example.org");
        layer.same_site(SameSite::Strict).http_only(false)
    })
    .await;
    assert_eq!(cookie.name(), "session");
    assert_eq!((cookie.secure(), cookie.http_only()), (Some(true), None));
    assert_eq!(cookie.same_site(), Some(Attribute::Strict));
    assert_eq!(
        (cookie.path(), cookie.domain()),
        (Some("/shop"), Some("example.org"))
    );
    let cookie = first_cookie(&site, |layer| layer.secure(false)).await;
    assert_eq!((cookie.name(), cookie.secure()), ("session", None));
    let cookie = first_cookie(&site, |layer| layer.cookie_name("id")).await;
    assert_eq!(cookie.name(), "id");
}

#[tokio::test]
async fn settings_that_browsers_refuse_are_refused_when_the_layer_is_built() {
    type Settings = fn(SessionLayerBuilder) -> SessionLayerBuilder;
    let site = Site::new().await;
    let refused: [(Settings, &str); 14] = [
        (
            |layer| layer.cookie_name("__Host-id").secure(false),
            "prefix",
        ),
        (
            |layer| layer.cookie_name("__Host-id").cookie_path("/shop"),
            "prefix",
        ),
        (
            |layer| layer.cookie_name("__host-id").cookie_domain("example.org"),
            "prefix",
        ),
        (
            |layer| layer.cookie_name("__Secure-id").secure(false),
            "prefix",
        ),
        (
            |layer| layer.same_site(SameSite::None).secure(false),
            "SameSite=None",
        ),
        (|layer| layer.cookie_name(""), "name"),
        (|layer| layer.cookie_name("my session"), "name"),
        (|layer| layer.cookie_name("__Host-csrf"), "CSRF"),
        (|layer| layer.cookie_path("shop"), "path"),
        (|layer| layer.cookie_path("/;Domain=evil.example"), "path"),
        (|layer| layer.cookie_domain("a.example; Path=/"), "domain"),
        (|layer| layer.grace(Duration::from_secs(61)), "grace"),
        (|layer| layer.max_sessions(0), "session"),
        (
            |layer| layer.sign_in_page("https://evil.example"),
            "sign-in page",
        ),
    ];
    for (settings, word) in refused {
        let error = site.layer_with(settings).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    site.layer_with(|layer| layer.cookie_name("__Secure-id").cookie_path("/shop"))
        .unwrap();
}

#[tokio::test]
async fn a_persistent_cookie_lives_as_long_as_the_session() {
    let site = Site::new().await;
    let app = app(site.layer());
    let mut browser = Browser::of(&app);
    let page = browser.get("/begin").await;
    assert_in_step(&site, &browser, &page.cookie(SESSION).unwrap()).await;
    let page = browser.get("/shorten").await;
    let cookie = page.cookie(SESSION).unwrap();
    assert!(cookie.max_age().unwrap().whole_seconds() <= 3600);
    assert_in_step(&site, &browser, &cookie).await;
    let page = browser.get("/rotate").await;
    assert_in_step(&site, &browser, &page.cookie(SESSION).unwrap()).await;
    assert_eq!(browser.get("/look").await.cookies().len(), 0);
}

#[tokio::test]
async fn a_cookie_that_is_not_persistent_has_no_age_unless_the_login_remembers() {
    let site = Site::new().await;
    let app = app(site.layer_with(|layer| layer.persistent(false)).unwrap());
    let mut browser = Browser::of(&app);
    for (path, is_kept) in [
        ("/begin", false),
        ("/rotate", false),
        ("/remember", true),
        ("/rotate", true),
        ("/forget", false),
        ("/rotate", false),
    ] {
        let cookie = browser.get(path).await.cookie(SESSION).unwrap();
        assert_eq!(cookie.max_age().is_some(), is_kept, "{path}");
        assert_eq!(cookie.expires(), None);
    }
}

#[tokio::test]
async fn a_visit_that_moves_the_expiry_prolongs_the_cookie_once() {
    let site = Site::new().await;
    let sliding = Expiry::idle_timeout(HOUR);
    let app = app(site.layer_with(|layer| layer.expiry(sliding)).unwrap());
    let mut browser = Browser::of(&app);
    let page = browser.get("/begin").await;
    assert_in_step(&site, &browser, &page.cookie(SESSION).unwrap()).await;
    assert_eq!(browser.get("/look").await.cookies().len(), 0);
    let client = site.database.connect().await;
    // As if the last visit had been half an hour ago.
    let earlier = "UPDATE qsessions.session SET last_seen_at = last_seen_at - interval '30 min', \
                   expires_at = expires_at - interval '30 min'";
    for _ in 0..2 {
        client.execute(earlier, &[]).await.unwrap();
        let page = browser.get("/look").await;
        assert_in_step(&site, &browser, &page.cookie(SESSION).unwrap()).await;
        assert_eq!(browser.get("/look").await.cookies().len(), 0);
    }
}

#[tokio::test]
async fn a_former_key_is_not_set_again_over_the_new_one() {
    let site = Site::new().await;
    let settings = |layer: SessionLayerBuilder| {
        layer
            .expiry(Expiry::idle_timeout(HOUR))
            .grace(Duration::from_secs(60))
    };
    let app = app(site.layer_with(settings).unwrap());
    let mut browser = Browser::of(&app);
    browser.get("/begin").await;
    let mut other_tab = browser.clone();
    browser.get("/rotate").await;
    let client = site.database.connect().await;
    let earlier = "UPDATE qsessions.session SET last_seen_at = last_seen_at - interval '30 min'";
    client.execute(earlier, &[]).await.unwrap();
    // The visit is recorded, and moves the expiry.
    assert_eq!(other_tab.get("/look").await.cookies().len(), 0);
    assert!(site.session(&other_tab).await.is_some());
}

#[tokio::test]
async fn a_logout_removes_the_cookie_with_the_attributes_that_it_has() {
    let site = Site::new().await;
    let app = app(site.layer());
    let mut browser = Browser::of(&app);
    browser.get("/begin").await;
    let key = Key::from(browser.cookie(SESSION).unwrap());
    let cookie = browser.get("/logout").await.cookie(SESSION).unwrap();
    assert_eq!((cookie.value(), cookie.path()), ("", Some("/")));
    assert_eq!((cookie.secure(), cookie.domain()), (Some(true), None));
    assert_eq!(cookie.max_age().map(|age| age.whole_seconds()), Some(0));
    assert_eq!(browser.cookie(SESSION), None);
    assert!(!site.store.exists(&key).await.unwrap());
    assert_eq!(browser.get("/logout").await.cookies().len(), 0);
}

#[tokio::test]
async fn no_cache_that_visitors_share_keeps_a_response_with_a_cookie() {
    let site = Site::new().await;
    let own = |value: &'static str| {
        get(async move |session: Session| {
            begin(session).await?;
            Ok::<_, Error>([("cache-control", value), ("vary", "Accept, cookie")])
        })
    };
    let app = Router::new()
        .route("/begin", get(begin))
        .route("/no-store", own("no-cache, No-Store"))
        .route("/public", own("public, max-age=60"))
        .route("/field", own("private=\"x-name\", max-age=60"))
        .layer(site.layer());
    for (path, expected) in [
        ("/begin", &["private"][..]),
        ("/no-store", &["no-cache, No-Store"]),
        ("/public", &["public, max-age=60", "private"]),
        ("/field", &["private=\"x-name\", max-age=60", "private"]),
    ] {
        let page = Browser::of(&app).get(path).await;
        assert_eq!(page.cookies().len(), 1, "{path}");
        let caching: Vec<_> = page.headers.get_all("cache-control").iter().collect();
        assert_eq!(caching, expected, "{path}");
        assert_eq!(page.headers.get_all("vary").iter().count(), 1, "{path}");
    }
}
