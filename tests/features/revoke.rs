//! revoke_sessions: ends all sessions that fit the filters.

use crate::common::roles::application;
use crate::common::waiting::{backend, blocked};
use crate::common::{alive, begin, failure, row, sessions, texts};
use futures_util::future::join_all;
use qsessions_testkit::Database;
use tokio_postgres::Client;

async fn revoke(client: &Client, arguments: &str) -> i64 {
    let statement = format!("SELECT qsessions.revoke_sessions({arguments})");
    row(client, &statement, &[]).await.get(0)
}

#[tokio::test]
async fn only_sessions_that_fit_every_filter_end() {
    let database = Database::new().await;
    let client = database.connect().await;
    // Of each pair of arguments and filters, the sessions that stay.
    for (filters, stays) in [
        ("user_id => 1", &["c", "d", "e"][..]),
        ("'1'", &["c", "d", "e"]),
        ("ip => '192.0.2.0/24'", &["d", "e"]),
        ("ip => '::ffff:192.0.2.0/120'", &["d", "e"]),
        ("ip => '192.0.2.1'", &["b", "c", "d", "e"]),
        ("user_agent => 'curl/%'", &["c", "d", "e"]),
        ("user_agent => 'CURL/%'", &["a", "b", "c", "d", "e"]),
        (
            "created_before => now() - interval '1 day'",
            &["b", "d", "e"],
        ),
        (
            "last_seen_before => now() - interval '1 hour'",
            &["b", "c", "d", "e"],
        ),
        ("created_before => 'infinity'", &[]),
        (
            "user_id => 1, ip => '192.0.2.0/24', user_agent => '%'",
            &["c", "d", "e"],
        ),
        (
            "user_id => 2, ip => '192.0.2.1'",
            &["a", "b", "c", "d", "e"],
        ),
        (
            "ip => '192.0.2.0/24', created_before => now() - interval '1 day'",
            &["b", "d", "e"],
        ),
        (
            "user_id => NULL::bigint, ip => '192.0.2.1'",
            &["b", "c", "d", "e"],
        ),
    ] {
        client
            .batch_execute("TRUNCATE qsessions.session")
            .await
            .unwrap();
        for (name, arguments) in [
            (
                "a",
                "user_id => 1, ip => '192.0.2.1', user_agent => 'curl/8.5.0'",
            ),
            (
                "b",
                "user_id => 1, ip => '192.0.2.2', user_agent => 'curl/8.6.0'",
            ),
            (
                "c",
                "user_id => 2, ip => '192.0.2.3', user_agent => 'other'",
            ),
            ("d", "user_id => 2, ip => '2001:db8::1'"),
            ("e", ""),
        ] {
            let comma = if arguments.is_empty() { "" } else { ", " };
            begin(
                &client,
                &format!("{arguments}{comma}key => 'session {name}'"),
            )
            .await;
        }
        client
            .batch_execute(
                "UPDATE qsessions.session SET created_at = now() - interval '2 days'
                 WHERE ip IN ('192.0.2.1', '192.0.2.3');
                 UPDATE qsessions.session SET last_seen_at = now() - interval '2 hours' WHERE ip = '192.0.2.1'",
            )
            .await
            .unwrap();
        let ended = revoke(&client, filters).await;
        let mut living = Vec::new();
        for name in ["a", "b", "c", "d", "e"] {
            if alive(&client, &format!("session {name}")).await {
                living.push(name);
            }
        }
        assert_eq!(living, stays, "{filters}");
        assert_eq!(
            usize::try_from(ended).unwrap(),
            5 - stays.len(),
            "{filters}"
        );
    }
}

#[tokio::test]
async fn a_call_without_a_filter_is_an_error() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "user_id => 1").await;
    for arguments in [
        "",
        "NULL",
        "user_id => NULL::bigint, ip => NULL",
        "max_rows => 10",
    ] {
        let statement = format!("SELECT qsessions.revoke_sessions({arguments})");
        let refused = failure(&client, &statement, &[]).await;
        assert_eq!(refused.code, "22023", "{arguments}");
        assert!(!refused.hint.is_empty());
    }
    for limit in ["0", "-1"] {
        let statement = format!("SELECT qsessions.revoke_sessions(1, max_rows => {limit})");
        let refused = failure(&client, &statement, &[]).await;
        assert_eq!(refused.code, "22023");
        assert!(refused.message.starts_with("argument \"max_rows\""));
    }
    assert!(alive(&client, &session.key).await);
}

