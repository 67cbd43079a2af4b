use crate::common::{Browser, Console, FIREFOX, IPHONE, pool};
use axum::http::StatusCode;
use qsessions_console::Options;
use qsessions_testkit::Database;

#[tokio::test]
async fn the_overview_shows_numbers_sign_ins_and_devices() {
    let console = Console::new().await;
    for _ in 0..2 {
        console.begin(&format!("1, user_agent => '{IPHONE}'")).await;
    }
    console
        .begin(&format!("2, user_agent => '{FIREFOX}'"))
        .await;
    console.begin("NULL").await;
    let page = console.get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    page.has("<dd data-live=\"active\">4</dd>")
        .has("<dd data-live=\"users\">2</dd>")
        .has("<dd data-live=\"anonymous\">1</dd>")
        .has("3 sign-ins in the last 24 hours, 2 from a device that was new to the user")
        .has("<th scope=\"row\">Safari on iOS</th><td class=\"number\">2</td>")
        .has("<th scope=\"row\">Firefox on Linux</th><td class=\"number\">1</td>")
        .has("<th scope=\"row\">Phone</th><td class=\"number\">2</td>")
        .has("All of 4 active sessions.")
        .has("No GeoIP database knows the addresses.");
    // Sign-ins, kinds and browsers. All events are of this hour, so there is no line yet.
    page.has("There are not enough events yet.");
    let plots = page.body.matches("<svg role=\"img\" aria-label=\"").count();
    assert_eq!(plots, 3);
}

#[tokio::test]
async fn signed_in_sessions_are_reckoned_back_from_the_present() {
    let console = Console::new().await;
    for _ in 0..3 {
        console.begin("1").await;
    }
    let (key, _) = console.begin("2").await;
    console
        .admin
        .execute("SELECT qsessions.logout($1)", &[&key])
        .await
        .unwrap();
    // As if all sign-ins had been three days ago, and the sign-out two.
    console
        .admin
        .batch_execute(
            "UPDATE qsessions.session_event SET at = date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
                 - CASE event WHEN 'login' THEN interval '3 days' ELSE interval '2 days' END + interval '1 hour'",
        )
        .await
        .unwrap();
    let page = console.get("/?range=month").await;
    let day =
        |days: i32| format!("date_trunc('day', now() AT TIME ZONE 'UTC') - interval '{days} days'");
    let sql = format!(
        "SELECT to_char({}, 'YYYY-MM-DD HH24:MI'), to_char({}, 'YYYY-MM-DD HH24:MI'), to_char({}, 'YYYY-MM-DD HH24:MI')",
        day(4),
        day(3),
        day(2)
    );
    let days = console.admin.query_one(&sql, &[]).await.unwrap();
    for (column, sign_ins, new, signed_in) in [(0, 0, 0, "–"), (1, 4, 0, "4"), (2, 0, 0, "3")] {
        page.has(&format!(
            "<th scope=\"row\">{}</th><td class=\"number\">{sign_ins}</td><td class=\"number\">{new}</td><td class=\"number\">{signed_in}</td>",
            days.get::<_, &str>(column)
        ));
    }
    page.has("The line begins with the first event.");
}

#[tokio::test]
async fn a_large_table_is_sampled_and_the_page_says_so() {
    let console = Console::with(Options::new().sample(500)).await;
    console.add(5_000, "1", "NULL").await;
    console
        .admin
        .batch_execute("ANALYZE qsessions.session")
        .await
        .unwrap();
    let page = console.get("/").await;
    page.has("A random sample of the table: ")
        .has("Firefox on Linux")
        .has_not("All of 5,000");
}

#[tokio::test]
async fn without_a_table_of_events_the_page_says_how_to_get_one() {
    let database = Database::new().await;
    let browser = Browser::new(qsessions_console::router(
        pool(database.config()),
        Options::new(),
    ));
    let page = browser.get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    page.has("SELECT qsessions.create_event_table();")
        .has("data-live=\"active\">0</dd>");
}

#[tokio::test]
async fn the_other_ranges_are_shown_and_no_others() {
    let console = Console::new().await;
    console.begin("1").await;
    console
        .get("/?range=week")
        .await
        .has("1 sign-in in the last 7 days");
    console
        .get("/?range=month")
        .await
        .has("1 sign-in in the last 30 days");
    let page = console.get("/?range=century").await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    page.has("24 hours, 7 days or 30 days");
}

#[tokio::test]
async fn a_part_that_takes_too_long_leaves_the_others() {
    let console =
        Console::with(Options::new().statement_timeout(std::time::Duration::from_millis(300)))
            .await;
    console.begin("1").await;
    // The parts that read devices wait for this lock; the numbers of a small table do too.
    let mut blocker = console.database.connect().await;
    let transaction = blocker.transaction().await.unwrap();
    transaction
        .batch_execute("LOCK TABLE qsessions.session_event")
        .await
        .unwrap();
    let page = console.get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    page.has("data-live=\"active\">1</dd>")
        .has("The console has cancelled the query");
}
