//! record_visits: visits that an application has gathered are recorded as resume_session would.

mod batches;
mod concurrent;
mod for_cache;

use crate::common::listener::Listener;
use crate::common::{Begun, begin, failure, row};
use qsessions_testkit::Database;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tokio_postgres::Client;

/// Records one visit for each line: a number of minutes from now, then further columns as SQL, in
/// the order ip, user_agent, client_hints.
async fn record(client: &Client, session: &Begun, visits: &[(f64, &str, &str, &str)]) -> i64 {
    let values: Vec<String> = visits
        .iter()
        .enumerate()
        .map(|(number, (minutes, ip, user_agent, hints))| {
            format!("({number}, {minutes}::float8, {ip}::inet, {user_agent}::text, {hints}::jsonb)")
        })
        .collect();
    let statement = format!(
        "SELECT qsessions.record_visits(
             array_agg($1::uuid), array_agg(sha256(convert_to($2, 'UTF8'))), array_agg(ip), array_agg(agent),
             array_agg(now() + minutes * interval '1 minute' ORDER BY number), array_agg(hints))
         FROM (SELECT * FROM (VALUES {}) AS v (number, minutes, ip, agent, hints) ORDER BY number) AS v",
        values.join(", ")
    );
    row(client, &statement, &[&session.id, &session.key])
        .await
        .get(0)
}

/// Moves a session back in time, so that its next visit is due.
async fn age(client: &Client, session: &Begun, minutes: i32) {
    client
        .execute(
            "UPDATE qsessions.session SET
                 last_seen_at = last_seen_at - make_interval(mins => $2),
                 expires_at = expires_at - CASE WHEN idle_timeout IS NULL THEN interval '0'
                                                ELSE make_interval(mins => $2) END
             WHERE id = $1",
            &[&session.id, &minutes],
        )
        .await
        .unwrap();
}

/// A column of a session as text, or `null`.
async fn column(client: &Client, session: &Begun, expression: &str) -> String {
    let statement = format!(
        "SELECT coalesce(({expression})::text, 'null') FROM qsessions.session WHERE id = $1"
    );
    row(client, &statement, &[&session.id]).await.get(0)
}

async fn holds(client: &Client, session: &Begun, condition: &str) {
    assert_eq!(
        column(client, session, condition).await,
        "true",
        "{condition}"
    );
}

#[tokio::test]
async fn a_visit_is_recorded_as_resume_session_would() {
    let database = Database::new().await;
    let client = database.connect().await;
    let arguments =
        "user_id => 1, ip => '192.0.2.1', user_agent => 'one', idle_timeout => '1 hour'";
    let (visited, resumed) = (
        begin(&client, arguments).await,
        begin(&client, arguments).await,
    );
    for session in [&visited, &resumed] {
        age(&client, session, 10).await;
    }
    client.batch_execute("BEGIN").await.unwrap();
    let recorded = record(
        &client,
        &visited,
        &[(
            0.,
            "'::ffff:192.0.2.2'",
            "repeat('two', 200)",
            r#"'{"Sec-CH-UA-Mobile": "?0"}'"#,
        )],
    )
    .await;
    assert_eq!(recorded, 1);
    row(
        &client,
        r#"SELECT id FROM qsessions.resume_session($1, '192.0.2.2', repeat('two', 200), '{"sec-ch-ua-mobile": "?0"}')"#,
        &[&resumed.key],
    )
    .await;
    client.batch_execute("COMMIT").await.unwrap();
    let columns = "(ip, user_agent, client_hints, last_seen_at, expires_at, updated_at = created_at, version)";
    let same = column(&client, &visited, columns).await;
    assert_eq!(same, column(&client, &resumed, columns).await);
    holds(
        &client,
        &visited,
        "ip = '192.0.2.2' AND char_length(user_agent) = 512",
    )
    .await;
    holds(
        &client,
        &visited,
        "expires_at = last_seen_at + interval '1 hour'",
    )
    .await;
}

