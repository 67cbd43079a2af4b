use crate::common::{Console, IPHONE};
use axum::http::StatusCode;

#[tokio::test]
async fn a_session_is_shown_with_its_data_and_history() {
    let console = Console::new().await;
    let call = format!(
        "1, data => '{{\"cart\": [\"book\"], \"note\": \"<b>&\"}}', ip => '192.0.2.7', user_agent => '{IPHONE}',
         idle_timeout => '30 minutes', max_age => '8 hours'"
    );
    let (key, id) = console.begin(&call).await;
    console
        .admin
        .execute("SELECT qsessions.rotate_key($1)", &[&key])
        .await
        .unwrap();
    let page = console.get(&format!("/session/{id}")).await;
    assert_eq!(page.status, StatusCode::OK);
    page.has("<h1>iPhone / iOS 17.1 / Safari 17.1</h1>")
        .has("&#34;book&#34;")
        .has("&#60;b&#62;&#38;")
        .has("192.0.2.7")
        .has("in 29 minutes); each visit moves it to 00:30:00 later; at the latest")
        .has("Signed in")
        .has("Key replaced")
        .has("new device")
        .has("End this session");
}

#[tokio::test]
async fn a_session_that_never_expires_is_shown() {
    let console = Console::new().await;
    let (_, id) = console.begin("NULL").await;
    let forever =
        "UPDATE qsessions.session SET expires_at = 'infinity', user_agent = NULL WHERE id = $1";
    console.admin.execute(forever, &[&id]).await.unwrap();
    let page = console.get(&format!("/session/{id}")).await;
    page.has("<dd>never</dd>")
        .has("<h1>Unknown device</h1>")
        .has("anonymous");
    assert_eq!(console.get("/sessions").await.ids(), [id]);
}

#[tokio::test]
async fn data_of_any_depth_is_shown_and_long_data_is_cut() {
    let console = Console::new().await;
    let (_, deep) = console
        .begin("1, data => (repeat('{\"a\":', 3000) || '1' || repeat('}', 3000))::jsonb")
        .await;
    let (_, long) = console
        .begin("1, data => jsonb_build_object('a', repeat('x', 200000))")
        .await;
    let page = console.get(&format!("/session/{deep}")).await;
    assert_eq!(page.status, StatusCode::OK);
    let page = console.get(&format!("/session/{long}")).await;
    page.has("longer than what is shown")
        .has(&format!("get_session('{long}')"));
    assert!(page.body.len() < 100_000);
    assert_eq!(console.get("/sessions").await.ids(), [long, deep]);
}

#[tokio::test]
async fn an_id_without_a_session_is_not_found() {
    let console = Console::new().await;
    let page = console
        .get("/session/01a20998-5a0d-78e1-a9ba-3102bb8fadab")
        .await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    page.has("The session has ended")
        .has("No event of this session is recorded.");
    let (key, _) = console.begin("1").await;
    for path in [
        "/session/7",
        "/session/%00",
        "/session/x/y",
        &format!("/session/{key}"),
    ] {
        let page = console.get(path).await;
        assert!([400, 404].contains(&page.status.as_u16()), "{path}");
        page.has_not(&key);
    }
    let page = console.get("/user").await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    let page = console.get("/user?id=ada").await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    page.has("invalid input syntax for type bigint");
}

#[tokio::test]
async fn a_user_with_any_name_has_a_page() {
    let name = "a&b=c/<d> \"é\" %41+";
    let database = qsessions_testkit::Database::with(qsessions_testkit::Users::Unlinked).await;
    let admin = database.connect().await;
    admin
        .batch_execute("SELECT qsessions.create_event_table()")
        .await
        .unwrap();
    admin
        .execute("SELECT qsessions.create_session($1::text)", &[&name])
        .await
        .unwrap();
    let pool = crate::common::pool(database.config());
    let router = qsessions_console::router(pool, qsessions_console::Options::new());
    let browser = crate::common::Browser::new(router);
    let list = browser.get("/sessions").await;
    let link = list.link("a&#38;b=c/&#60;d&#62; &#34;é&#34; %41+");
    let page = browser.get(&link[1..]).await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.ids().len(), 1);
    page.has("Signed in").has("&#60;d&#62;").has_not("<d>");
    let search = browser
        .get(&format!("/sessions?user={}", crate::common::encoded(name)))
        .await;
    assert_eq!(search.ids(), page.ids());
    let token = page.field("csrf");
    let ended = browser
        .post("/user/end", &[("csrf", &token), ("id", name)])
        .await;
    assert_eq!(ended.location(), "../ended?count=1");
}
