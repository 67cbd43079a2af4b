//! Expiry: fixed and sliding, up to a deadline; invalid intervals are refused.

use crate::common::{alive, begin, failure, row};
use qsessions_testkit::{Database, Users};
use tokio_postgres::Client;

/// Seconds from now to a timestamp of the only session; `None` for infinity.
async fn seconds_to(client: &Client, column: &str) -> Option<f64> {
    let statement = format!(
        "SELECT CASE WHEN isfinite({column}) THEN extract(epoch FROM {column} - now())::float8 END
         FROM qsessions.session"
    );
    row(client, &statement, &[]).await.get(0)
}

async fn in_a_transaction(calls: &[&str]) -> (Option<f64>, Option<f64>) {
    let database = Database::new().await;
    let client = database.connect().await;
    // now() is constant within a transaction, so the differences are exact.
    client.batch_execute("BEGIN").await.unwrap();
    client.batch_execute(&calls.join(";")).await.unwrap();
    (
        seconds_to(&client, "expires_at").await,
        seconds_to(&client, "deadline").await,
    )
}

#[tokio::test]
async fn expires_at_and_deadline_follow_from_the_arguments() {
    const DAY: f64 = 86400.0;
    for (arguments, expires, deadline) in [
        ("", 14.0 * DAY, None),
        ("ttl => '1 hour'", 3600.0, None),
        ("idle_timeout => '30 min'", 1800.0, None),
        ("max_age => '1 day'", DAY, Some(DAY)),
        ("ttl => '1 hour', max_age => '1 day'", 3600.0, Some(DAY)),
        (
            "idle_timeout => '2 days', max_age => '1 day'",
            DAY,
            Some(DAY),
        ),
    ] {
        let call = format!("SELECT qsessions.create_session({arguments})");
        assert_eq!(
            in_a_transaction(&[&call]).await,
            (Some(expires), deadline),
            "{arguments}"
        );
    }
    let with_setting = [
        "SET LOCAL qsessions.default_ttl = '2 hours'",
        "SELECT qsessions.create_session()",
    ];
    assert_eq!(in_a_transaction(&with_setting).await, (Some(7200.0), None));
}

#[tokio::test]
async fn invalid_intervals_are_refused() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "").await;
    for (arguments, code, names) in [
        ("ttl => '0'", "22023", "ttl"),
        ("ttl => '-1 second'", "22023", "ttl"),
        ("ttl => '-100000000 years'", "22023", "ttl"),
        ("ttl => '1 month -30 days'", "22023", "ttl"),
        ("idle_timeout => '0 s'", "22023", "idle_timeout"),
        ("max_age => '-1 day'", "22023", "max_age"),
        ("ttl => '200000 years'", "22015", "ttl"),
        ("idle_timeout => '170000000 years'", "22015", "idle_timeout"),
        ("max_age => '100001 years'", "22015", "max_age"),
        (
            "ttl => '1 hour', idle_timeout => '1 hour'",
            "22023",
            "ttl\" and \"idle_timeout",
        ),
    ] {
        for call in [
            format!("SELECT qsessions.create_session({arguments})"),
            format!("SELECT qsessions.set_expiry($1, {arguments})"),
        ] {
            let key: &[&(dyn tokio_postgres::types::ToSql + Sync)] = if call.contains("$1") {
                &[&session.key]
            } else {
                &[]
            };
            let refused = failure(&client, &call, key).await;
            assert_eq!(refused.code, code, "{call}: {refused:?}");
            assert!(
                refused.message.contains(&format!("\"{names}\"")),
                "{call}: {refused:?}"
            );
            assert!(!refused.hint.is_empty(), "{call}: {refused:?}");
        }
    }
    let refused = failure(
        &client,
        "SELECT qsessions.save_session($1, '{}', ttl => '-1 s')",
        &[&session.key],
    )
    .await;
    assert_eq!(refused.code, "22023");
    let refused = failure(&client, "SELECT qsessions.set_expiry($1)", &[&session.key]).await;
    assert_eq!(refused.code, "22023");
    let malformed = failure(
        &client,
        "SELECT qsessions.create_session(ttl => 'soon')",
        &[],
    )
    .await;
    assert_eq!(malformed.code, "22007");
    begin(&client, "ttl => '100000 years'").await;
}

