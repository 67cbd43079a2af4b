//! The program in the README: sign in, see the devices, sign out.

use crate::common::{Browser, SESSION, Site, between};
use axum::http::StatusCode;

#[path = "../../examples/quick_start.rs"]
#[allow(dead_code)]
mod program;

#[test]
fn the_readme_shows_the_program_in_at_most_40_lines() {
    let readme = include_str!("../../README.md");
    let program = include_str!("../../examples/quick_start.rs");
    assert!(readme.contains(&format!("```rust,no_run\n{program}```\n")));
    let lines = program.lines().filter(|line| !line.trim().is_empty());
    assert!(lines.count() <= 40);
}

#[tokio::test]
async fn a_user_signs_in_sees_the_devices_and_signs_out() {
    let site = Site::new().await;
    let app = program::app(site.store.clone()).unwrap();
    let mut browser = Browser::of(&app);
    let page = browser.get("/devices").await;
    assert_eq!(page.header("location"), Some("/sign-in?next=%2Fdevices"));
    let page = browser.get(page.header("location").unwrap()).await;
    let field = |page: &str, name: &str| {
        let start = format!(r#"name="{name}" value=""#);
        between(page, &start, "\"")[0].to_owned()
    };
    let token = field(&page.text, "csrf_token");
    let form = format!(
        "user=1&next={}&csrf_token={token}",
        field(&page.text, "next")
    );
    assert_eq!(
        browser.post("/sign-in", "user=1&next=").await.status,
        StatusCode::FORBIDDEN
    );
    let page = browser.post("/sign-in", &form).await;
    assert_eq!(
        (page.status, page.header("location")),
        (StatusCode::SEE_OTHER, Some("/devices"))
    );
    let page = browser.get("/devices").await;
    assert!(page.text.contains("This device"), "{}", page.text);
    let form = format!(
        "id={}&csrf_token={}",
        field(&page.text, "id"),
        field(&page.text, "csrf_token")
    );
    let page = browser.post("/devices/sign-out", &form).await;
    assert_eq!(page.header("location"), Some("/sign-in"));
    assert_eq!((browser.cookie(SESSION), site.sessions().await), (None, 0));
}
