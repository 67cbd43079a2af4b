use crate::common::{Console, FIREFOX, IPHONE};
use axum::http::StatusCode;

#[tokio::test]
async fn a_session_is_ended_by_its_page() {
    let console = Console::new().await;
    let (key, id) = console.begin("1").await;
    let (other, _) = console.begin("1").await;
    let page = console.get(&format!("/session/{id}")).await;
    let token = page.field("csrf");
    let ended = console
        .browser
        .post(&format!("/session/{id}/end"), &[("csrf", &token)])
        .await;
    assert_eq!(
        (ended.status, ended.location()),
        (StatusCode::SEE_OTHER, "../../ended?count=1")
    );
    console
        .get("/ended?count=1")
        .await
        .has("<h1>1 session has ended</h1>");

    let alive = "SELECT qsessions.session_exists($1), qsessions.session_exists($2)";
    let row = console
        .admin
        .query_one(alive, &[&key, &other])
        .await
        .unwrap();
    assert_eq!((row.get(0), row.get(1)), (false, true));
    let event = "SELECT revoked_by FROM qsessions.session_event WHERE event = 'revoked' AND session_id = $1";
    let row = console.admin.query_one(event, &[&id]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "administrator");

    // A second click ends nothing.
    let ended = console
        .browser
        .post(&format!("/session/{id}/end"), &[("csrf", &token)])
        .await;
    assert_eq!(ended.location(), "../../ended?count=0");
    let page = console.get(&format!("/session/{id}")).await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    page.has("The session has ended")
        .has("Ended by an administrator")
        .has("Signed in");
}

#[tokio::test]
async fn all_sessions_of_a_user_are_ended() {
    let console = Console::new().await;
    console.begin("1").await;
    console.begin("1").await;
    let (other, _) = console.begin("2").await;
    let page = console.get("/user?id=1").await;
    assert_eq!(page.ids().len(), 2);
    page.has("Signed in");
    let fields = [("csrf", page.field("csrf")), ("id", page.field("id"))];
    let fields = fields
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let ended = console.browser.post("/user/end", &fields).await;
    assert_eq!(ended.location(), "../ended?count=2");
    assert_eq!(console.sessions().await, 1);
    let row = console
        .admin
        .query_one("SELECT qsessions.session_exists($1)", &[&other])
        .await
        .unwrap();
    assert!(row.get::<_, bool>(0));
    console
        .get("/user?id=1")
        .await
        .has("The user has no session.")
        .has("Ended by an administrator");
}

#[tokio::test]
async fn all_that_a_search_finds_is_ended_after_it_was_counted() {
    let console = Console::new().await;
    console.add(1_234, "1", "'192.0.2.1'").await;
    console
        .begin(&format!("1, ip => '192.0.2.2', user_agent => '{IPHONE}'"))
        .await;
    console
        .begin(&format!(
            "2, ip => '198.51.100.1', user_agent => '{FIREFOX}'"
        ))
        .await;

    let page = console
        .get("/sessions?network=192.0.2.0/24&device=firefox")
        .await;
    let link = page.link("End all of these…").replacen('.', "", 1);
    let page = console.get(&link).await;
    assert_eq!(page.status, StatusCode::OK);
    page.has("This ends 1,234 sessions")
        .has("last seen from 192.0.2.0/24");
    assert_eq!(console.sessions().await, 1_236);

    // A session that begins now was not counted.
    let (late, _) = console
        .begin(&format!("3, ip => '192.0.2.3', user_agent => '{FIREFOX}'"))
        .await;
    let names = [
        "csrf",
        "counted_at",
        "user",
        "network",
        "device",
        "country",
        "state",
    ];
    let fields = names.map(|name| (name, page.field(name)));
    let fields = fields
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let ended = console.browser.post("/end", &fields).await;
    assert_eq!(
        (ended.status, ended.location()),
        (StatusCode::SEE_OTHER, "./ended?count=1234")
    );
    assert_eq!(console.sessions().await, 3);
    let row = console
        .admin
        .query_one("SELECT qsessions.session_exists($1)", &[&late])
        .await
        .unwrap();
    assert!(row.get::<_, bool>(0));
    let sql = "SELECT count(*) FROM qsessions.session_event WHERE revoked_by = 'administrator'";
    let row = console.admin.query_one(sql, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 1_234);
}

#[tokio::test]
async fn a_search_for_nothing_or_with_a_mistake_ends_nothing() {
    let console = Console::new().await;
    console.begin("1").await;
    let token = console.get("/user?id=1").await.field("csrf");
    for (fields, status, sentence) in [
        (
            &[("counted_at", "9999999999999999")][..],
            400,
            "all sessions that there are",
        ),
        (
            &[("counted_at", "9999999999999999"), ("state", "all")][..],
            400,
            "all sessions that there are",
        ),
        (
            &[("counted_at", "9999999999999999"), ("network", "here")][..],
            400,
            "Write an address",
        ),
        (
            &[("counted_at", "9999999999999999"), ("user", "ada")][..],
            400,
            "invalid input syntax",
        ),
        (
            &[("counted_at", "soon"), ("user", "1")][..],
            400,
            "the time at which",
        ),
        (&[("user", "1")][..], 400, "the time at which"),
    ] {
        let fields: Vec<_> = fields
            .iter()
            .copied()
            .chain([("csrf", token.as_str())])
            .collect();
        let page = console.browser.post("/end", &fields).await;
        assert_eq!(page.status.as_u16(), status, "{fields:?}");
        page.has(sentence);
    }
    for path in [
        "/end",
        "/end?state=all",
        "/end?user=ada",
        "/end?country=Germany",
    ] {
        assert_eq!(
            console.get(path).await.status,
            StatusCode::BAD_REQUEST,
            "{path}"
        );
    }
    console
        .get("/end?user=2")
        .await
        .has("The search finds no session.")
        .has_not("<button");
    assert_eq!(console.sessions().await, 1);
}

#[tokio::test]
async fn expired_sessions_are_deleted_and_not_counted_as_ended() {
    let console = Console::new().await;
    console.add(2, "1", "NULL").await;
    let expire = "UPDATE qsessions.session SET expires_at = now() - interval '1 hour'";
    console.admin.execute(expire, &[]).await.unwrap();
    let page = console.get("/end?state=expired").await;
    page.has("This ends 2 sessions");
    let fields = ["csrf", "counted_at", "state"].map(|name| (name, page.field(name)));
    let fields = fields
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    assert_eq!(
        console.browser.post("/end", &fields).await.location(),
        "./ended?count=0"
    );
    assert_eq!(console.sessions().await, 0);
}
