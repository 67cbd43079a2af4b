//! The page of devices.

use crate::common::{Browser, Page, SESSION, Site, between};
use axum::Router;
use axum::extract::Path;
use axum::extract::connect_info::MockConnectInfo;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use qsessions_axum::devices::{Page as DevicesPage, Texts};
use qsessions_axum::{Devices, Error, Session};
use std::net::SocketAddr;
use std::sync::Arc;

const PAGE: &str = "/account/devices";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 \
                      (KHTML, like Gecko) Version/17.1 Mobile/15E148 Safari/604.1";

async fn login(session: Session, Path(user): Path<i64>) -> Result<(), Error> {
    session.login(user).await.map(drop)
}

fn app(site: &Site, devices: Devices) -> Router {
    let peer = SocketAddr::from(([192, 0, 2, 7], 4711));
    Router::new()
        .route("/login/{user}", get(login))
        .nest(PAGE, devices.router())
        .layer(
            site.layer_with(|layer| layer.sign_in_page("/sign-in"))
                .unwrap(),
        )
        .layer(MockConnectInfo(peer))
}

async fn signed_in(app: &Router, user_agent: &str, user: i64) -> Browser {
    let mut browser = Browser::of(app).with("user-agent", user_agent);
    browser.get(&format!("/login/{user}")).await;
    browser
}

