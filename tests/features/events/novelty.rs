//! Which devices and places are new to a user.

use super::{CREATE, with_events};
use crate::common::mmdb::{self, until, use_path};
use crate::common::row;
use qsessions_testkit::Database;
use std::fs;
use tokio_postgres::Client;

const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                      Chrome/142.0.0.0 Safari/537.36";
const CHROME_LATER: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                            Chrome/151.0.0.0 Safari/537.36";
const CHROME_ON_MAC: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) \
                             Chrome/142.0.0.0 Safari/537.36";
const PIXEL: &str = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) \
                     Chrome/126.0.0.0 Mobile Safari/537.36";
const GALAXY: &str = "Mozilla/5.0 (Linux; Android 14; SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) \
                      Chrome/126.0.0.0 Mobile Safari/537.36";

const REDUCED: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) \
                       Chrome/126.0.0.0 Mobile Safari/537.36";

/// Whether a login of a user with this User-Agent says that the device is new.
async fn is_new_device(client: &Client, user: i64, user_agent: Option<&str>) -> Option<bool> {
    let login = "SELECT is_new_device FROM qsessions.login(NULL, $1::bigint, user_agent => $2)";
    row(client, login, &[&user, &user_agent]).await.get(0)
}

/// Whether a login of user 1 from this address says that the place is new.
async fn is_new_place(client: &Client, ip: &str) -> Option<bool> {
    let login = format!("SELECT is_new_place FROM qsessions.login(NULL, 1, '{ip}')");
    row(client, &login, &[]).await.get(0)
}

#[tokio::test]
async fn a_login_from_a_device_with_an_endless_name_is_recorded() {
    let (_database, client) = with_events().await;
    let raise = "SET qsessions.user_agent_max_length = 1048576";
    client.batch_execute(raise).await.expect("a superuser may");
    // No two letters are alike, or PostgreSQL would compress the key.
    let name: String = ('\u{20000}'..'\u{22000}').collect();
    let model = format!(
        "Mozilla/5.0 (Linux; Android 14; {name} Build/A) Chrome/126.0.0.0 Mobile Safari/537.36"
    );
    for user_agent in [name, model] {
        for expected in [true, false] {
            let found = is_new_device(&client, 1, Some(&user_agent)).await;
            assert_eq!(found, Some(expected), "{user_agent}");
        }
    }
}

#[tokio::test]
async fn a_device_is_browser_system_and_model_without_versions() {
    let (_database, client) = with_events().await;
    for (user_agent, expected) in [
        (None, None),
        (Some(""), None),
        (Some(CHROME), Some(true)),
        (Some(CHROME), Some(false)),
        (Some(CHROME_LATER), Some(false)),
        (Some(CHROME_ON_MAC), Some(true)),
        (Some(PIXEL), Some(true)),
        (Some(GALAXY), Some(true)),
        (Some(PIXEL), Some(false)),
        // The rules know neither of these.
        (Some("zzz 1.2"), Some(true)),
        (Some("zzz 1.3"), Some(false)),
        (Some("yyy 1.3"), Some(true)),
        (None, None),
    ] {
        let found = is_new_device(&client, 1, user_agent).await;
        assert_eq!(found, expected, "{user_agent:?}");
    }
    // Another user has another history.
    assert_eq!(is_new_device(&client, 2, Some(CHROME)).await, Some(true));
    let recorded = row(
        &client,
        "SELECT count(*) FILTER (WHERE is_new_device), count(*) FILTER (WHERE NOT is_new_device),
                count(*) FILTER (WHERE is_new_device IS NULL) FROM qsessions.session_event",
        &[],
    )
    .await;
    let counts = [0, 1, 2].map(|column| recorded.get::<_, i64>(column));
    assert_eq!(counts, [7, 4, 3]);
}

