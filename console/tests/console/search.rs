use crate::common::{Console, FIREFOX, IPHONE};
use axum::http::StatusCode;
use qsessions_console::Options;
use std::collections::HashSet;

#[tokio::test]
async fn a_search_finds_sessions_by_each_field() {
    let console = Console::new().await;
    let (_, ada) = console
        .begin(&format!("1, ip => '192.0.2.7', user_agent => '{IPHONE}'"))
        .await;
    let (_, bob) = console
        .begin(&format!(
            "2, ip => '2001:db8::7', user_agent => '{FIREFOX}'"
        ))
        .await;
    let (_, gone) = console.begin("NULL, ttl => '1 second'").await;
    let expire =
        "UPDATE qsessions.session SET expires_at = now() - interval '1 hour' WHERE id = $1";
    console.admin.execute(expire, &[&gone]).await.unwrap();

    for (query, expected) in [
        ("", vec![gone, bob, ada]),
        ("?user=1", vec![ada]),
        ("?user=3", vec![]),
        ("?network=192.0.2.7", vec![ada]),
        ("?network=192.0.2.99/24", vec![ada]),
        ("?network=2001%3Adb8%3A%3A%2F32", vec![bob]),
        ("?device=iphone", vec![ada]),
        ("?device=Firefox&state=active", vec![bob]),
        ("?state=active", vec![bob, ada]),
        ("?state=expired", vec![gone]),
        (
            "?state=all&user=&network=&device=&country=",
            vec![gone, bob, ada],
        ),
        ("?user=1&user=2", vec![bob]),
        ("?unknown=1&user=+2+", vec![bob]),
    ] {
        let page = console.get(&format!("/sessions{query}")).await;
        assert_eq!(page.status, StatusCode::OK, "{query}");
        assert_eq!(page.ids(), expected, "{query}");
    }
    let page = console.get("/sessions?user=1").await;
    page.has("iPhone / iOS 17.1 / Safari 17.1")
        .has("192.0.2.7")
        .has("href=\"./user?id=1\"")
        .has("value=\"1\"");
    console
        .get("/sessions?user=3")
        .await
        .has("The search finds no session.");
}

#[tokio::test]
async fn pages_of_thousands_that_began_at_once_have_each_session_once() {
    let console = Console::with(Options::new().page_size(500)).await;
    console.add(3_210, "1", "'192.0.2.1'").await;
    let mut seen = HashSet::new();
    let mut path = "/sessions?network=192.0.2.0/24&state=active".to_owned();
    let mut pages = 0;
    loop {
        let page = console.get(&path).await;
        assert_eq!(page.status, StatusCode::OK);
        pages += 1;
        for id in page.ids() {
            assert!(seen.insert(id), "{id} is on two pages");
        }
        if !page.body.contains("Next page") {
            page.has("which is the last").has("First page");
            break;
        }
        let next = page.link("Next page");
        // The search stays as it is.
        assert!(
            next.contains("network=192.0.2.0%2F24&state=active&after="),
            "{next}"
        );
        path = next.replacen('.', "", 1);
    }
    assert_eq!((seen.len(), pages), (3_210, 7));
}

#[tokio::test]
async fn a_mistake_keeps_the_form_and_says_what_is_wrong() {
    let console = Console::new().await;
    for (query, field, sentence) in [
        (
            "network=192.0.2",
            "network",
            "Write an address or a network",
        ),
        (
            "network=192.0.2.0/33",
            "network",
            "Write an address or a network",
        ),
        ("country=Germany", "country", "two letters such as DE"),
        ("state=dead", "state", "Choose all, active or expired"),
        ("user=ada", "user", "invalid input syntax for type bigint"),
        ("user=99999999999999999999", "user", "out of range"),
        ("device=a%00b", "device", "without a null character"),
    ] {
        let page = console.get(&format!("/sessions?device=fire&{query}")).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{query}");
        page.has(sentence)
            .has("role=\"alert\"")
            .has("aria-invalid=\"true\"")
            .has(&format!("id=\"{field}-mistake\""))
            .has("Not valid: Sessions");
        if !query.starts_with("device") {
            page.has("name=\"device\" value=\"fire\"");
        }
        assert!(page.ids().is_empty());
    }
    let page = console.get("/sessions?country=Germany&network=here").await;
    page.has("value=\"Germany\"").has("value=\"here\"");
    assert_eq!(page.body.matches("aria-invalid").count(), 2);
}

#[tokio::test]
async fn a_page_that_is_gone_leads_back_to_the_first() {
    let console = Console::new().await;
    for after in ["7", "4564755b-1ec3-8b1d-a14a-91fac14bf206"] {
        let page = console
            .get(&format!("/sessions?user=1&after={after}"))
            .await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{after}");
        page.has("egin again with the first page.");
        assert_eq!(page.link("First page"), "./sessions?user=1");
    }
}

#[tokio::test]
async fn what_was_searched_is_escaped() {
    let console = Console::new().await;
    let hostile = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E%26%27";
    for field in ["user", "network", "device", "country", "state", "after"] {
        let page = console.get(&format!("/sessions?{field}={hostile}")).await;
        page.has_not("<script>alert").has_not("\"><script");
    }
}