#[tokio::test]
async fn a_visit_that_changes_nothing_writes_nothing() {
    let database = Database::new().await;
    let client = database.connect().await;
    let hints = r#"'{"sec-ch-ua-mobile": "?0"}'"#;
    let session = begin(
        &client,
        &format!("ip => '192.0.2.1', user_agent => 'one', client_hints => {hints}"),
    )
    .await;
    let before = column(&client, &session, "ctid::text || xmax::text").await;
    for visit in [
        (0., "NULL", "NULL", "NULL"),
        (0., "'192.0.2.1'", "'one'", hints),
        (0., "NULL", "NULL", r#"'{"no": "hint"}'"#),
        (0., "NULL", "NULL", "'[]'"),
        // Older than what the session knows.
        (
            -5.,
            "'192.0.2.2'",
            "'two'",
            r#"'{"sec-ch-ua-mobile": "?1"}'"#,
        ),
        (-1e9, "'192.0.2.2'", "'two'", "NULL"),
    ] {
        assert_eq!(record(&client, &session, &[visit]).await, 0, "{visit:?}");
    }
    assert_eq!(
        column(&client, &session, "ctid::text || xmax::text").await,
        before
    );
    // A visit that shows something new, and one that is due.
    assert_eq!(
        record(&client, &session, &[(0., "'192.0.2.2'", "NULL", "NULL")]).await,
        1
    );
    assert_eq!(
        record(&client, &session, &[(0., "NULL", "'two'", "NULL")]).await,
        1
    );
    age(&client, &session, 2).await;
    assert_eq!(
        record(&client, &session, &[(0., "NULL", "NULL", "NULL")]).await,
        1
    );
}

#[tokio::test]
async fn the_last_of_each_column_counts() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "ip => '192.0.2.1', user_agent => 'zero'").await;
    age(&client, &session, 60).await;
    let recorded = record(
        &client,
        &session,
        &[
            (-10., "'192.0.2.4'", "NULL", "NULL"),
            (-30., "'192.0.2.2'", "'one'", "NULL"),
            (-20., "'192.0.2.3'", "'two'", "NULL"),
            (-5., "NULL", "NULL", "NULL"),
        ],
    )
    .await;
    assert_eq!(recorded, 1);
    holds(&client, &session, "ip = '192.0.2.4' AND user_agent = 'two'").await;
    // A visitor that goes to another network and comes back.
    let there_and_back = [
        (-2., "'192.0.2.9'", "NULL", "NULL"),
        (-1., "'192.0.2.4'", "NULL", "NULL"),
    ];
    record(&client, &session, &there_and_back).await;
    holds(&client, &session, "ip = '192.0.2.4'").await;
    // Of two at the same time, the later in the arrays.
    let same_time = [
        (0., "'192.0.2.5'", "NULL", "NULL"),
        (0., "'192.0.2.6'", "NULL", "NULL"),
    ];
    record(&client, &session, &same_time).await;
    holds(&client, &session, "ip = '192.0.2.6'").await;
}

