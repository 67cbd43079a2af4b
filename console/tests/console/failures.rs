use crate::common::{Browser, Console, pool};
use axum::http::StatusCode;
use qsessions_console::Options;
use qsessions_testkit::{Database, PgBouncer, Server, StopMode, Users};
use std::time::Duration;

const PATHS: [&str; 5] = [
    "/",
    "/sessions",
    "/health",
    "/session/01a20998-5a0d-78e1-a9ba-3102bb8fadab",
    "/user?id=1",
];

#[tokio::test]
async fn a_database_without_the_extension_or_the_table_says_how_to_get_them() {
    let database = Database::with(Users::Nothing).await;
    let browser = Browser::new(qsessions_console::router(
        pool(database.config()),
        Options::new(),
    ));
    for path in PATHS {
        let page = browser.get(path).await;
        assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        page.has("The session table is missing")
            .has("create_session_table");
    }
    let admin = database.connect().await;
    admin
        .batch_execute("DROP EXTENSION qsessions")
        .await
        .unwrap();
    for path in PATHS {
        let page = browser.get(path).await;
        assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        page.has("The extension is missing")
            .has("CREATE EXTENSION qsessions;");
    }
}

#[tokio::test]
async fn a_server_that_is_gone_and_back_is_a_page_and_then_none() {
    let mut server = Server::builder().start().await.unwrap();
    let admin = server.connect("postgres").await.unwrap();
    admin
        .batch_execute("CREATE EXTENSION qsessions; SELECT qsessions.create_session_table()")
        .await
        .unwrap();
    let browser = Browser::new(qsessions_console::router(
        pool(server.config("postgres")),
        Options::new(),
    ));
    assert_eq!(browser.get("/sessions").await.status, StatusCode::OK);
    server.stop(StopMode::Fast).unwrap();
    for path in PATHS {
        let page = browser.get(path).await;
        assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        page.has("<h1>The database").has("The server reports:");
    }
    server.start().await.unwrap();
    for path in ["/", "/sessions", "/health"] {
        assert_eq!(browser.get(path).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_cancelled_and_the_page_says_so() {
    let console = Console::with(Options::new().statement_timeout(Duration::from_millis(200))).await;
    let mut blocker = console.database.connect().await;
    let transaction = blocker.transaction().await.unwrap();
    transaction
        .batch_execute("LOCK TABLE qsessions.session")
        .await
        .unwrap();
    for path in ["/", "/sessions?device=firefox", "/end?user=1", "/health"] {
        let page = console.get(path).await;
        assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        page.has("<h1>The ");
    }
    transaction.rollback().await.unwrap();
    // The connections of the console are as good as before.
    for _ in 0..8 {
        assert_eq!(console.get("/sessions").await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_session_that_is_locked_is_not_waited_for_without_end() {
    let console = Console::with(Options::new().statement_timeout(Duration::from_millis(200))).await;
    let (_, id) = console.begin("1").await;
    let token = console.get(&format!("/session/{id}")).await.field("csrf");
    let mut blocker = console.database.connect().await;
    let transaction = blocker.transaction().await.unwrap();
    transaction
        .execute("SELECT FROM qsessions.session FOR UPDATE", &[])
        .await
        .unwrap();
    let page = console
        .browser
        .post(&format!("/session/{id}/end"), &[("csrf", &token)])
        .await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    page.has("The sessions are locked");
    transaction.rollback().await.unwrap();
    assert_eq!(console.sessions().await, 1);
    let ended = console
        .browser
        .post(&format!("/session/{id}/end"), &[("csrf", &token)])
        .await;
    assert_eq!(ended.location(), "../../ended?count=1");
}

#[tokio::test]
async fn a_standby_is_shown_and_ends_nothing() {
    let primary = Server::builder().start().await.unwrap();
    let admin = primary.connect("postgres").await.unwrap();
    admin
        .batch_execute("CREATE EXTENSION qsessions; SELECT qsessions.create_session_table()")
        .await
        .unwrap();
    admin
        .execute("SELECT qsessions.create_session('ada')", &[])
        .await
        .unwrap();
    let standby = Server::builder().start_standby_of(&primary).await.unwrap();
    let browser = Browser::new(qsessions_console::router(
        pool(standby.config("postgres")),
        Options::new(),
    ));
    let page = browser.get("/sessions?user=ada").await;
    assert_eq!(page.ids().len(), 1);
    page.has_not("End all of these");
    let session = browser.get(&format!("/session/{}", page.ids()[0])).await;
    session.has("This role or server cannot end sessions.");
    browser.get("/health").await.has("This server is a standby");
    assert_eq!(browser.get("/").await.status, StatusCode::OK);
    let page = browser.get("/end?user=ada").await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    page.has("connect the console to the primary");
}

#[tokio::test]
async fn the_console_works_behind_a_pooler_in_transaction_mode() {
    let console = Console::new().await;
    let server = console.database.server();
    let pgbouncer = PgBouncer::in_front_of(server, 2).await.unwrap();
    let pool = pool(pgbouncer.config(console.database.name()));
    let browser = Browser::new(qsessions_console::router(pool, Options::new()));
    let (_, id) = console.begin("1").await;
    // Connections to the server are shared, and have seen each other's statements.
    for _ in 0..3 {
        for path in [
            "/",
            "/sessions?user=1",
            "/health",
            "/user?id=1",
            "/end?user=1",
        ] {
            assert_eq!(browser.get(path).await.status, StatusCode::OK, "{path}");
        }
    }
    let path = format!("/session/{id}");
    let token = browser.get(&path).await.field("csrf");
    let ended = browser
        .post(&format!("{path}/end"), &[("csrf", &token)])
        .await;
    assert_eq!(ended.location(), "../../ended?count=1");
}