#[tokio::test]
async fn expired_sessions_go_and_do_not_count() {
    let database = Database::new().await;
    let client = database.connect().await;
    for _ in 0..5 {
        begin(&client, "user_id => 1").await;
    }
    client
        .batch_execute(
            "UPDATE qsessions.session SET expires_at = now()
             WHERE id IN (SELECT id FROM qsessions.session ORDER BY id LIMIT 3)",
        )
        .await
        .unwrap();
    assert_eq!(revoke(&client, "1").await, 2);
    assert_eq!(sessions(&client).await, 0);
}

#[tokio::test]
async fn batches_return_0_when_none_is_left() {
    let database = Database::new().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "SELECT qsessions.create_session(ip => '192.0.2.1') FROM generate_series(1, 25);
             UPDATE qsessions.session SET expires_at = now()
             WHERE id IN (SELECT id FROM qsessions.session ORDER BY id LIMIT 12);
             SELECT qsessions.create_session(ip => '198.51.100.1') FROM generate_series(1, 3)",
        )
        .await
        .unwrap();
    let mut ended = 0;
    loop {
        let batch = revoke(&client, "ip => '192.0.2.1', max_rows => 4").await;
        assert!(batch <= 4);
        if batch == 0 {
            break;
        }
        ended += batch;
    }
    assert_eq!(ended, 13);
    assert_eq!(sessions(&client).await, 3);
}

#[tokio::test]
async fn a_batch_passes_over_locked_sessions_and_waits_for_the_last() {
    let database = Database::new().await;
    let (holder, client, observer) = (
        database.connect().await,
        database.connect().await,
        database.connect().await,
    );
    let first = begin(&client, "ip => '192.0.2.1'").await;
    for _ in 0..3 {
        begin(&client, "ip => '192.0.2.1'").await;
    }
    holder.batch_execute("BEGIN").await.unwrap();
    let save = "SELECT qsessions.save_session($1, '{}')";
    row(&holder, save, &[&first.key]).await;
    client
        .batch_execute("SET lock_timeout = '10 s'")
        .await
        .unwrap();
    let batch = "ip => '192.0.2.1', max_rows => 10";
    assert_eq!(revoke(&client, batch).await, 3);
    client.batch_execute("RESET lock_timeout").await.unwrap();
    let pid = backend(&client).await;
    let (ended, ()) = tokio::join!(revoke(&client, batch), async {
        blocked(&observer, pid).await;
        holder.batch_execute("COMMIT").await.unwrap();
    });
    assert_eq!(ended, 1);
    assert_eq!(revoke(&client, batch).await, 0);
}

#[tokio::test]
async fn a_trigger_that_keeps_sessions_does_not_make_a_batch_endless() {
    let database = Database::new().await;
    let client = database.connect().await;
    begin(&client, "user_id => 1").await;
    client
        .batch_execute(
            "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
             CREATE TRIGGER keep BEFORE DELETE ON qsessions.session FOR EACH ROW EXECUTE FUNCTION keep()",
        )
        .await
        .unwrap();
    assert_eq!(revoke(&client, "1, max_rows => 1").await, 0);
    assert_eq!(revoke(&client, "1").await, 0);
}

#[tokio::test]
async fn an_application_role_can_revoke() {
    let (_database, _admin, _role, client) = application().await;
    begin(&client, "user_id => 1").await;
    begin(&client, "user_id => 2").await;
    assert_eq!(revoke(&client, "1").await, 1);
    assert_eq!(
        revoke(&client, "created_before => 'infinity', max_rows => 5").await,
        1
    );
}

#[tokio::test]
async fn a_revocation_of_a_user_waits_for_a_login_in_progress() {
    let database = Database::new().await;
    let (one, two, observer) = (
        database.connect().await,
        database.connect().await,
        database.connect().await,
    );
    for arguments in [
        "1",
        "1, max_rows => 10",
        "user_id => '01', ip => '192.0.2.0/24'",
    ] {
        one.batch_execute("BEGIN; SELECT qsessions.login(NULL, 1, '192.0.2.1')")
            .await
            .unwrap();
        let pid = backend(&two).await;
        let (ended, ()) = tokio::join!(revoke(&two, arguments), async {
            blocked(&observer, pid).await;
            one.batch_execute("COMMIT").await.unwrap();
        });
        assert_eq!(ended, 1, "{arguments}");
    }
    assert_eq!(sessions(&observer).await, 0);
}