#[tokio::test]
async fn hints_of_the_last_browser_are_kept() {
    let database = Database::new().await;
    let client = database.connect().await;
    let hints = |model: &str| format!(r#"'{{"sec-ch-ua-model": "{model}"}}'"#);
    let (a, b) = (hints("a"), hints("b"));
    for (visits, expected) in [
        (
            vec![
                (-2., "NULL", "'A'", a.as_str()),
                (-1., "NULL", "'B'", b.as_str()),
            ],
            json!({"sec-ch-ua-model": "b"}),
        ),
        (
            vec![
                (-2., "NULL", "'A'", a.as_str()),
                (-1., "NULL", "'B'", "NULL"),
            ],
            Value::Null,
        ),
        (
            vec![
                (-2., "NULL", "'A'", a.as_str()),
                (-1., "NULL", "NULL", "NULL"),
            ],
            json!({"sec-ch-ua-model": "a"}),
        ),
        (
            vec![(-1., "NULL", "NULL", a.as_str())],
            json!({"sec-ch-ua-mobile": "?0", "sec-ch-ua-model": "a"}),
        ),
    ] {
        let session = begin(
            &client,
            r#"user_agent => 'Z', client_hints => '{"sec-ch-ua-mobile": "?0"}'"#,
        )
        .await;
        age(&client, &session, 60).await;
        assert_eq!(record(&client, &session, &visits).await, 1);
        let kept: Option<Value> = row(
            &client,
            "SELECT client_hints FROM qsessions.session WHERE id = $1",
            &[&session.id],
        )
        .await
        .get(0);
        assert_eq!(kept.unwrap_or_default(), expected, "{visits:?}");
    }
}

#[tokio::test]
async fn times_never_go_back_and_never_ahead() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "idle_timeout => '1 hour', max_age => '90 minutes'").await;
    age(&client, &session, 30).await;
    let times = "(last_seen_at, expires_at)";
    record(&client, &session, &[(-10., "'192.0.2.1'", "NULL", "NULL")]).await;
    let before = column(&client, &session, times).await;
    assert_eq!(
        record(&client, &session, &[(-20., "'192.0.2.2'", "NULL", "NULL")]).await,
        0
    );
    assert_eq!(column(&client, &session, times).await, before);
    holds(
        &client,
        &session,
        "expires_at = last_seen_at + interval '1 hour' AND ip = '192.0.2.1'",
    )
    .await;

    client.batch_execute("BEGIN").await.unwrap();
    record(&client, &session, &[(10_000., "NULL", "NULL", "NULL")]).await;
    holds(
        &client,
        &session,
        "last_seen_at = now() AND expires_at = now() + interval '1 hour'",
    )
    .await;
    client.batch_execute("COMMIT").await.unwrap();

    // A save has set a later expiry, and the deadline bounds it.
    row(
        &client,
        "SELECT qsessions.save_session($1, '{}', ttl => '80 minutes')",
        &[&session.key],
    )
    .await;
    let expires_at = column(&client, &session, "expires_at").await;
    record(&client, &session, &[(0., "'192.0.2.3'", "NULL", "NULL")]).await;
    assert_eq!(column(&client, &session, "expires_at").await, expires_at);
    client
        .batch_execute("UPDATE qsessions.session SET deadline = now() + interval '70 minutes', expires_at = now() + interval '1 minute', last_seen_at = now() - interval '59 minutes', idle_timeout = '2 hours'")
        .await
        .unwrap();
    record(&client, &session, &[(0., "NULL", "NULL", "NULL")]).await;
    holds(&client, &session, "expires_at = deadline").await;

    // A fixed expiry stays.
    let fixed = begin(&client, "ttl => '1 hour'").await;
    let expires_at = column(&client, &fixed, "expires_at").await;
    assert_eq!(
        record(&client, &fixed, &[(0., "'192.0.2.1'", "NULL", "NULL")]).await,
        1
    );
    assert_eq!(column(&client, &fixed, "expires_at").await, expires_at);
}

#[tokio::test]
async fn a_clock_that_is_a_little_behind_does_not_matter() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "idle_timeout => '1 hour'").await;
    let times = "(last_seen_at, expires_at)";
    let before = column(&client, &session, times).await;
    let behind = [(
        -0.5,
        "'192.0.2.1'",
        "'one'",
        r#"'{"sec-ch-ua-mobile": "?0"}'"#,
    )];
    assert_eq!(record(&client, &session, &behind).await, 1);
    holds(
        &client,
        &session,
        "ip = '192.0.2.1' AND user_agent = 'one' AND client_hints IS NOT NULL",
    )
    .await;
    assert_eq!(column(&client, &session, times).await, before);
    // Of a short idle timeout, a quarter.
    let short = begin(&client, "idle_timeout => '1 minute'").await;
    assert_eq!(record(&client, &short, &behind).await, 0);
    client
        .batch_execute("SET qsessions.touch_interval = 0")
        .await
        .unwrap();
    let exact = begin(&client, "").await;
    assert_eq!(
        record(&client, &exact, &[(-0.001, "'192.0.2.1'", "NULL", "NULL")]).await,
        0
    );
}

#[tokio::test]
async fn sessions_that_are_gone_and_rotated_keys_are_left_out() {
    let database = Database::new().await;
    let client = database.connect().await;
    let visit = [(0., "'192.0.2.1'", "NULL", "NULL")];
    let (gone, expired, rotated) = (
        begin(&client, "").await,
        begin(&client, "idle_timeout => '1 hour'").await,
        begin(&client, "").await,
    );
    row(&client, "SELECT qsessions.logout($1)", &[&gone.key]).await;
    client
        .execute(
            "UPDATE qsessions.session SET expires_at = now() WHERE id = $1",
            &[&expired.id],
        )
        .await
        .unwrap();
    row(&client, "SELECT qsessions.rotate_key($1)", &[&rotated.key]).await;
    for session in [&gone, &expired, &rotated] {
        assert_eq!(record(&client, session, &visit).await, 0);
        // Nor a visit from before it expired.
        assert_eq!(
            record(&client, session, &[(-0.01, "'192.0.2.1'", "NULL", "NULL")]).await,
            0
        );
    }
    holds(&client, &expired, "expires_at <= now() AND ip IS NULL").await;
    holds(&client, &rotated, "ip IS NULL").await;
}