#[tokio::test]
async fn a_model_that_only_client_hints_tell_makes_no_new_device() {
    let (_database, client) = with_events().await;
    let login = "SELECT is_new_device FROM qsessions.login(NULL, 1, user_agent => $1, client_hints => $2::text::jsonb)";
    let hints = |model: &str| {
        format!(r#"{{"Sec-CH-UA-Platform": "\"Android\"", "Sec-CH-UA-Model": "\"{model}\""}}"#)
    };
    for (hints, expected) in [
        (None, true),
        (Some(hints("Pixel 8")), false),
        (None, false),
        (Some(hints("Pixel 8")), false),
    ] {
        let found: bool = row(&client, login, &[&REDUCED, &hints]).await.get(0);
        assert_eq!(found, expected, "{hints:?}");
    }
    let other = "SELECT is_new_device FROM qsessions.login(NULL, 2, user_agent => $1, client_hints => $2::text::jsonb)";
    for model in ["Pixel 8", "SM-S918B"] {
        assert!(
            row(&client, other, &[&REDUCED, &hints(model)])
                .await
                .get::<_, bool>(0)
        );
    }
}

#[tokio::test]
async fn a_session_that_keeps_its_user_agent_logs_in_from_it() {
    let (_database, client) = with_events().await;
    let login = "SELECT is_new_device FROM qsessions.login((
                     SELECT key FROM qsessions.create_session(user_agent => 'curl/8.5.0')), 1)";
    for expected in [true, false] {
        assert_eq!(row(&client, login, &[]).await.get::<_, bool>(0), expected);
    }
}

#[tokio::test]
async fn a_place_is_city_and_country() {
    let (database, client) = with_events().await;
    let folder = database
        .server()
        .folder()
        .join(format!("places-{}", database.name()));
    fs::create_dir(&folder).unwrap();
    database.server().installation().hand_over(&folder).unwrap();
    let networks = [
        ("192.0.2.0/25", mmdb::nested_city("Lund")),
        ("192.0.2.128/25", mmdb::nested_city("Ystad")),
        ("198.51.100.0/24", mmdb::nested_city("Lund")),
    ];
    let file = folder.join("cities.mmdb");
    fs::write(&file, mmdb::database("GeoLite2-City", &networks)).unwrap();
    use_path(&client, &folder).await;
    for (ip, expected) in [
        ("192.0.2.1", Some(true)),
        ("192.0.2.2", Some(false)),
        ("198.51.100.1", Some(false)),
        ("192.0.2.200", Some(true)),
        ("203.0.113.1", None),
        ("192.0.2.1", Some(false)),
    ] {
        assert_eq!(is_new_place(&client, ip).await, expected, "{ip}");
    }
    // The language of the connection does not count, nor does another name in a later file.
    client
        .batch_execute("SET qsessions.locale = 'de'")
        .await
        .unwrap();
    assert_eq!(is_new_place(&client, "192.0.2.1").await, Some(false));
    let renamed = [("192.0.2.0/25", mmdb::nested_city("Lund (Scania)"))];
    fs::write(&file, mmdb::database("GeoLite2-City", &renamed)).unwrap();
    use_path(&client, &folder).await;
    client
        .batch_execute("DELETE FROM qsessions.session")
        .await
        .unwrap();
    assert_eq!(is_new_place(&client, "192.0.2.1").await, Some(false));
    client
        .batch_execute(
            "DELETE FROM qsessions.session; DELETE FROM qsessions.session_event;
             DELETE FROM qsessions.session_event_known",
        )
        .await
        .unwrap();
    assert_eq!(is_new_place(&client, "192.0.2.1").await, Some(true));
}

