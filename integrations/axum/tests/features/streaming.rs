//! What happens after the head of the response is sent.

use crate::common::{Browser, SESSION, Site, http};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::WebSocketUpgrade;
use axum::response::Response;
use axum::routing::{any, get};
use futures_util::stream;
use qsessions::Expiry;
use qsessions_axum::{Error, Session};
use serde_json::json;
use std::convert::Infallible;
use std::time::Duration;

/// A response whose body runs this, and shows what it has returned.
fn body<F>(later: F) -> Body
where
    F: Future<Output = String> + Send + 'static,
{
    let later = async { Ok::<_, Infallible>(Bytes::from(later.await)) };
    Body::from_stream(stream::once(later))
}

async fn change_later(session: Session) -> Result<Body, Error> {
    session.insert("head", true)?;
    Ok(body(async move {
        session.insert("body", true).unwrap();
        String::new()
    }))
}

async fn save_later(session: Session) -> Body {
    body(async move {
        session.insert("body", true).unwrap();
        format!("{:?}", session.save().await)
    })
}

async fn change_the_key_later(session: Session) -> Body {
    body(async move {
        let expiry = Expiry::ttl(Duration::from_secs(60));
        let results = [
            session.login(2).await.map(drop),
            session.rotate().await,
            session.set_expiry(expiry).await,
        ];
        format!("{results:?}")
    })
}

async fn log_out_later(session: Session) -> Body {
    body(async move { format!("{:?}", session.logout().await) })
}

fn app(site: &Site) -> Router {
    Router::new()
        .route(
            "/login",
            get(async |session: Session| session.login(1).await.map(drop)),
        )
        .route("/change-later", get(change_later))
        .route("/save-later", get(save_later))
        .route("/change-the-key-later", get(change_the_key_later))
        .route("/log-out-later", get(log_out_later))
        .layer(site.layer())
}

#[tokio::test]
async fn a_body_that_streams_saves_its_changes_itself() {
    let site = Site::new().await;
    let mut browser = Browser::of(&app(&site));
    browser.get("/login").await;
    browser.get("/change-later").await;
    assert_eq!(
        site.session(&browser).await.unwrap().data,
        json!({"head": true})
    );
    assert_eq!(browser.get("/save-later").await.text, "Ok(())");
    let saved = json!({"head": true, "body": true});
    assert_eq!(site.session(&browser).await.unwrap().data, saved);
}

#[tokio::test]
async fn no_session_begins_and_no_key_changes_when_it_is_too_late_for_a_cookie() {
    let site = Site::new().await;
    let mut browser = Browser::of(&app(&site));
    assert_eq!(browser.get("/save-later").await.text, "Err(HeadSent)");
    assert_eq!(site.sessions().await, 0);
    browser.get("/login").await;
    let before = site.session(&browser).await;
    let page = browser.get("/change-the-key-later").await;
    assert_eq!(page.text, "[Err(HeadSent), Err(HeadSent), Err(HeadSent)]");
    assert_eq!(site.session(&browser).await, before);
}

#[tokio::test]
async fn a_logout_is_never_too_late() {
    let site = Site::new().await;
    let mut browser = Browser::of(&app(&site));
    browser.get("/login").await;
    assert_eq!(browser.get("/log-out-later").await.text, "Ok(())");
    assert!(browser.cookie(SESSION).is_some());
    assert!(site.session(&browser).await.is_none());
}

#[tokio::test]
async fn a_websocket_saves_its_changes_itself() {
    async fn on_socket(session: Session, upgrade: WebSocketUpgrade) -> Response {
        upgrade.on_upgrade(async move |mut socket| {
            session.insert("socket", true).unwrap();
            let saved = format!("{:?}", session.save().await);
            socket.send(saved.into()).await.unwrap();
        })
    }
    let site = Site::new().await;
    let app = Router::new()
        .route("/socket", any(on_socket))
        .merge(self::app(&site));
    let mut browser = Browser::of(&app);
    browser.get("/login").await;
    let app = app.layer(site.layer());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let answer = http(
        address,
        &format!(
            "GET /socket HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             cookie: {SESSION}={}\r\n\r\n",
            browser.cookie(SESSION).unwrap()
        ),
    )
    .await;
    server.abort();
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(answer.contains("Ok(())"), "{answer}");
    assert_eq!(
        site.session(&browser).await.unwrap().data,
        json!({"socket": true})
    );
}
