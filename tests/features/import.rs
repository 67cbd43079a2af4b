//! import_session: sessions of another store continue under their keys.

use crate::common::waiting::{backend, blocked};
use crate::common::{Arguments, alive, begin, failure, row, sessions, texts};
use qsessions_testkit::{Database, Users};
use serde_json::{Value, json};
use std::net::IpAddr;
use tokio_postgres::Client;

async fn import(client: &Client, arguments: &str) -> bool {
    import_with(client, arguments, &[]).await
}

async fn import_with(client: &Client, arguments: &str, values: Arguments<'_>) -> bool {
    let statement = format!("SELECT qsessions.import_session({arguments})");
    row(client, &statement, values).await.get(0)
}

#[tokio::test]
async fn an_imported_session_has_everything_that_the_other_store_knew() {
    let database = Database::new().await;
    let client = database.connect().await;
    let imported = import(
        &client,
        r#"'key of express', 1, '{"cart": [1]}', '::ffff:192.0.2.1', 'curl/8.5.0',
           created_at => '2026-01-01Z', authenticated_at => '2026-01-02Z', last_seen_at => '2026-01-03Z',
           expires_at => '2200-01-01Z', client_hints => '{"Sec-CH-UA-Model": "\"Pixel 8\"", "other": "x"}'"#,
    )
    .await;
    assert!(imported);
    let found = row(
        &client,
        "SELECT l.*, s.client_hints,
                (l.created_at, l.authenticated_at, l.updated_at, l.last_seen_at, l.expires_at)
                = ('2026-01-01Z', '2026-01-02Z', '2026-01-03Z', '2026-01-03Z', '2200-01-01Z') AS as_given
         FROM qsessions.load_session('key of express') AS l JOIN qsessions.session AS s USING (id)",
        &[],
    )
    .await;
    assert_eq!(found.get::<_, String>("user_id"), "1");
    assert_eq!(found.get::<_, Value>("data"), json!({"cart": [1]}));
    assert_eq!(found.get::<_, IpAddr>("ip").to_string(), "192.0.2.1");
    assert_eq!(found.get::<_, String>("user_agent"), "curl/8.5.0");
    assert_eq!(found.get::<_, i64>("version"), 1);
    assert_eq!(
        found.get::<_, Value>("client_hints"),
        json!({"sec-ch-ua-model": "\"Pixel 8\""})
    );
    assert!(found.get::<_, bool>("as_given"));
}

#[tokio::test]
async fn an_import_can_be_repeated() {
    let database = Database::new().await;
    let client = database.connect().await;
    for _ in 0..2 {
        import(&client, "'key of express', 1, '{\"a\": 1}'").await;
        row(
            &client,
            "SELECT qsessions.patch_session('key of express', '{\"b\": 2}')",
            &[],
        )
        .await;
    }
    assert!(!import(&client, "'key of express', 2, '{\"c\": 3}'").await);
    let found = row(
        &client,
        "SELECT user_id, data, version FROM qsessions.load_session('key of express')",
        &[],
    )
    .await;
    assert_eq!(found.get::<_, String>(0), "1");
    assert_eq!(found.get::<_, Value>(1), json!({"a": 1, "b": 2}));
    assert_eq!(found.get::<_, i64>(2), 3);
}

#[tokio::test]
async fn a_native_key_can_be_imported() {
    let database = Database::new().await;
    let client = database.connect().await;
    let key = begin(&client, "").await.key;
    assert!(!import_with(&client, "$1", &[&key]).await);
    row(&client, "SELECT qsessions.logout($1)", &[&key]).await;
    assert!(import_with(&client, "$1", &[&key]).await);
    assert!(alive(&client, &key).await);
}

#[tokio::test]
async fn an_expired_session_is_not_imported() {
    let database = Database::new().await;
    let client = database.connect().await;
    for expires_at in ["now()", "now() - interval '1 s'", "'-infinity'", "'epoch'"] {
        let arguments = format!("'key of express', expires_at => {expires_at}");
        assert!(!import(&client, &arguments).await, "{expires_at}");
    }
    assert_eq!(sessions(&client).await, 0);
    // The row of a session that has expired here does not live again.
    assert!(import(&client, "'key of express'").await);
    client
        .batch_execute("UPDATE qsessions.session SET expires_at = now()")
        .await
        .unwrap();
    assert!(!import(&client, "'key of express'").await);
    assert!(!alive(&client, "key of express").await);
}