#[tokio::test]
async fn sessions_that_are_older_than_the_table_count() {
    let database = Database::new().await;
    let client = database.connect().await;
    let call = format!("user_id => 1, user_agent => '{CHROME}'");
    let session = crate::common::begin(&client, &call).await;
    is_new_device(&client, 2, Some(CHROME)).await;
    is_new_device(&client, 3, Some(CHROME)).await;
    client.batch_execute(CREATE).await.unwrap();
    // The user's other session, and the session itself, which has another browser now.
    assert_eq!(
        is_new_device(&client, 2, Some(CHROME_LATER)).await,
        Some(false)
    );
    let login = "SELECT is_new_device FROM qsessions.login($1, 1, user_agent => $2)";
    let again = row(&client, login, &[&session.key, &CHROME_LATER]).await;
    assert!(!again.get::<_, bool>(0));
    // An expired session is no proof that the user has used the device.
    client
        .batch_execute("UPDATE qsessions.session SET expires_at = now() WHERE user_id = 3")
        .await
        .unwrap();
    assert_eq!(is_new_device(&client, 3, Some(CHROME)).await, Some(true));
}

#[tokio::test]
async fn a_device_is_known_by_older_logins_too() {
    let (_database, client) = with_events().await;
    is_new_device(&client, 1, Some(CHROME)).await;
    client
        .batch_execute(
            "UPDATE qsessions.session_event SET at = at - interval '100 days';
             DELETE FROM qsessions.session;
             INSERT INTO qsessions.session_event (event, session_id, user_id, device_key)
             SELECT 'login', gen_random_uuid(), '1', 'another' FROM generate_series(1, 900)",
        )
        .await
        .unwrap();
    client
        .batch_execute("CALL qsessions.purge()")
        .await
        .unwrap();
    assert_eq!(is_new_device(&client, 1, Some(CHROME)).await, Some(false));
}

#[tokio::test]
async fn a_change_of_the_rules_makes_no_new_devices() {
    let (_database, client) = with_events().await;
    is_new_device(&client, 1, Some(PIXEL)).await;
    client
        .batch_execute(
            "UPDATE qsessions.session_event SET device_key = 'as earlier rules had it'; DELETE FROM qsessions.session",
        )
        .await
        .unwrap();
    assert_eq!(is_new_device(&client, 1, Some(PIXEL)).await, Some(false));
    assert_eq!(is_new_device(&client, 1, Some(GALAXY)).await, Some(true));
}

#[tokio::test]
async fn a_second_login_waits_for_the_first_and_sees_its_device() {
    for (end, expected) in [("COMMIT", false), ("ROLLBACK", true)] {
        let (database, client) = with_events().await;
        client.batch_execute("BEGIN").await.unwrap();
        assert_eq!(is_new_device(&client, 1, Some(CHROME)).await, Some(true));
        let other = database.connect().await;
        let second = tokio::spawn(async move { is_new_device(&other, 1, Some(CHROME)).await });
        let watch = database.connect().await;
        until("the second login waits", async || {
            let waiting = "SELECT count(*) FROM pg_stat_activity
                           WHERE datname = current_database() AND wait_event_type = 'Lock'";
            row(&watch, waiting, &[]).await.get::<_, i64>(0) > 0
        })
        .await;
        client.batch_execute(end).await.unwrap();
        assert_eq!(second.await.unwrap(), Some(expected), "{end}");
    }
}

#[tokio::test]
async fn of_many_logins_at_once_exactly_one_is_from_a_new_device() {
    let (database, client) = with_events().await;
    for user_agent in [CHROME, PIXEL, GALAXY] {
        let mut logins = Vec::new();
        for _ in 0..8 {
            let client = database.connect().await;
            logins.push(tokio::spawn(async move {
                is_new_device(&client, 1, Some(user_agent)).await
            }));
        }
        let mut new = 0;
        for login in logins {
            new += i32::from(login.await.unwrap().unwrap());
        }
        assert_eq!(new, 1, "{user_agent}");
    }
    let recorded = "SELECT count(*) FROM qsessions.session_event WHERE is_new_device";
    assert_eq!(row(&client, recorded, &[]).await.get::<_, i64>(0), 3);
}