#[tokio::test]
async fn a_session_is_dead_from_expires_at_on() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "user_id => 1").await;
    client
        .batch_execute("BEGIN; UPDATE qsessions.session SET expires_at = now()")
        .await
        .unwrap();
    assert!(!alive(&client, &session.key).await);
    let rows = client
        .query("SELECT qsessions.resume_session($1)", &[&session.key])
        .await
        .unwrap();
    assert!(rows.is_empty());
    assert!(
        client
            .query("SELECT qsessions.user_sessions(1)", &[])
            .await
            .unwrap()
            .is_empty()
    );
    client
        .batch_execute("UPDATE qsessions.session SET expires_at = now() + interval '1 us'")
        .await
        .unwrap();
    assert!(alive(&client, &session.key).await);
    client
        .batch_execute("UPDATE qsessions.session SET expires_at = now()")
        .await
        .unwrap();
    let gone = failure(
        &client,
        "SELECT qsessions.save_session($1, '{}')",
        &[&session.key],
    )
    .await;
    assert_eq!(gone.code, "QS001");
}

#[tokio::test]
async fn logout_and_revoke_treat_an_expired_session_as_missing() {
    let database = Database::new().await;
    let client = database.connect().await;
    let a = begin(&client, "user_id => 1").await;
    let b = begin(&client, "user_id => 1").await;
    begin(&client, "user_id => 1").await;
    client
        .batch_execute("UPDATE qsessions.session SET expires_at = now()")
        .await
        .unwrap();
    assert!(
        !row(&client, "SELECT qsessions.logout($1)", &[&a.key])
            .await
            .get::<_, bool>(0)
    );
    assert!(
        !row(&client, "SELECT qsessions.revoke_session($1)", &[&b.id])
            .await
            .get::<_, bool>(0)
    );
    let ended: i64 = row(&client, "SELECT qsessions.revoke_user_sessions(1)", &[])
        .await
        .get(0);
    assert_eq!(ended, 0);
    let rows: i64 = row(&client, "SELECT count(*) FROM qsessions.session", &[])
        .await
        .get(0);
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn activity_slides_an_idle_timeout_up_to_the_deadline() {
    for activity in [
        "SELECT qsessions.resume_session('a foreign key')",
        "SELECT qsessions.save_session('a foreign key', '{}')",
        "SELECT qsessions.patch_session('a foreign key')",
        "SELECT qsessions.login('a foreign key', 1)",
    ] {
        for (idle, deadline, expires) in [("1 hour", "1 day", 3600.0), ("1 hour", "10 min", 600.0)]
        {
            let create = format!(
                "SELECT qsessions.create_session(idle_timeout => '{idle}', key => 'a foreign key')"
            );
            let age = format!(
                "UPDATE qsessions.session SET last_seen_at = now() - interval '20 min',
                 expires_at = now() + interval '5 min', deadline = now() + interval '{deadline}'"
            );
            let (left, _) = in_a_transaction(&[&create, &age, activity]).await;
            assert_eq!(left, Some(expires), "{activity}");
        }
        // A fixed expiry does not change.
        let create = "SELECT qsessions.create_session(ttl => '1 hour', key => 'a foreign key')";
        let age = "UPDATE qsessions.session SET last_seen_at = now() - interval '20 min',
                   expires_at = now() + interval '5 min'";
        assert_eq!(
            in_a_transaction(&[create, age, activity]).await.0,
            Some(300.0),
            "{activity}"
        );
    }
}

#[tokio::test]
async fn an_idle_timeout_shorter_than_the_touch_interval_slides() {
    let create = "SELECT qsessions.create_session(idle_timeout => '10 s', key => 'a foreign key')";
    let age = "UPDATE qsessions.session SET last_seen_at = now() - interval '3 s',
               expires_at = now() + interval '7 s'";
    let resume = "SELECT qsessions.resume_session('a foreign key')";
    assert_eq!(in_a_transaction(&[create, age, resume]).await.0, Some(10.0));
}

#[tokio::test]
async fn a_save_with_ttl_sets_the_expiry() {
    let create = "SELECT qsessions.create_session(ttl => '1 hour', max_age => '1 day', key => 'a foreign key')";
    let save = "SELECT qsessions.save_session('a foreign key', '{}', ttl => '2 hours')";
    assert_eq!(in_a_transaction(&[create, save]).await.0, Some(7200.0));
    let save = "SELECT qsessions.save_session('a foreign key', '{}', ttl => '2 days')";
    assert_eq!(in_a_transaction(&[create, save]).await.0, Some(86400.0));
}

#[tokio::test]
async fn set_expiry_replaces_the_expiry() {
    let create = "SELECT qsessions.create_session(ttl => '1 hour', key => 'a foreign key')";
    for (arguments, expires, deadline) in [
        ("ttl => '2 hours'", 7200.0, None),
        ("idle_timeout => '10 min'", 600.0, None),
        ("max_age => '30 min'", 1800.0, Some(1800.0)),
        ("max_age => '3 hours'", 3600.0, Some(10800.0)),
        (
            "ttl => '2 hours', max_age => '90 min'",
            5400.0,
            Some(5400.0),
        ),
    ] {
        let set = format!("SELECT qsessions.set_expiry('a foreign key', {arguments})");
        assert_eq!(
            in_a_transaction(&[create, &set]).await,
            (Some(expires), deadline),
            "{arguments}"
        );
    }
    // The last call decides whether the expiry is sliding or fixed.
    let idle = "SELECT qsessions.set_expiry('a foreign key', idle_timeout => '10 min')";
    let fixed = "SELECT qsessions.set_expiry('a foreign key', ttl => '10 min')";
    let age = "UPDATE qsessions.session SET last_seen_at = now() - interval '5 min',
               expires_at = now() + interval '5 min'";
    let resume = "SELECT qsessions.resume_session('a foreign key')";
    assert_eq!(
        in_a_transaction(&[create, idle, age, resume]).await.0,
        Some(600.0)
    );
    assert_eq!(
        in_a_transaction(&[create, idle, fixed, age, resume])
            .await
            .0,
        Some(300.0)
    );
}

#[tokio::test]
async fn infinite_timestamps_are_supported() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "user_id => 1").await;
    client
        .batch_execute("UPDATE qsessions.session SET expires_at = 'infinity'")
        .await
        .unwrap();
    assert!(alive(&client, &session.key).await);
    row(
        &client,
        "SELECT qsessions.save_session($1, '{}')",
        &[&session.key],
    )
    .await;
    row(&client, "SELECT * FROM qsessions.user_sessions(1)", &[]).await;
    row(&client, "SELECT * FROM qsessions.stats()", &[]).await;
    client
        .batch_execute("UPDATE qsessions.session SET expires_at = '-infinity'")
        .await
        .unwrap();
    assert!(!alive(&client, &session.key).await);
    let purged: i64 = row(&client, "SELECT qsessions.purge_expired()", &[])
        .await
        .get(0);
    assert_eq!(purged, 1);
}

