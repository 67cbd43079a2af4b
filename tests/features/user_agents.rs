//! User-Agents: their parts, and the line for a person.

use crate::common::row;
use qsessions_testkit::{Database, Users};

const REDUCED: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) \
                       Chrome/131.0.0.0 Mobile Safari/537.36";

type Part = Option<String>;

#[tokio::test]
async fn a_device_is_one_line_for_a_person() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    for (agent, line) in [
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Mobile/15E148 Safari/604.1",
            "iPhone / iOS 17.1 / Safari 17.1",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_13_6) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/70.0.3538.102 Safari/537.36",
            "Mac / macOS 10.13.6 / Chrome 70.0.3538.102",
        ),
        (
            "Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/34.0.1847.137 Safari/537.36",
            "PC / Windows 7 / Chrome 34.0.1847.137",
        ),
        // Every Chrome on Android sends this version and model.
        (REDUCED, "Phone / Android / Chrome 131.0.0.0"),
        ("", ""),
    ] {
        let found: String = row(&client, "SELECT qsessions.device($1)", &[&agent])
            .await
            .get(0);
        assert_eq!(found, line);
    }
    let unknown: String = row(
        &client,
        "SELECT qsessions.device('nothing that anybody knows')",
        &[],
    )
    .await
    .get(0);
    assert_eq!(unknown, "Other / Other / Other");
    let null: Part = row(&client, "SELECT qsessions.device(NULL)", &[])
        .await
        .get(0);
    assert_eq!(null, None);
}

#[tokio::test]
async fn a_part_that_the_string_does_not_tell_is_null() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    let parse = "SELECT * FROM qsessions.parse_user_agent($1)";
    let found = row(&client, parse, &[&REDUCED]).await;
    assert_eq!(found.get::<_, Part>("browser").as_deref(), Some("Chrome"));
    assert_eq!(found.get::<_, Part>("os").as_deref(), Some("Android"));
    assert_eq!(found.get::<_, Part>("device"), None);
    assert_eq!(found.get::<_, String>("category"), "mobile");
    assert!(!found.get::<_, bool>("is_bot"));

    let bot = row(
        &client,
        parse,
        &[&"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"],
    )
    .await;
    assert_eq!(bot.get::<_, String>("category"), "bot");
    assert!(bot.get::<_, bool>("is_bot"));
    let tool = row(&client, parse, &[&"curl/8.5.0"]).await;
    assert_eq!(tool.get::<_, String>("category"), "tool");
    assert_eq!(
        tool.get::<_, Part>("browser_version").as_deref(),
        Some("8.5.0")
    );
    let nothing = row(&client, parse, &[&""]).await;
    for part in [
        "browser",
        "browser_version",
        "os",
        "os_version",
        "device",
        "vendor",
    ] {
        assert_eq!(nothing.get::<_, Part>(part), None, "{part}");
    }
    assert_eq!(nothing.get::<_, String>("category"), "other");
    let null: bool = row(
        &client,
        "SELECT qsessions.parse_user_agent(NULL) IS NULL",
        &[],
    )
    .await
    .get(0);
    assert!(null);
}

#[tokio::test]
async fn parsing_does_not_depend_on_the_search_path() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    client
        .batch_execute(
            "CREATE TYPE user_agent_info AS (other int); SET search_path = public, pg_catalog",
        )
        .await
        .unwrap();
    let found = row(
        &client,
        "SELECT * FROM qsessions.parse_user_agent('curl/8.5.0')",
        &[],
    )
    .await;
    assert_eq!(found.get::<_, String>("category"), "tool");
}

#[tokio::test]
async fn a_bot_has_its_operator_and_a_device_its_maker() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    for (agent, vendor) in [
        (
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
            Some("OpenAI"),
        ),
        (
            "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
            Some("Google"),
        ),
        (REDUCED, None),
        ("curl/8.5.0", None),
    ] {
        let found: Part = row(
            &client,
            "SELECT vendor FROM qsessions.parse_user_agent($1)",
            &[&agent],
        )
        .await
        .get(0);
        assert_eq!(found.as_deref(), vendor, "{agent}");
    }
}

#[tokio::test]
async fn other_devices_of_phone_makers_are_not_phones() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    for (model, vendor, category) in [
        ("AQUOS-TVX19A", "Sharp", "tv"),
        ("AQUOS sense6", "Sharp", "mobile"),
        ("Nokia Streaming Box 8000", "Nokia", "tv"),
        ("SM-LED43M03SU", "Soundmax", "tv"),
        ("SHIELD Tablet K1", "NVIDIA", "tablet"),
    ] {
        let agent = format!("Dalvik/2.1.0 (Linux; U; Android 9; {model} Build/PTM5.210319.100)");
        let found = row(
            &client,
            "SELECT device, vendor, category FROM qsessions.parse_user_agent($1)",
            &[&agent],
        )
        .await;
        assert_eq!(found.get::<_, Part>("device").as_deref(), Some(model));
        assert_eq!(found.get::<_, Part>("vendor").as_deref(), Some(vendor));
        assert_eq!(found.get::<_, String>("category"), category, "{model}");
    }
}

#[tokio::test]
async fn a_browser_without_a_version_is_recognized() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    for browser in ["Brave", "DuckDuckGo", "Ecosia", "Vivaldi"] {
        let agent = format!(
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
             Version/26.6.1 Mobile/15E148 Safari/604.1 {browser}"
        );
        let found = row(
            &client,
            "SELECT browser, browser_version, qsessions.device($1) FROM qsessions.parse_user_agent($1)",
            &[&agent],
        )
        .await;
        assert_eq!(found.get::<_, Part>("browser").as_deref(), Some(browser));
        assert_eq!(found.get::<_, Part>("browser_version"), None);
        let line = format!("iPhone / iOS 26.6.1 / {browser}");
        assert_eq!(found.get::<_, String>("device"), line);
    }
}

#[tokio::test]
async fn the_rules_have_a_version_and_are_counted() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    let rules = row(&client, "SELECT * FROM qsessions.user_agent_rules()", &[]).await;
    let version: String = rules.get("version");
    assert!(version.starts_with("20"), "{version}");
    for kind in ["browsers", "bots", "tools", "systems", "devices", "models"] {
        assert!(rules.get::<_, i32>(kind) > 10, "{kind}");
    }
}

#[tokio::test]
async fn an_index_on_the_parse_is_used() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    client
        .batch_execute(
            "CREATE TABLE visit (agent text);
             CREATE INDEX ON visit ((qsessions.device(agent)));
             SET enable_seqscan = off",
        )
        .await
        .unwrap();
    let plan = client
        .query(
            "EXPLAIN (COSTS OFF) SELECT FROM visit WHERE qsessions.device(agent) = 'Mac / macOS / Safari 17.6'",
            &[],
        )
        .await
        .unwrap();
    let plan: Vec<String> = plan.iter().map(|line| line.get(0)).collect();
    assert!(
        plan.iter().any(|line| line.contains("visit_device_idx")),
        "{plan:?}"
    );
}