#[tokio::test]
async fn revocations_at_once_do_not_deadlock() {
    let database = Database::new().await;
    let admin = database.connect().await;
    for _ in 0..5 {
        admin
            .batch_execute(
                "SELECT qsessions.create_session(user_id => n % 9 + 1, ip => '192.0.2.1', user_agent => 'one')
                 FROM generate_series(1, 500) AS n",
            )
            .await
            .unwrap();
        let calls = [
            "revoke_sessions(ip => '192.0.2.0/24')",
            "revoke_sessions(created_before => 'infinity')",
            "revoke_sessions(user_agent => 'o%', max_rows => 50)",
            "revoke_user_sessions(1)",
            "revoke_sessions(2)",
        ]
        .map(|call| {
            let database = &database;
            async move {
                let client = database.connect().await;
                let mut ended = 0;
                loop {
                    let batch: i64 = row(&client, &format!("SELECT qsessions.{call}"), &[])
                        .await
                        .get(0);
                    if batch == 0 {
                        return ended;
                    }
                    ended += batch;
                }
            }
        });
        let ended: i64 = join_all(calls).await.into_iter().sum();
        assert_eq!(ended, 500);
    }
}

#[tokio::test]
async fn a_revocation_and_a_delete_of_the_user_do_not_deadlock() {
    let database = Database::new().await;
    let admin = database.connect().await;
    for (user, arguments) in [
        (1, "user_id => 1"),
        (2, "created_before => 'infinity'"),
        (3, "ip => '192.0.2.1', max_rows => 9"),
    ] {
        // The older row has the higher id, so that the order of ids differs from the order of a
        // cascade.
        admin
            .execute(
                "INSERT INTO qsessions.session (id, digest, user_id, ip, expires_at)
                 SELECT id, '', $1, '192.0.2.1', now() + interval '1 h'
                 FROM unnest('{ffffffff-0000-7000-8000-000000000000,00000000-0000-7000-8000-000000000000}'::uuid[]) AS id",
                &[&i64::from(user)],
            )
            .await
            .unwrap();
        let (holder, cascade, client) = (
            database.connect().await,
            database.connect().await,
            database.connect().await,
        );
        holder
            .batch_execute("BEGIN; SELECT FROM qsessions.session WHERE id > '80000000-0000-7000-8000-000000000000' FOR UPDATE")
            .await
            .unwrap();
        let (cascades, revokes) = (backend(&cascade).await, backend(&client).await);
        let delete = format!("DELETE FROM users WHERE id = {user}");
        let (deleted, ended, ()) = tokio::join!(
            cascade.batch_execute(&delete),
            async {
                blocked(&admin, cascades).await;
                let mut ended = revoke(&client, arguments).await;
                if arguments.contains("max_rows") {
                    ended += revoke(&client, arguments).await;
                }
                ended
            },
            async {
                blocked(&admin, revokes).await;
                holder.batch_execute("COMMIT").await.unwrap();
            }
        );
        deleted.unwrap();
        // The batch takes the row that is not locked before it waits for the other.
        assert_eq!(
            ended,
            i64::from(arguments.contains("max_rows")),
            "{arguments}"
        );
        assert_eq!(sessions(&admin).await, 0);
    }
}

#[tokio::test]
async fn a_revocation_by_filters_is_an_event_of_an_administrator() {
    let database = Database::new().await;
    let client = database.connect().await;
    for _ in 0..3 {
        begin(&client, "user_id => 1").await;
    }
    client
        .batch_execute("SELECT qsessions.create_event_table()")
        .await
        .unwrap();
    revoke(&client, "1, max_rows => 2").await;
    revoke(&client, "1").await;
    client
        .batch_execute("DELETE FROM qsessions.session")
        .await
        .unwrap();
    let events = "SELECT format('%s %s', event, revoked_by) FROM qsessions.user_events(1)";
    assert_eq!(texts(&client, events).await, ["revoked administrator"; 3]);
}