#[tokio::test]
async fn an_expired_session_does_not_block_its_key() {
    let database = Database::new().await;
    let client = database.connect().await;
    begin(&client, "key => 'a foreign key', data => '{\"old\": 1}'").await;
    client
        .batch_execute("UPDATE qsessions.session SET expires_at = now()")
        .await
        .unwrap();
    begin(&client, "key => 'a foreign key'").await;
    let data: serde_json::Value = row(
        &client,
        "SELECT data FROM qsessions.load_session('a foreign key')",
        &[],
    )
    .await
    .get(0);
    assert_eq!(data, serde_json::json!({}));
}

#[tokio::test]
async fn login_sets_the_expiry_from_its_arguments() {
    for (before, expires) in [
        ("ttl => '1 hour'", 600.0),
        ("idle_timeout => '1 hour'", 600.0),
    ] {
        let create = format!("SELECT qsessions.create_session({before}, key => 'a foreign key')");
        let login = "SELECT qsessions.login('a foreign key', 1, idle_timeout => '10 min')";
        assert_eq!(
            in_a_transaction(&[&create, login]).await.0,
            Some(expires),
            "{before}"
        );
    }
    let login = "SELECT qsessions.login(NULL, 1, ttl => '10 min', max_age => '5 min')";
    assert_eq!(in_a_transaction(&[login]).await, (Some(300.0), Some(300.0)));
}

/// Timestamps of the only session, in microseconds since 1970.
async fn times(client: &Client) -> [i64; 3] {
    let times = row(
        client,
        "SELECT (extract(epoch FROM updated_at) * 1e6)::bigint,
                (extract(epoch FROM last_seen_at) * 1e6)::bigint,
                (extract(epoch FROM expires_at) * 1e6)::bigint
         FROM qsessions.session",
        &[],
    )
    .await;
    [0, 1, 2].map(|column| times.get(column))
}

