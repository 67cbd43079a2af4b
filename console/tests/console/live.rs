use crate::common::{Browser, Console, pool};
use axum::body::{Body, HttpBody};
use axum::http::{Request, StatusCode, header};
use qsessions_console::Options;
use qsessions_testkit::Server;
use std::pin::Pin;
use std::time::Duration;
use tower::ServiceExt;

/// The next event of a stream.
async fn next(body: &mut Body) -> serde_json::Value {
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
        let data = frame.await.unwrap().unwrap().into_data().unwrap();
        let text = String::from_utf8(data.to_vec()).unwrap();
        if let Some(data) = text.strip_prefix("data: ") {
            return serde_json::from_str(data).unwrap();
        }
    }
}

async fn stream(browser: &Browser) -> Body {
    let request = Request::get("/live")
        .header(header::HOST, "localhost")
        .body(Body::empty());
    let response = browser
        .router
        .clone()
        .oneshot(request.unwrap())
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "text/event-stream"
    );
    response.into_body()
}

#[tokio::test]
async fn the_numbers_are_sent_when_they_change() {
    let console = Console::with(Options::new().live_interval(Duration::from_millis(100))).await;
    let mut one = stream(&console.browser).await;
    let mut other = stream(&console.browser).await;
    assert_eq!(next(&mut one).await["active"], 0);
    console.begin("1").await;
    let live = next(&mut one).await;
    assert_eq!((&live["active"], &live["users"]), (&1.into(), &1.into()));
    assert_eq!(live["counters"], serde_json::Value::Null);
    // Each stream has all changes, or the last of them.
    while next(&mut other).await["active"] != 1 {}
}

#[tokio::test]
async fn counters_are_sent_if_the_library_is_preloaded() {
    let server = Server::builder()
        .setting("shared_preload_libraries", "pg_cron,qsessions")
        .start()
        .await
        .unwrap();
    let admin = server.connect("postgres").await.unwrap();
    admin
        .batch_execute("CREATE EXTENSION qsessions; SELECT qsessions.create_session_table()")
        .await
        .unwrap();
    admin
        .execute("SELECT qsessions.login(NULL, 'ada')", &[])
        .await
        .unwrap();
    let options = Options::new().live_interval(Duration::from_millis(100));
    let browser = Browser::new(qsessions_console::router(
        pool(server.config("postgres")),
        options,
    ));
    let live = next(&mut stream(&browser).await).await;
    assert_eq!(live["counters"]["logins"], 1);
    browser
        .get("/")
        .await
        .has("data-live=\"counters.logins\">1</dd>");
    browser
        .get("/health")
        .await
        .has("a background process notifies");
}

#[tokio::test]
async fn the_script_and_the_style_are_served() {
    let console = Console::new().await;
    for (path, kind) in [
        ("/assets/live.js", "text/javascript"),
        ("/assets/console.css", "text/css"),
        ("/assets/icon.svg", "image/svg+xml"),
    ] {
        let page = console.get(path).await;
        assert_eq!(page.status, StatusCode::OK);
        let found = page.headers[header::CONTENT_TYPE].to_str().unwrap();
        assert!(found.starts_with(kind), "{found}");
    }
    console
        .get("/")
        .await
        .has("<script src=\"./assets/live.js\" defer></script>");
}
