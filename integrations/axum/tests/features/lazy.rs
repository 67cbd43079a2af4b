//! A request costs what its handler asks for.

use crate::common::{Browser, SESSION, Site, pool};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use qsessions_axum::{Error, Session};
use serde_json::json;

async fn count(session: Session) -> Result<String, Error> {
    let visits = session.get("visits")?.unwrap_or(0_u64) + 1;
    session.insert("visits", visits)?;
    Ok(visits.to_string())
}

async fn look(session: Session) -> String {
    format!("{:?}", session.names())
}

fn app(site: &Site) -> Router {
    Router::new()
        .route("/count", get(count))
        .route("/look", get(look))
        .route(
            "/twice",
            get(async |_: Session, session: Session| look(session).await),
        )
        .route("/static", get("text"))
        .layer(site.layer())
}

#[tokio::test]
async fn a_session_begins_when_something_is_put_into_it() {
    let site = Site::new().await;
    let mut browser = Browser::of(&app(&site));
    let page = browser.get("/look").await;
    assert_eq!((page.text.as_str(), page.cookies().len()), ("{}", 0));
    assert_eq!(page.header("vary"), Some("Cookie"));
    assert_eq!(site.sessions().await, 0);
    for visit in ["1", "2", "3"] {
        assert_eq!(browser.get("/count").await.text, visit);
    }
    assert_eq!(site.sessions().await, 1);
    let session = site.session(&browser).await.unwrap();
    assert_eq!((&session.data, session.version), (&json!({"visits": 3}), 3));
    assert_eq!(browser.get("/look").await.text, r#"{"visits"}"#);
    assert_eq!(site.session(&browser).await.unwrap().version, 3);
}

#[tokio::test]
async fn a_handler_that_does_not_ask_costs_no_query_and_depends_on_no_cookie() {
    let site = Site::new().await;
    // A pool that is closed fails each query.
    let closed = pool(&site.database.config(), 1);
    closed.close();
    let layer = qsessions_axum::SessionLayer::new(qsessions::Store::new(closed));
    let app = Router::new()
        .route("/static", get("text"))
        .route("/look", get(look))
        .layer(layer);
    let mut browser = Browser::of(&app);
    browser.set_cookie(SESSION, &"k".repeat(48));
    let page = browser.get("/static").await;
    assert_eq!((page.status, page.header("vary")), (StatusCode::OK, None));
    assert_eq!(page.cookies().len(), 0);
    assert_eq!(
        browser.get("/look").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test]
async fn a_request_resumes_its_session_at_most_once_and_saves_it_at_most_once() {
    let site = Site::counting().await;
    let mut browser = Browser::of(&app(&site));
    let mut resumed = 0;
    for (path, resumes) in [
        ("/look", 0),
        ("/count", 0),
        ("/static", 0),
        ("/look", 1),
        ("/twice", 1),
        ("/count", 1),
    ] {
        browser.get(path).await;
        resumed += resumes;
        assert_eq!(site.calls("resume_session").await, resumed, "{path}");
    }
    assert_eq!(site.calls("create_session").await, 1);
    assert_eq!(site.calls("patch_session").await, 1);
}

#[tokio::test]
async fn a_cookie_that_opens_nothing_is_left_alone_and_never_becomes_a_key() {
    let site = Site::new().await;
    let mut browser = Browser::of(&app(&site));
    for planted in ["a key that was planted", "short", &"k".repeat(600)] {
        browser.set_cookie(SESSION, planted);
        let page = browser.get("/look").await;
        assert_eq!((page.status, page.cookies().len()), (StatusCode::OK, 0));
        browser.get("/count").await;
        assert_ne!(browser.cookie(SESSION), Some(planted));
        assert!(site.session(&browser).await.is_some());
    }
}

#[tokio::test]
async fn members_are_typed_and_what_stays_the_same_is_not_written() {
    let site = Site::new().await;
    async fn change(session: Session) -> Result<String, Error> {
        session.insert("cart", vec![7, 8])?;
        session.insert("theme", "dark")?;
        let cart: Option<Vec<u32>> = session.get("cart")?;
        let wrong = session.get::<u32>("theme");
        assert!(matches!(wrong, Err(Error::Data(_))), "{wrong:?}");
        Ok(format!("{cart:?}"))
    }
    async fn same(session: Session) -> Result<(), Error> {
        session.insert("theme", "light")?;
        session.insert("theme", "dark")?;
        assert_eq!(session.remove("nothing"), None);
        Ok(())
    }
    async fn remove(session: Session) -> Result<(), Error> {
        assert_eq!(session.remove("cart"), Some(json!([7, 8])));
        assert!(!session.is_empty());
        Ok(())
    }
    let app = Router::new()
        .route("/change", get(change))
        .route("/same", get(same))
        .route("/remove", get(remove))
        .route("/clear", get(async |session: Session| session.clear()))
        .layer(site.layer());
    let mut browser = Browser::of(&app);
    assert_eq!(browser.get("/change").await.text, "Some([7, 8])");
    assert_eq!(site.session(&browser).await.unwrap().version, 1);
    browser.get("/same").await;
    assert_eq!(site.session(&browser).await.unwrap().version, 1);
    browser.get("/remove").await;
    assert_eq!(
        site.session(&browser).await.unwrap().data,
        json!({"theme": "dark"})
    );
    browser.get("/clear").await;
    let session = site.session(&browser).await.unwrap();
    assert_eq!((&session.data, session.version), (&json!({}), 3));
}

#[tokio::test]
async fn without_a_layer_the_extractor_is_a_clear_error() {
    let app = Router::new().route("/look", get(look));
    let page = Browser::of(&app).get("/look").await;
    assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR);
}
