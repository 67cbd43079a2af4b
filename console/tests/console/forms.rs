//! Forged forms.

use crate::common::{Browser, Console};
use axum::body::Body;
use axum::http::{Request, StatusCode, header};

async fn post(browser: &Browser, path: &str, body: String, headers: &[(&str, &str)]) -> StatusCode {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    browser
        .send(request.body(Body::from(body)).unwrap())
        .await
        .status
}

#[tokio::test]
async fn a_form_without_the_token_of_this_browser_is_refused() {
    let console = Console::new().await;
    let (_, id) = console.begin("1").await;
    let token = console.get("/user?id=1").await.field("csrf");
    let stranger = Browser::new(console.browser.router.clone());
    let foreign = stranger.get("/user?id=1").await.field("csrf");
    assert_ne!(token, foreign);

    for path in [
        format!("/session/{id}/end"),
        "/user/end".to_owned(),
        "/end".to_owned(),
    ] {
        for token in ["", "x", &foreign, &token[1..]] {
            let page = console
                .browser
                .post(&path, &[("csrf", token), ("id", "1"), ("user", "1")])
                .await;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{path} {token}");
            page.has("Nothing was changed.");
        }
        // The token alone, without the cookie.
        let bare = Browser::new(console.browser.router.clone());
        let page = bare.post(&path, &[("csrf", &token), ("id", "1")]).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(console.sessions().await, 1);
}

#[tokio::test]
async fn a_form_from_another_site_is_refused_even_with_the_token() {
    let console = Console::new().await;
    console.begin("1").await;
    let token = console.get("/user?id=1").await.field("csrf");
    let body = || format!("csrf={token}&id=1");
    let post =
        async |headers: &[(&str, &str)]| post(&console.browser, "/user/end", body(), headers).await;
    for headers in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site")][..],
        &[("origin", "https://evil.example")][..],
        &[("origin", "null")][..],
        &[("origin", "http://localhost:81")][..],
    ] {
        assert_eq!(post(headers).await, StatusCode::FORBIDDEN, "{headers:?}");
    }
    assert_eq!(console.sessions().await, 1);
    let headers = [
        ("sec-fetch-site", "same-origin"),
        ("origin", "http://localhost"),
    ];
    assert_eq!(post(&headers).await, StatusCode::SEE_OTHER);
    assert_eq!(console.sessions().await, 0);
}

#[tokio::test]
async fn a_cookie_that_another_program_has_set_makes_no_token() {
    let console = Console::new().await;
    let planted = "planted-by-another-port-of-this-host";
    let name = "qsessions-console-form".to_owned();
    console
        .browser
        .cookies
        .lock()
        .unwrap()
        .push((name, planted.to_owned()));
    let page = console
        .browser
        .post("/user/end", &[("csrf", planted), ("id", "1")])
        .await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn pages_carry_headers_that_confine_them() {
    let console = Console::new().await;
    let (_, id) = console.begin("1").await;
    for path in [
        "/",
        "/sessions",
        "/health",
        "/nothing",
        &format!("/session/{id}"),
        "/user?id=1",
    ] {
        let page = console.get(path).await;
        let policy = page.headers[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap();
        assert!(
            policy.starts_with("default-src 'none';") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(page.headers[header::CACHE_CONTROL], "no-store");
        assert_eq!(page.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        // Nothing in the pages needs more than that.
        page.has_not("style=")
            .has_not("<style")
            .has_not("onclick")
            .has_not("<script>")
            .has_not("http://www.w3.org/1999");
    }
    let cookie = Browser::new(console.browser.router.clone()).get("/").await;
    let cookie = cookie.headers[header::SET_COOKIE].to_str().unwrap();
    for attribute in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
}

#[tokio::test]
async fn a_cookie_of_another_program_does_not_hide_that_of_the_form() {
    let console = Console::new().await;
    console.begin("1").await;
    let others = ("a".to_owned(), "\u{e4}".to_owned());
    console.browser.cookies.lock().unwrap().push(others);
    let token = console.get("/user?id=1").await.field("csrf");
    let page = console
        .browser
        .post("/user/end", &[("csrf", &token), ("id", "1")])
        .await;
    assert_eq!(page.location(), "../ended?count=1");
}
