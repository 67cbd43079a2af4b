//! What a session keeps of the visitor: address, browser, client hints.

use crate::common::{Browser, SESSION, Site};
use axum::Router;
use axum::extract::connect_info::MockConnectInfo;
use axum::response::Html;
use axum::routing::get;
use qsessions::Key;
use qsessions_axum::{ClientAddress, Session, SessionLayer};
use serde_json::{Value, json};
use std::net::SocketAddr;

fn app(layer: SessionLayer) -> Router {
    let peer = SocketAddr::from(([10, 0, 0, 7], 4711));
    Router::new()
        .route(
            "/begin",
            get(async |session: Session| session.insert("n", 1)),
        )
        .route(
            "/login",
            get(async |session: Session| session.login(1).await.map(drop)),
        )
        .route("/look", get(async |session: Session| drop(session)))
        .route("/page", get(async |_: Session| Html("<p>page")))
        .route("/bare", get(async || Html("<p>page")))
        .route("/address", get(async |ClientAddress(ip)| format!("{ip:?}")))
        .layer(layer)
        .layer(MockConnectInfo(peer))
}

async fn kept(site: &Site, browser: &Browser) -> (Option<String>, Option<String>, Option<Value>) {
    let client = site.database.connect().await;
    let id = Key::from(browser.cookie(SESSION).unwrap()).id().unwrap();
    let sql = "SELECT host(ip), user_agent, client_hints FROM qsessions.session WHERE id = $1";
    let row = client.query_one(sql, &[&id]).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

#[tokio::test]
async fn a_session_keeps_address_browser_and_client_hints_of_each_kind_of_visit() {
    let site = Site::new().await;
    let app = app(site.layer());
    for path in ["/begin", "/login"] {
        let mut browser = Browser::of(&app)
            .with("user-agent", "one")
            .with("sec-ch-ua-model", "\"A\"");
        browser.get(path).await;
        let hints = json!({"sec-ch-ua-model": "\"A\""});
        let expected = (Some("10.0.0.7".into()), Some("one".into()), Some(hints));
        assert_eq!(kept(&site, &browser).await, expected, "{path}");
        let mut browser = browser
            .with("user-agent", "two")
            .with("sec-ch-ua-model", "\"B\"");
        browser.get("/look").await;
        let hints = json!({"sec-ch-ua-model": "\"B\""});
        let expected = (Some("10.0.0.7".into()), Some("two".into()), Some(hints));
        assert_eq!(kept(&site, &browser).await, expected, "{path}");
    }
}

#[tokio::test]
async fn a_forged_address_changes_nothing_and_a_trusted_proxy_tells_it() {
    let site = Site::new().await;
    let direct = app(site.layer());
    let networks = ["10.0.0.0/8".parse().unwrap()];
    let behind = app(site
        .layer_with(|layer| layer.trusted_proxies(networks))
        .unwrap());
    for (app, seen) in [(direct, "10.0.0.7"), (behind, "192.0.2.1")] {
        let mut browser = Browser::of(&app).with("x-forwarded-for", "203.0.113.9, 192.0.2.1");
        browser.get("/begin").await;
        assert_eq!(kept(&site, &browser).await.0.as_deref(), Some(seen));
        let page = browser.get("/address").await;
        assert_eq!(page.text, format!("Some({seen})"));
        assert_eq!(page.header("vary"), None);
    }
}

#[tokio::test]
async fn without_the_address_of_the_connection_there_is_none() {
    let site = Site::new().await;
    let app = Router::new()
        .route(
            "/begin",
            get(async |session: Session| session.insert("n", 1)),
        )
        .layer(site.layer());
    let mut browser = Browser::of(&app).with("x-forwarded-for", "192.0.2.1");
    browser.get("/begin").await;
    assert_eq!(kept(&site, &browser).await, (None, None, None));
}

#[tokio::test]
async fn pages_with_a_session_ask_for_client_hints() {
    let site = Site::new().await;
    let app_that_asks = app(site.layer());
    let hints = |page: &crate::common::Page| page.header("accept-ch").map(str::to_owned);
    let mut browser = Browser::of(&app_that_asks);
    let asked = hints(&browser.get("/page").await).unwrap();
    assert!(asked.contains("Sec-CH-UA-Model"), "{asked}");
    for path in ["/bare", "/look"] {
        assert_eq!(hints(&browser.get(path).await), None, "{path}");
    }
    let layer = site.layer_with(|layer| layer.ask_for_client_hints(false));
    let page = Browser::of(&app(layer.unwrap())).get("/page").await;
    assert_eq!(hints(&page), None);
}

#[tokio::test]
async fn a_server_on_a_real_socket_tells_the_address() {
    let site = Site::new().await;
    let app = Router::new()
        .route(
            "/begin",
            get(async |session: Session| session.insert("n", 1)),
        )
        .layer(site.layer());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    let server = tokio::spawn(async move { axum::serve(listener, service).await });
    let answer = crate::common::http(
        address,
        "GET /begin HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    server.abort();
    let cookie = answer
        .split("session=")
        .nth(1)
        .unwrap()
        .split(';')
        .next()
        .unwrap();
    let session = site.store.load(&Key::from(cookie)).await.unwrap().unwrap();
    assert_eq!(
        session.ip.map(|ip| ip.to_string()).as_deref(),
        Some("127.0.0.1")
    );
}