fn token(page: &Page) -> String {
    between(&page.text, r#"name="csrf_token" value=""#, "\"")[0].to_owned()
}

/// The ids in the forms of the page, that of this device first.
fn ids(page: &Page) -> Vec<String> {
    let ids = between(&page.text, r#"name="id" value=""#, "\"");
    ids.into_iter().map(str::to_owned).collect()
}

async fn sign_out(browser: &mut Browser, token: &str, id: &str) -> Page {
    let form = format!("csrf_token={token}&id={id}");
    browser.post(&format!("{PAGE}/sign-out"), &form).await
}

#[tokio::test]
async fn the_page_shows_where_the_user_is_signed_in() {
    let site = Site::new().await;
    let app = app(&site, Devices::new());
    let mut desktop = signed_in(&app, FIREFOX, 1).await;
    let page = desktop.get(PAGE).await;
    assert!(page.text.contains("You are signed in nowhere else."));
    signed_in(&app, IPHONE, 1).await;
    signed_in(&app, IPHONE, 2).await;
    let page = desktop.get(PAGE).await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(ids(&page).len(), 2);
    let (this, others) = page.text.split_once("Other devices").unwrap();
    assert!(
        this.contains("This device") && this.contains("Firefox 128"),
        "{this}"
    );
    assert!(this.contains(r##"<use href="#desktop"/>"##), "{this}");
    assert!(
        this.contains("<dd>192.0.2.7</dd>") && this.contains("just now"),
        "{this}"
    );
    assert!(
        others.contains("<h3>iPhone</h3>") && others.contains("iOS 17.1, Safari 17.1"),
        "{others}"
    );
    assert!(others.contains(r#"aria-label="Phone""#), "{others}");
    assert!(
        others.contains(r#"<span class="visually-hidden">: iPhone, iOS 17.1, Safari 17.1</span>"#)
    );
    let instants = between(&page.text, "datetime=\"", "\"");
    assert_eq!(instants.len(), 4);
    assert!(
        instants
            .iter()
            .all(|instant| instant.ends_with('Z') && instant.len() == 20)
    );
}

/// A user may have thousands of sessions.
#[tokio::test]
async fn the_page_shows_the_sessions_that_were_last_seen_and_this_one() {
    let site = Site::new().await;
    let app = app(&site, Devices::new());
    let mut desktop = signed_in(&app, FIREFOX, 1).await;
    let own = ids(&desktop.get(PAGE).await)[0].clone();
    let client = site.database.connect().await;
    for (seen, last) in [("-1 hour", "-2 hours"), ("1 hour", "10 seconds")] {
        client
            .execute(
                "INSERT INTO qsessions.session (id, digest, user_id, last_seen_at, expires_at)
                 SELECT gen_random_uuid(), '', 1,
                        now() + $1::text::interval + (n > 60)::int * ($2::text::interval - $1::text::interval),
                        now() + interval '1 day'
                 FROM generate_series(1, 120) AS n",
                &[&seen, &last],
            )
            .await
            .unwrap();
        let page = desktop.get(PAGE).await;
        let shown = ids(&page);
        assert_eq!(shown.len(), 100);
        assert_eq!(shown[0], own);
        let rows = client
            .query(
                "SELECT id::text FROM qsessions.user_sessions(1, max_rows => 99)",
                &[],
            )
            .await
            .unwrap();
        let last_seen: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert!(last_seen.iter().all(|id| shown.contains(id)));
    }
}

#[tokio::test]
async fn a_strict_policy_allows_all_that_the_page_needs() {
    let site = Site::new().await;
    let app = app(&site, Devices::new());
    let page = signed_in(&app, FIREFOX, 1).await.get(PAGE).await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    for forbidden in [
        "<script", "style=", "<style", "onclick=", "http://", "https://",
    ] {
        assert!(!page.text.contains(forbidden), "{forbidden}");
    }
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let stylesheet = between(&page.text, r#"rel="stylesheet" href=""#, "\"")[0];
    let style = Browser::of(&app).get(stylesheet).await;
    assert_eq!(
        style.header("content-type"),
        Some("text/css; charset=utf-8")
    );
    assert!(style.text.contains("prefers-color-scheme: dark"));
    assert_eq!(style.cookies().len(), 0);
}

#[tokio::test]
async fn a_visitor_who_is_not_signed_in_sees_nothing_and_ends_nothing() {
    let site = Site::new().await;
    let app = app(&site, Devices::new());
    let mut victim = signed_in(&app, FIREFOX, 1).await;
    let id = ids(&victim.get(PAGE).await)[0].clone();
    let mut visitor = Browser::of(&app);
    let page = visitor.get(PAGE).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    assert_eq!(
        page.header("location"),
        Some("/sign-in?next=%2Faccount%2Fdevices")
    );
    for action in ["sign-out", "sign-out-others"] {
        let page = visitor
            .post(&format!("{PAGE}/{action}"), &format!("id={id}"))
            .await;
        assert_eq!(page.header("location"), Some("/sign-in"));
        let page = victim.get(&format!("{PAGE}/{action}")).await;
        assert_eq!(page.status, StatusCode::METHOD_NOT_ALLOWED);
    }
    assert!(site.session(&victim).await.is_some());
}

#[tokio::test]
async fn a_user_signs_out_on_one_device() {
    let site = Site::new().await;
    let app = app(&site, Devices::new());
    let mut desktop = signed_in(&app, FIREFOX, 1).await;
    let phone = signed_in(&app, IPHONE, 1).await;
    let other = signed_in(&app, IPHONE, 1).await;
    let page = desktop.get(PAGE).await;
    let id = site.session(&phone).await.unwrap().id.to_string();
    let answer = sign_out(&mut desktop, &token(&page), &id).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(
        answer.header("location"),
        Some("/account/devices?signed-out")
    );
    assert!(site.session(&phone).await.is_none());
    assert!(site.session(&other).await.is_some());
    let page = desktop.get(answer.header("location").unwrap()).await;
    assert!(page.text.contains("You are signed out on that device."));
    assert_eq!(ids(&page).len(), 2);
    // Once more, as from another tab.
    let answer = sign_out(&mut desktop, &token(&page), &id).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_user_signs_out_on_all_other_devices() {
    let site = Site::new().await;
    let app = app(&site, Devices::new());
    let mut desktop = signed_in(&app, FIREFOX, 1).await;
    let phones = [
        signed_in(&app, IPHONE, 1).await,
        signed_in(&app, IPHONE, 1).await,
    ];
    let of_another = signed_in(&app, IPHONE, 2).await;
    let page = desktop.get(PAGE).await;
    let form = format!("csrf_token={}", token(&page));
    let answer = desktop
        .post(&format!("{PAGE}/sign-out-others"), &form)
        .await;
    assert_eq!(
        answer.header("location"),
        Some("/account/devices?signed-out-others")
    );
    for phone in phones {
        assert!(site.session(&phone).await.is_none());
    }
    assert!(site.session(&of_another).await.is_some());
    let page = desktop.get(answer.header("location").unwrap()).await;
    assert!(
        page.text
            .contains("You are signed out on all other devices.")
    );
}

#[tokio::test]
async fn a_user_signs_out_on_this_device() {
    let site = Site::new().await;
    let app = app(&site, Devices::new().signed_out_page("/bye"));
    let mut browser = signed_in(&app, FIREFOX, 1).await;
    let page = browser.get(PAGE).await;
    let answer = sign_out(&mut browser, &token(&page), &ids(&page)[0]).await;
    assert_eq!(answer.header("location"), Some("/bye"));
    assert_eq!((browser.cookie(SESSION), site.sessions().await), (None, 0));
}

#[tokio::test]
async fn a_forged_form_and_the_session_of_another_user_end_nothing() {
    let site = Site::new().await;
    let app = app(&site, Devices::new());
    let mut victim = signed_in(&app, FIREFOX, 1).await;
    let victims = ids(&victim.get(PAGE).await)[0].clone();
    let mut attacker = signed_in(&app, FIREFOX, 2).await;
    let theirs = token(&attacker.get(PAGE).await);
    for token in [theirs.as_str(), ""] {
        let answer = sign_out(&mut victim, token, &victims).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        let form = format!("csrf_token={token}");
        let answer = victim.post(&format!("{PAGE}/sign-out-others"), &form).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
    sign_out(&mut attacker, &theirs, &victims).await;
    let answer = sign_out(&mut attacker, &theirs, "no id").await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(site.session(&victim).await.is_some());
}

#[tokio::test]
async fn recent_sign_ins_are_shown_if_the_database_records_them() {
    let site = Site::new().await;
    let without_events = app(&site, Devices::new());
    let mut browser = signed_in(&without_events, FIREFOX, 1).await;
    assert!(!browser.get(PAGE).await.text.contains("Recent sign-ins"));
    site.store.create_event_table().await.unwrap();
    let with_events = app(&site, Devices::new().sign_ins(2));
    for user_agent in [FIREFOX, FIREFOX, IPHONE] {
        browser = signed_in(&with_events, user_agent, 1).await;
    }
    let page = browser.get(PAGE).await;
    let (_, sign_ins) = page.text.split_once("Recent sign-ins").unwrap();
    assert_eq!(sign_ins.matches("<li>").count(), 2);
    assert!(sign_ins.find("iPhone").unwrap() < sign_ins.find("Firefox").unwrap());
    assert_eq!(sign_ins.matches("New device").count(), 1);
    let none = app(&site, Devices::new().sign_ins(0));
    browser = signed_in(&none, IPHONE, 1).await;
    assert!(!browser.get(PAGE).await.text.contains("Recent sign-ins"));
}

#[tokio::test]
async fn what_a_browser_says_about_itself_is_text_and_not_html() {
    let site = Site::new().await;
    let app = app(&site, Devices::new());
    let client = site.database.connect().await;
    let mut browser = signed_in(&app, FIREFOX, 1).await;
    let evil = r#""><script>alert(1)</script>"#;
    signed_in(&app, evil, 1).await;
    // Also a name that the database takes from client hints.
    let hint =
        serde_json::json!({"sec-ch-ua-model": "\"<script>x</script>\"", "sec-ch-ua-mobile": "?1"});
    let keep = "UPDATE qsessions.session SET client_hints = $1, user_agent = $2 WHERE user_agent LIKE '%script%'";
    let android = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Mobile Safari/537.36";
    assert!(!browser.get(PAGE).await.text.contains("<script"));
    client.execute(keep, &[&hint, &android]).await.unwrap();
    let page = browser.get(PAGE).await;
    assert!(!page.text.contains("<script"), "{}", page.text);
}

#[tokio::test]
async fn texts_template_and_stylesheet_can_be_replaced() {
    let site = Site::new().await;
    let german = Arc::new(Texts {
        language: "de".into(),
        title: "Ihre Geräte".into(),
        ago: |time| format!("vor {} Sekunden", time.as_secs()),
        ..Texts::default()
    });
    let english = Arc::new(Texts::default());
    let choose = move |headers: &HeaderMap| {
        let language = headers.get("accept-language");
        match language.is_some_and(|language| language == "de") {
            true => Arc::clone(&german),
            false => Arc::clone(&english),
        }
    };
    let devices = Devices::new().texts_for(choose).stylesheet("/own.css");
    let app_with_texts = app(&site, devices);
    let mut browser = signed_in(&app_with_texts, FIREFOX, 1).await;
    let page = browser.get(PAGE).await;
    assert!(page.text.contains(r#"<html lang="en""#) && page.text.contains("Your devices"));
    assert!(page.text.contains(r#"href="/own.css""#));
    let page = browser.with("accept-language", "de").get(PAGE).await;
    assert!(page.text.contains(r#"<html lang="de""#) && page.text.contains("Ihre Geräte"));
    assert!(page.text.contains("vor 0 Sekunden") || page.text.contains("vor 1 Sekunden"));
    let devices = Devices::new().template(|page: &DevicesPage| {
        Ok::<_, std::fmt::Error>(format!("{} devices", page.devices().count()))
    });
    let mut browser = signed_in(&app(&site, devices), FIREFOX, 3).await;
    assert_eq!(browser.get(PAGE).await.text, "1 devices");
    let devices = Devices::new().template(|_: &DevicesPage| Err("the template fails"));
    let mut browser = signed_in(&app(&site, devices), FIREFOX, 1).await;
    assert_eq!(
        browser.get(PAGE).await.status,
        StatusCode::INTERNAL_SERVER_ERROR
    );
}

#[tokio::test]
async fn the_page_can_be_mounted_anywhere() {
    let site = Site::new().await;
    let deep = Router::new().nest("/{tenant}/devices", Devices::new().router::<()>());
    let app = Router::new()
        .route("/login/{user}", get(login))
        .nest("/t", deep)
        .merge(Devices::new().router())
        .layer(site.layer());
    let mut browser = signed_in(&app, FIREFOX, 1).await;
    for (path, expected, back) in [
        (
            "/t/acme/devices",
            "/t/acme/devices/sign-out",
            "/t/acme/devices?signed-out",
        ),
        ("/", "/sign-out", "/?signed-out"),
    ] {
        let phone = signed_in(&app, IPHONE, 1).await;
        let page = browser.get(path).await;
        let action = between(&page.text, r#"action=""#, "\"")[0];
        assert_eq!(action, expected);
        let id = site.session(&phone).await.unwrap().id;
        let form = format!("csrf_token={}&id={id}", token(&page));
        let answer = browser.post(action, &form).await;
        assert_eq!(answer.header("location"), Some(back));
        assert!(site.session(&phone).await.is_none());
    }
}

#[tokio::test]
async fn the_page_does_not_ask_for_the_kind_of_each_of_many_browsers() {
    let site = Site::counting().await;
    let app = app(&site, Devices::new());
    let mut browser = signed_in(&app, FIREFOX, 1).await;
    for n in 0..60 {
        let agent = format!("Robot/{n}");
        let login = site.store.login(1).user_agent(agent.as_str());
        login.await.unwrap();
    }
    let before = site.calls("parse_user_agent").await;
    let page = browser.get(PAGE).await;
    assert_eq!(ids(&page).len(), 61);
    assert_eq!(site.calls("parse_user_agent").await - before, 50);
}
