//! The quick start in the README.

// The function `main` of the example is not called.
#[allow(dead_code)]
#[path = "../../examples/quick_start.rs"]
mod example;

use crate::suite::{Browser, store};
use axum::http::StatusCode;
use qsessions_testkit::Database;

async fn sign_in(browser: &mut Browser) {
    let reply = browser.post("/sign-in", "id=1").await;
    assert_eq!(reply.location.as_deref(), Some("/devices"));
}

#[tokio::test]
async fn the_quick_start_signs_in_shows_devices_and_signs_out() {
    let database = Database::new().await;
    let mut phone = Browser::of(example::app(store(&database)));
    let mut laptop = phone.clone();
    phone.headers = vec![("user-agent", "curl/8.5.0".to_owned())];
    phone.address = Some("192.0.2.1".parse().unwrap());
    laptop.address = Some("192.0.2.2".parse().unwrap());
    let reply = phone.get("/devices").await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    sign_in(&mut phone).await;
    sign_in(&mut laptop).await;
    let devices = phone.get("/devices").await.body;
    assert_eq!(devices.lines().count(), 2, "{devices}");
    let this_one = devices.lines().find(|line| line.ends_with("(this one)"));
    let this_one = this_one.unwrap();
    assert!(this_one.contains("192.0.2.1"), "{devices}");
    assert!(this_one.contains("curl 8.5.0"), "{devices}");
    assert_eq!(phone.post("/sign-out", "").await.status, StatusCode::OK);
    let reply = phone.get("/devices").await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    assert_eq!(laptop.get("/devices").await.body.lines().count(), 1);
}

#[test]
fn the_readme_shows_the_example() {
    let example = include_str!("../../examples/quick_start.rs");
    assert!(include_str!("../../README.md").contains(example));
}