#[tokio::test]
async fn what_the_other_store_does_not_know_has_a_default() {
    let database = Database::new().await;
    let client = database.connect().await;
    client.batch_execute("BEGIN").await.unwrap();
    assert!(import(&client, "'key of express', data => NULL").await);
    let found: bool = row(
        &client,
        "SELECT user_id IS NULL AND data = '{}' AND ip IS NULL AND user_agent IS NULL AND created_at = now()
                AND authenticated_at IS NULL AND updated_at = now() AND last_seen_at = now()
                AND expires_at = now() + interval '14 days' AND idle_timeout IS NULL AND deadline = 'infinity'
         FROM qsessions.session",
        &[],
    )
    .await
    .get(0);
    assert!(found);
}

/// created_at, authenticated_at and last_seen_at, in days before now.
type Times = [Option<f64>; 3];

/// Each case has whether there is a user, the times of the other store, and those of the session.
#[tokio::test]
async fn times_are_put_in_order() {
    let database = Database::new().await;
    let client = database.connect().await;
    let cases: &[(bool, Times, Times)] = &[
        (
            true,
            [Some(3.), Some(2.), Some(1.)],
            [Some(3.), Some(2.), Some(1.)],
        ),
        // A clock that is ahead.
        (
            true,
            [Some(-1.), Some(-1.), Some(-1.)],
            [Some(0.), Some(0.), Some(0.)],
        ),
        (
            true,
            [Some(3.), Some(2.), Some(-1.)],
            [Some(3.), Some(2.), Some(0.)],
        ),
        // Unknown times. A login whose time is unknown counts as an old one.
        (
            true,
            [Some(3.), None, Some(1.)],
            [Some(3.), Some(3.), Some(1.)],
        ),
        (true, [Some(3.), None, None], [Some(3.), Some(3.), Some(3.)]),
        (true, [None, None, Some(1.)], [Some(1.), Some(1.), Some(1.)]),
        (true, [None, Some(2.), None], [Some(2.), Some(2.), Some(2.)]),
        (true, [None, None, None], [Some(0.), Some(0.), Some(0.)]),
        // Times that contradict each other.
        (
            true,
            [Some(1.), Some(2.), Some(3.)],
            [Some(3.), Some(2.), Some(1.)],
        ),
        (
            true,
            [Some(3.), Some(1.), Some(2.)],
            [Some(3.), Some(1.), Some(1.)],
        ),
        // A session without a user has no login.
        (
            false,
            [Some(3.), Some(2.), Some(1.)],
            [Some(3.), None, Some(1.)],
        ),
        (false, [None, None, Some(1.)], [Some(1.), None, Some(1.)]),
        (
            false,
            [Some(1.), None, Some(3.)],
            [Some(3.), None, Some(1.)],
        ),
    ];
    for (has_user, given, expected) in cases {
        client.batch_execute("BEGIN").await.unwrap();
        assert!(
            import_with(
                &client,
                "'key of express', CASE WHEN $1::boolean THEN 1 END,
                 created_at => now() - $2::float8 * interval '1 day',
                 authenticated_at => now() - $3::float8 * interval '1 day',
                 last_seen_at => now() - $4::float8 * interval '1 day'",
                &[has_user, &given[0], &given[1], &given[2]],
            )
            .await
        );
        let found = row(
            &client,
            "SELECT (extract(epoch FROM now() - created_at) / 86400)::float8,
                    (extract(epoch FROM now() - authenticated_at) / 86400)::float8,
                    (extract(epoch FROM now() - last_seen_at) / 86400)::float8,
                    updated_at = last_seen_at
             FROM qsessions.session",
            &[],
        )
        .await;
        let found_times: Times = [found.get(0), found.get(1), found.get(2)];
        assert_eq!(&found_times, expected, "{given:?}");
        assert!(found.get::<_, bool>(3));
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}

#[tokio::test]
async fn users_of_all_types_of_keys_are_imported() {
    const UUIDS: &[&str] = &["018fd1a3-0000-7000-8000-000000000001"];
    for (key_type, users, calls) in [
        (
            "bigint",
            &["1"][..],
            &["1", "'1'", "1::bigint", "1::smallint"][..],
        ),
        (
            "uuid",
            UUIDS,
            &[
                "'018fd1a3-0000-7000-8000-000000000001'",
                "uuid '018fd1a3-0000-7000-8000-000000000001'",
            ],
        ),
        ("text", &["ann"], &["'ann'", "varchar 'ann'"]),
    ] {
        let database = Database::with(Users::Keyed(key_type, users)).await;
        let client = database.connect().await;
        for (number, user) in calls.iter().enumerate() {
            assert!(
                import(&client, &format!("'key number {number}', {user}")).await,
                "{user}"
            );
        }
        let found = format!("SELECT count(*) FROM qsessions.user_sessions({})", calls[0]);
        let count: i64 = row(&client, &found, &[]).await.get(0);
        assert_eq!(usize::try_from(count).unwrap(), calls.len());
    }
}

#[tokio::test]
async fn what_cannot_be_imported_is_an_error() {
    let database = Database::new().await;
    let client = database.connect().await;
    client
        .batch_execute("SET qsessions.max_data_bytes = 100")
        .await
        .unwrap();
    for (arguments, code) in [
        ("NULL", "QS003"),
        ("'short'", "QS003"),
        ("repeat('x', 513)", "QS003"),
        ("'key of express', 4711", "23503"),
        ("'key of express', 'no number'", "22P02"),
        (
            "'key of express', data => jsonb_build_object('a', repeat('x', 200))",
            "QS004",
        ),
    ] {
        let statement = format!("SELECT qsessions.import_session({arguments})");
        let refused = failure(&client, &statement, &[]).await;
        assert_eq!(refused.code, code, "{arguments}");
        assert!(!format!("{refused:?}").contains("express"), "{refused:?}");
    }
    assert_eq!(sessions(&client).await, 0);
}

#[tokio::test]
async fn a_user_id_that_the_column_would_cut_is_refused() {
    let database = Database::with(Users::Keyed("varchar(3)", &["ann"])).await;
    let client = database.connect().await;
    let statement = "SELECT qsessions.import_session('key of express', 'ann ')";
    assert_eq!(failure(&client, statement, &[]).await.code, "22001");
}

#[tokio::test]
async fn revoke_user_sessions_ends_an_import_in_progress() {
    let database = Database::new().await;
    let (one, two, observer) = (
        database.connect().await,
        database.connect().await,
        database.connect().await,
    );
    one.batch_execute("BEGIN; SELECT qsessions.import_session('key of express', 1)")
        .await
        .unwrap();
    let pid = backend(&two).await;
    let revoke = "SELECT qsessions.revoke_user_sessions(1)";
    let (ended, ()) = tokio::join!(row(&two, revoke, &[]), async {
        blocked(&observer, pid).await;
        one.batch_execute("COMMIT").await.unwrap();
    });
    assert_eq!(ended.get::<_, i64>(0), 1);
    assert!(!alive(&observer, "key of express").await);
}

#[tokio::test]
async fn two_imports_at_once_bring_each_session_once() {
    let database = Database::new().await;
    let import = "SELECT count(*) FILTER (WHERE qsessions.import_session('key number ' || n))
                  FROM generate_series(1, 500) AS n";
    let (one, two) = (database.connect().await, database.connect().await);
    let (one, two) = tokio::join!(row(&one, import, &[]), row(&two, import, &[]));
    assert_eq!(one.get::<_, i64>(0) + two.get::<_, i64>(0), 500);
}

#[tokio::test]
async fn one_transaction_can_import_sessions_of_many_users() {
    let database = Database::with(Users::Unlinked).await;
    let client = database.connect().await;
    let imported: i64 = row(
        &client,
        "SELECT count(*) FILTER (WHERE qsessions.import_session('key number ' || n, n, last_seen_at => now()))
         FROM generate_series(1, 20000) AS n",
        &[],
    )
    .await
    .get(0);
    assert_eq!(imported, 20_000);
}

#[tokio::test]
async fn an_import_is_an_event_and_no_login() {
    let database = Database::new().await;
    let client = database.connect().await;
    client
        .batch_execute("SELECT qsessions.create_event_table()")
        .await
        .unwrap();
    for _ in 0..2 {
        import(&client, "'key of express', 1, ip => '192.0.2.1'").await;
    }
    let events = "SELECT format('%s %s', event, host(ip)) FROM qsessions.user_events(1)";
    assert_eq!(texts(&client, events).await, ["imported 192.0.2.1"]);
}