#[tokio::test]
async fn visits_by_a_former_key_count_during_its_grace() {
    let database = Database::new().await;
    let client = database.connect().await;
    let former = begin(&client, "").await;
    let rotate = "SELECT qsessions.rotate_key($1, grace => '1 minute')";
    let key: String = row(&client, rotate, &[&former.key]).await.get(0);
    let present = Begun { key, id: former.id };
    assert_eq!(
        record(&client, &former, &[(0., "'192.0.2.1'", "NULL", "NULL")]).await,
        1
    );
    assert_eq!(
        record(&client, &present, &[(0., "'192.0.2.2'", "NULL", "NULL")]).await,
        1
    );
    // Visits by both keys in one call.
    let both = "SELECT qsessions.record_visits(
                    ARRAY[$1, $1]::uuid[], ARRAY[sha256(convert_to($2, 'UTF8')), sha256(convert_to($3, 'UTF8'))],
                    '{192.0.2.4,192.0.2.3}', '{one,NULL}', ARRAY[now() + interval '1 s', now()])";
    let recorded = row(&client, both, &[&former.id, &former.key, &present.key]).await;
    assert_eq!(recorded.get::<_, i64>(0), 1);
    holds(&client, &present, "user_agent = 'one'").await;
    client
        .batch_execute("UPDATE qsessions.session SET former_digest_until = now()")
        .await
        .unwrap();
    assert_eq!(
        record(&client, &former, &[(0., "'192.0.2.5'", "NULL", "NULL")]).await,
        0
    );
}

#[tokio::test]
async fn null_elements_are_left_out() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "").await;
    let recorded: i64 = row(
        &client,
        "SELECT qsessions.record_visits(
             ARRAY[NULL, $1, $1, $1]::uuid[],
             ARRAY[d, NULL, d, d], '{192.0.2.1,192.0.2.2,192.0.2.3,192.0.2.4}', '{a,b,c,NULL}',
             ARRAY[now(), now(), NULL, now()], ARRAY[NULL, NULL, NULL, NULL]::jsonb[])
         FROM sha256(convert_to($2, 'UTF8')) AS d",
        &[&session.id, &session.key],
    )
    .await
    .get(0);
    assert_eq!(recorded, 1);
    holds(&client, &session, "ip = '192.0.2.4' AND user_agent IS NULL").await;
    let nothing = "SELECT qsessions.record_visits('{}', '{}', '{}', '{}', '{}', '{}')";
    assert_eq!(row(&client, nothing, &[]).await.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn arrays_that_do_not_match_are_an_error() {
    let database = Database::new().await;
    let client = database.connect().await;
    let columns = [
        "ids",
        "digests",
        "ips",
        "user_agents",
        "seen_at",
        "client_hints",
    ];
    for (number, name) in columns.iter().enumerate() {
        for (value, code) in [("NULL", "22004"), ("'{NULL,NULL}'", "22023")] {
            let mut arguments = ["'{NULL}'"; 6];
            arguments[number] = value;
            let call = format!("SELECT qsessions.record_visits({})", arguments.join(", "));
            if *name == "client_hints" && value == "NULL" {
                assert_eq!(row(&client, &call, &[]).await.get::<_, i64>(0), 0);
                continue;
            }
            let refused = failure(&client, &call, &[]).await;
            assert_eq!(refused.code, code, "{call}");
            // If the ids differ from all others, the message names the first of these.
            let named = if *name == "ids" && code == "22023" {
                "digests"
            } else {
                name
            };
            assert!(
                refused
                    .message
                    .starts_with(&format!("argument \"{named}\"")),
                "{refused:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_visit_announces_what_resume_session_announces() {
    let database = Database::new().await;
    let client = database.connect().await;
    let mut listener = Listener::new(database.config()).await;
    let session = begin(&client, "idle_timeout => '1 hour'").await;
    age(&client, &session, 10).await;
    listener.notified().await;
    record(&client, &session, &[(0., "NULL", "NULL", "NULL")]).await;
    assert_eq!(listener.notified().await, BTreeSet::new());
    record(&client, &session, &[(0., "'192.0.2.1'", "NULL", "NULL")]).await;
    assert_eq!(
        listener.notified().await,
        BTreeSet::from([session.id.to_string()])
    );
}
