//! The console among the pages of another application.

use crate::common::{Browser, Console, pool};
use axum::Router;
use axum::http::StatusCode;
use qsessions_console::Options;

#[tokio::test]
async fn links_lead_to_pages_below_any_path() {
    let console = Console::new().await;
    let (_, id) = console.begin("1").await;
    let pool = pool(console.database.config().user(&console.role).clone());
    let inner = qsessions_console::router(pool, Options::new());
    let browser = Browser::new(Router::new().nest("/admin/sessions", inner));
    for start in [
        "/admin/sessions",
        "/admin/sessions/sessions",
        &format!("/admin/sessions/session/{id}"),
    ] {
        let page = browser.get(start).await;
        assert_eq!(page.status, StatusCode::OK, "{start}");
        for (text, target) in [
            ("Overview", "/admin/sessions/"),
            ("Sessions", "/admin/sessions/sessions"),
            ("Health", "/admin/sessions/health"),
        ] {
            let link = page.body.split("</nav>").next().unwrap();
            let end = link.find(&format!(">{text}</a>")).unwrap();
            let href = link[..end]
                .rsplit("href=\"")
                .next()
                .unwrap()
                .split('"')
                .next()
                .unwrap();
            assert_eq!(resolved(start, href), target, "{start} {href}");
        }
        let style = page
            .body
            .split("stylesheet\" href=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        let style = browser.get(&resolved(start, style)).await;
        assert_eq!(style.status, StatusCode::OK, "{start}");
    }
    let token = browser
        .get(&format!("/admin/sessions/session/{id}"))
        .await
        .field("csrf");
    let path = format!("/admin/sessions/session/{id}/end");
    let ended = browser.post(&path, &[("csrf", &token)]).await;
    let target = resolved(&path, ended.location());
    assert_eq!(target, "/admin/sessions/ended?count=1");
    assert_eq!(browser.get(&target).await.status, StatusCode::OK);
    let missing = browser.get("/admin/sessions/nothing").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    missing.has("There is no such page");
    missing.has_not("Sign out");
}

/// As a browser resolves a link.
fn resolved(page: &str, link: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