#[tokio::test]
async fn an_older_transaction_does_not_move_timestamps_back() {
    let database = Database::new().await;
    let (client, older) = (database.connect().await, database.connect().await);
    for (create, newer) in [
        (
            "idle_timeout => '1 hour'",
            "SELECT qsessions.patch_session($1)",
        ),
        (
            "idle_timeout => '1 hour'",
            "SELECT qsessions.set_expiry($1, idle_timeout => '1 hour')",
        ),
        (
            "ttl => '1 hour'",
            "SELECT qsessions.save_session($1, '{}', ttl => '1 hour')",
        ),
    ] {
        for write in [
            "SELECT qsessions.patch_session($1)",
            "SELECT qsessions.save_session($1, '{}', ttl => '1 hour')",
            "SELECT FROM qsessions.resume_session($1, ip => '192.0.2.1')",
            "SELECT qsessions.set_expiry($1, idle_timeout => '1 hour')",
            "SELECT FROM qsessions.login($1, 1)",
        ] {
            let session = begin(&client, create).await;
            older
                .batch_execute("BEGIN; SELECT FROM qsessions.session")
                .await
                .unwrap();
            row(&client, newer, &[&session.key]).await;
            let before = times(&client).await;
            row(&older, write, &[&session.key]).await;
            older.batch_execute("COMMIT").await.unwrap();
            let after = times(&client).await;
            for (before, after) in before.into_iter().zip(after) {
                assert!(
                    before <= after,
                    "{newer}, then {write}: {before} to {after}"
                );
            }
            client
                .batch_execute("TRUNCATE qsessions.session")
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn set_expiry_can_shorten_the_expiry() {
    for shorten in [
        "SELECT qsessions.set_expiry('a foreign key', ttl => '10 min')",
        "SELECT qsessions.set_expiry('a foreign key', idle_timeout => '10 min')",
        "SELECT qsessions.save_session('a foreign key', '{}', ttl => '10 min')",
    ] {
        let create =
            "SELECT qsessions.create_session(key => 'a foreign key', idle_timeout => '1 h')";
        assert_eq!(
            in_a_transaction(&[create, shorten]).await.0,
            Some(600.0),
            "{shorten}"
        );
    }
}

/// Intervals are added at UTC, so a clock change in the time zone of the connection does not matter.
#[tokio::test]
async fn a_day_always_has_24_hours() {
    // Of these numbers of days, at least one ends at another time of the year than it begins.
    for days in [60, 120, 180, 240] {
        let create = format!(
            "SELECT qsessions.create_session(ttl => '{days} days', key => 'a foreign key')"
        );
        let idle = create.replace("ttl", "idle_timeout");
        let age = "UPDATE qsessions.session SET last_seen_at = now() - interval '2 hours'";
        let zone = "SET LOCAL timezone = 'Europe/Berlin'";
        let default_ttl = format!("SET LOCAL qsessions.default_ttl = '{days} days'");
        for calls in [
            vec![create.as_str()],
            vec![&idle],
            vec![
                &idle,
                age,
                "SELECT qsessions.resume_session('a foreign key')",
            ],
            vec![
                &idle,
                age,
                "SELECT qsessions.patch_session('a foreign key')",
            ],
            vec![&default_ttl, "SELECT qsessions.create_session()"],
            vec![
                &default_ttl,
                "SELECT qsessions.import_session('a foreign key')",
            ],
            vec![
                "SELECT qsessions.create_session(key => 'a foreign key')",
                &format!(
                    "SELECT qsessions.save_session('a foreign key', '{{}}', ttl => '{days} days')"
                ),
            ],
            vec![
                "SELECT qsessions.create_session(key => 'a foreign key')",
                &format!("SELECT qsessions.set_expiry('a foreign key', ttl => '{days} days')"),
            ],
        ] {
            let all: Vec<&str> = std::iter::once(zone).chain(calls).collect();
            let (left, _) = in_a_transaction(&all).await;
            assert_eq!(left, Some(86400.0 * f64::from(days)), "{all:?}");
        }
    }
}

#[tokio::test]
async fn intervals_are_added_as_postgres_adds_them_at_utc() {
    let client = Database::with(Users::Nothing).await.connect().await;
    let differences: i64 = row(
        &client,
        "SELECT count(*)
         FROM (VALUES ('2027-01-31 10:00+00'), ('2028-02-29 23:59:59.999999+00'), ('2027-03-27 12:00+00'), ('epoch'),
                      ('infinity'), ('-infinity'), ('4713-01-01 00:00+00 BC'), ('290000-01-01 00:00+00'))
              AS m (moment)
         CROSS JOIN (VALUES ('1 microsecond'), ('1 day'), ('1 month'), ('12 years'), ('1 month -30 days 5 hours'),
                            ('-1 day'), ('100 years 3 days'), ('0')) AS s (span)
         WHERE qsessions._plus(m.moment::timestamptz, s.span::interval)
               IS DISTINCT FROM (m.moment::timestamptz AT TIME ZONE 'UTC' + s.span::interval) AT TIME ZONE 'UTC'",
        &[],
    )
    .await
    .get(0);
    assert_eq!(differences, 0);
    let beyond = failure(
        &client,
        "SELECT qsessions._plus('294276-12-31 23:00+00', '2 days')",
        &[],
    )
    .await;
    assert_eq!(beyond.code, "22008");
}
