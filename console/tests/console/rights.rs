//! Roles with other privileges than the console needs.

use crate::common::{Browser, Console, grants, pool};
use axum::http::StatusCode;
use qsessions_console::Options;

/// A browser on a console that connects as this role.
fn browser(console: &Console, role: &str) -> Browser {
    let pool = pool(console.database.config().user(role).clone());
    Browser::new(qsessions_console::router(pool, Options::new()))
}

#[tokio::test]
async fn the_role_can_do_no_more_than_the_console_needs() {
    let console = Console::new().await;
    console.begin("1").await;
    let client = console.database.connect_as(&console.role).await;
    for sql in [
        "INSERT INTO qsessions.session (id, digest, expires_at) VALUES (gen_random_uuid(), '', now())",
        "UPDATE qsessions.session SET user_id = 2",
        "UPDATE qsessions.session SET digest = ''",
        "TRUNCATE qsessions.session",
        "DELETE FROM qsessions.session_event",
        "UPDATE qsessions.session_event SET user_id = NULL",
        "SELECT * FROM users",
        "SELECT qsessions.create_session('1')",
        "SELECT qsessions.login(NULL, 1)",
        "SELECT qsessions.schedule_purge()",
        "SELECT qsessions.geoip_reload()",
    ] {
        let error = client.batch_execute(sql).await.expect_err(sql);
        assert_eq!(error.code().map(|code| code.code()), Some("42501"), "{sql}");
    }
}

#[tokio::test]
async fn a_role_that_may_only_read_sees_no_buttons_and_ends_nothing() {
    let console = Console::new().await;
    let (_, id) = console.begin("1").await;
    let reader = format!("reader_{}", console.database.name());
    let all = grants(&reader);
    let read = all.replace("SELECT, DELETE, UPDATE (last_seen_at)", "SELECT");
    assert_ne!(all, read);
    console.admin.batch_execute(&read).await.unwrap();
    let browser = browser(&console, &reader);
    let page = browser.get(&format!("/session/{id}")).await;
    page.has("This role or server cannot end sessions.")
        .has_not("<button");
    browser
        .get("/sessions?user=1")
        .await
        .has_not("End all of these");
    let page = browser.get("/user?id=1").await;
    assert_eq!(page.ids(), [id]);
    page.has_not("<button");
    let page = browser.get("/end?user=1").await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    page.has("GRANT DELETE, UPDATE (last_seen_at) ON qsessions.session");

    // A form of another console has the right token, if they share the secret.
    let pool = pool(console.database.config().user(&reader).clone());
    let own = Browser::new(qsessions_console::router(
        pool,
        Options::new().secret([7; 32]),
    ));
    let with_form = {
        let pool = crate::common::pool(console.database.config());
        Browser::new(qsessions_console::router(
            pool,
            Options::new().secret([7; 32]),
        ))
    };
    let token = with_form.get("/user?id=1").await.field("csrf");
    *own.cookies.lock().unwrap() = with_form.cookies.lock().unwrap().clone();
    for path in [format!("/session/{id}/end"), "/user/end".to_owned()] {
        let page = own.post(&path, &[("csrf", &token), ("id", "1")]).await;
        assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        page.has("The role lacks a privilege").has("SQLSTATE 42501");
    }
    let fields = [
        ("csrf", token.as_str()),
        ("counted_at", "9999999999999999"),
        ("user", "1"),
    ];
    assert_eq!(
        own.post("/end", &fields).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(console.sessions().await, 1);
}

#[tokio::test]
async fn parts_that_the_role_may_not_see_say_so_and_the_others_are_shown() {
    let console = Console::new().await;
    let (_, id) = console.begin("1, ip => '192.0.2.7'").await;
    let role = format!("narrow_{}", console.database.name());
    let sql = format!("CREATE ROLE {role} LOGIN; GRANT SELECT ON qsessions.session TO {role}");
    console.admin.batch_execute(&sql).await.unwrap();
    let browser = browser(&console, &role);
    let page = browser.get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    page.has("data-live=\"active\">1</dd>")
        .has("may not read the table of events")
        .has("permission denied for function country_code");
    let page = browser.get("/health").await;
    assert_eq!(page.status, StatusCode::OK);
    page.has("permission denied for function invalidation_status")
        .has("permission denied for function geoip_databases")
        .has("Bloat");
    let page = browser.get(&format!("/session/{id}")).await;
    assert_eq!(page.status, StatusCode::OK);
    page.has("may not look up locations")
        .has("may not read the table of events");

    let none = format!("none_{}", console.database.name());
    console
        .admin
        .batch_execute(&format!("CREATE ROLE {none} LOGIN"))
        .await
        .unwrap();
    let browser = self::browser(&console, &none);
    for path in [
        "/",
        "/sessions",
        "/health",
        &format!("/session/{id}"),
        "/user?id=1",
    ] {
        let page = browser.get(path).await;
        assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        page.has("The role lacks a privilege")
            .has("permission denied for table session");
    }
}
