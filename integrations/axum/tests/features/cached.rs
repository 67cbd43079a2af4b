//! The layer with a store that keeps sessions in memory.

use crate::common::{Browser, Site, pool};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use qsessions::{CachedStore, Store};
use qsessions_axum::{Error, Session, SessionLayer};
use tokio_postgres::NoTls;

async fn cached(site: &Site) -> CachedStore {
    let mut config = site.database.config();
    config.options("-c lock_timeout=10s");
    let store = Store::builder(pool(&config, 4)).cached(config, NoTls);
    let store = store.build().unwrap();
    store.ready().await.unwrap();
    store
}

async fn count(session: Session) -> Result<String, Error> {
    let visits = session.get("visits")?.unwrap_or(0_u64) + 1;
    session.insert("visits", visits)?;
    Ok(visits.to_string())
}

async fn look(session: Session) -> Result<String, Error> {
    let visits: Option<u64> = session.get("visits")?;
    Ok(format!("{:?} {visits:?}", session.user_id()))
}

fn app(layer: SessionLayer) -> Router {
    Router::new()
        .route("/count", get(count))
        .route("/look", get(look))
        .route(
            "/login",
            get(async |session: Session| session.login(1).await.map(drop)),
        )
        .route(
            "/rotate",
            get(async |session: Session| session.rotate().await),
        )
        .route(
            "/logout",
            get(async |session: Session| session.logout().await),
        )
        .layer(layer)
}

#[tokio::test]
async fn a_request_sees_all_that_earlier_requests_have_done() {
    let site = Site::new().await;
    let app = app(SessionLayer::new(cached(&site).await));
    let mut browser = Browser::of(&app);
    for (path, answer) in [
        ("/count", "1"),
        ("/look", "None Some(1)"),
        ("/count", "2"),
        ("/look", "None Some(2)"),
        ("/login", ""),
        ("/look", r#"Some("1") Some(2)"#),
        ("/rotate", ""),
        ("/look", r#"Some("1") Some(2)"#),
        ("/logout", ""),
        ("/look", "None None"),
    ] {
        let page = browser.get(path).await;
        assert_eq!(
            (page.status, page.text.as_str()),
            (StatusCode::OK, answer),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_session_in_memory_costs_no_query_and_a_revocation_elsewhere_ends_it() {
    let site = Site::new().await;
    let store = cached(&site).await;
    let app = app(SessionLayer::new(store.clone()));
    let mut browser = Browser::of(&app);
    browser.get("/login").await;
    browser.get("/look").await;
    let mut client = site.database.connect().await;
    // A query on the table would wait for this lock, and fail.
    let lock = client.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE qsessions.session")
        .await
        .unwrap();
    assert_eq!(browser.get("/look").await.text, r#"Some("1") None"#);
    lock.commit().await.unwrap();
    site.store.revoke_user_sessions(1).await.unwrap();
    store.catch_up().await;
    assert_eq!(browser.get("/look").await.text, "None None");
}
