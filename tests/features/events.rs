//! Events: each login, rotation and end of a session leaves a row, whatever makes it.

mod access;
mod failures;
mod novelty;
mod partitions;

use crate::common::{Begun, begin, begun, failure, row, texts};
use qsessions_testkit::{Database, Users};
use tokio_postgres::Client;
use uuid::Uuid;

const CREATE: &str = "SELECT qsessions.create_event_table()";

/// A database with users, a session table and the table of events, and a connection to it.
async fn with_events() -> (Database, Client) {
    let database = Database::new().await;
    let client = database.connect().await;
    client.batch_execute(CREATE).await.unwrap();
    (database, client)
}

/// Logs in with these arguments, as SQL text.
async fn login(client: &Client, call: &str) -> Begun {
    let statement = format!("SELECT key, id FROM qsessions.login({call})");
    begun(&row(client, &statement, &[]).await)
}

/// The events of a session, in their order, with who has revoked it.
async fn events(client: &Client, id: Uuid) -> Vec<String> {
    let query = format!(
        "SELECT concat_ws(' by ', event, revoked_by) FROM qsessions.session_event
         WHERE session_id = '{id}' ORDER BY at"
    );
    texts(client, &query).await
}

/// Makes a session expire.
async fn expire(client: &Client, id: Uuid) {
    client
        .execute(
            "UPDATE qsessions.session SET expires_at = now() - interval '1 day' WHERE id = $1",
            &[&id],
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn a_login_leaves_what_the_session_has() {
    let (_database, client) = with_events().await;
    let call = "NULL, 1, '::ffff:192.0.2.7', 'curl/8.5.0', client_hints => '{\"Sec-CH-UA-Model\": \"\\\"Pixel 8\\\"\"}'";
    let session = login(&client, call).await;
    let event = row(
        &client,
        "SELECT e.event, e.revoked_by, e.session_id, e.user_id, host(e.ip), e.user_agent, e.client_hints = s.client_hints,
                e.at BETWEEN now() - interval '1 minute' AND clock_timestamp()
         FROM qsessions.session_event AS e JOIN qsessions.session AS s ON s.id = e.session_id",
        &[],
    )
    .await;
    assert_eq!(event.get::<_, &str>(0), "login");
    assert_eq!(event.get::<_, Option<&str>>(1), None);
    assert_eq!(event.get::<_, Uuid>(2), session.id);
    assert_eq!(event.get::<_, &str>(3), "1");
    assert_eq!(event.get::<_, &str>(4), "192.0.2.7");
    assert_eq!(event.get::<_, &str>(5), "curl/8.5.0");
    assert!(event.get::<_, bool>(6));
    assert!(event.get::<_, bool>(7));
}

#[tokio::test]
async fn each_way_to_log_in_leaves_one_login() {
    let (_database, client) = with_events().await;
    let fresh = login(&client, "NULL, 1").await;
    let created = begin(&client, "user_id => 1").await;
    let visitor = begin(&client, "").await;
    let kept = login(&client, &format!("'{}', 1", visitor.key)).await;
    let saved = begin(&client, "").await;
    let save = "SELECT qsessions.save_session($1, '{}', user_id => 1)";
    row(&client, save, &[&saved.key]).await;
    row(&client, save, &[&saved.key]).await;
    assert_eq!(kept.id, visitor.id);
    for id in [fresh.id, created.id, kept.id, saved.id] {
        assert_eq!(events(&client, id).await, ["login"]);
    }
    login(&client, &format!("'{}', 1", kept.key)).await;
    assert_eq!(events(&client, kept.id).await, ["login", "login"]);
}

#[tokio::test]
async fn an_anonymous_session_leaves_no_event_before_its_end() {
    let (_database, client) = with_events().await;
    let visitor = begin(&client, "").await;
    row(
        &client,
        "SELECT FROM qsessions.resume_session($1, '192.0.2.9')",
        &[&visitor.key],
    )
    .await;
    row(
        &client,
        "SELECT qsessions.save_session($1, '{}')",
        &[&visitor.key],
    )
    .await;
    assert!(events(&client, visitor.id).await.is_empty());
    row(&client, "SELECT qsessions.logout($1)", &[&visitor.key]).await;
    let found = texts(
        &client,
        "SELECT concat(event, ' ', user_id IS NULL, ' ', host(ip)) FROM qsessions.session_event",
    )
    .await;
    assert_eq!(found, ["logout t 192.0.2.9"]);
}

#[tokio::test]
async fn rotation_and_logout_leave_events() {
    let (_database, client) = with_events().await;
    let session = login(&client, "NULL, 1").await;
    let rotate = "SELECT qsessions.rotate_key($1, '10 seconds')";
    let key: String = row(&client, rotate, &[&session.key]).await.get(0);
    for (key, ended) in [(&key, true), (&key, false), (&session.key, false)] {
        let logout = row(&client, "SELECT qsessions.logout($1)", &[key]).await;
        assert_eq!(logout.get::<_, bool>(0), ended);
    }
    assert_eq!(
        events(&client, session.id).await,
        ["login", "rotated", "logout"]
    );
}

#[tokio::test]
async fn a_login_over_the_session_of_another_user_logs_that_user_out() {
    let (_database, client) = with_events().await;
    let one = login(&client, "NULL, 1").await;
    let two = login(&client, &format!("'{}', 2", one.key)).await;
    assert_eq!(events(&client, one.id).await, ["login", "logout"]);
    assert_eq!(events(&client, two.id).await, ["login"]);
}

#[tokio::test]
async fn a_revocation_says_by_whom() {
    let (_database, client) = with_events().await;
    let by_user = login(&client, "NULL, 1").await;
    let by_administrator = login(&client, "NULL, 1").await;
    let everywhere = login(&client, "NULL, 1").await;
    let left = login(&client, "NULL, 1").await;
    row(
        &client,
        "SELECT qsessions.revoke_session($1, 1)",
        &[&by_user.id],
    )
    .await;
    row(
        &client,
        "SELECT qsessions.revoke_session($1)",
        &[&by_administrator.id],
    )
    .await;
    row(
        &client,
        "SELECT qsessions.revoke_user_sessions(1, $1)",
        &[&left.key],
    )
    .await;
    let last = login(&client, "NULL, 1, max_sessions => 1").await;
    for (session, expected) in [
        (by_user, "revoked by user"),
        (by_administrator, "revoked by administrator"),
        (everywhere, "revoked by user"),
        (left, "revoked by limit"),
    ] {
        assert_eq!(events(&client, session.id).await, ["login", expected]);
    }
    assert_eq!(events(&client, last.id).await, ["login"]);
}

#[tokio::test]
async fn a_revocation_by_filters_is_by_an_administrator() {
    let (_database, client) = with_events().await;
    let session = login(&client, "NULL, 1, '192.0.2.7'").await;
    let other = login(&client, "NULL, 1, '198.51.100.7'").await;
    let revoke = "SELECT qsessions.revoke_sessions(ip => '192.0.2.0/24')";
    row(&client, revoke, &[]).await;
    let expected = ["login", "revoked by administrator"];
    assert_eq!(events(&client, session.id).await, expected);
    assert_eq!(events(&client, other.id).await, ["login"]);
}

#[tokio::test]
async fn an_import_leaves_an_event_once_and_its_device_is_known() {
    let (_database, client) = with_events().await;
    let import =
        "SELECT qsessions.import_session('a key of another store', 1, user_agent => 'curl/8.5.0')";
    for imported in [true, false] {
        assert_eq!(row(&client, import, &[]).await.get::<_, bool>(0), imported);
    }
    let found = "SELECT concat_ws(' ', event, user_id, user_agent) FROM qsessions.session_event";
    assert_eq!(texts(&client, found).await, ["imported 1 curl/8.5.0"]);
    let login = "SELECT is_new_device FROM qsessions.login(NULL, 1, user_agent => 'curl/9.0.0')";
    assert!(!row(&client, login, &[]).await.get::<_, bool>(0));
}

#[tokio::test]
async fn expired_sessions_leave_expired_whatever_deletes_them() {
    let (_database, client) = with_events().await;
    let key = "a key of another framework";
    let mut expired = Vec::new();
    for _ in 0..5 {
        expired.push(begin(&client, "user_id => 1").await);
    }
    let replaced = begin(&client, &format!("user_id => 1, key => '{key}'")).await;
    for session in expired.iter().chain([&replaced]) {
        expire(&client, session.id).await;
    }
    row(&client, "SELECT qsessions.logout($1)", &[&expired[0].key]).await;
    row(
        &client,
        "SELECT qsessions.revoke_session($1)",
        &[&expired[1].id],
    )
    .await;
    row(
        &client,
        "SELECT qsessions.revoke_session($1, 1)",
        &[&expired[2].id],
    )
    .await;
    begin(&client, &format!("key => '{key}'")).await;
    row(&client, "SELECT qsessions.purge_expired(1)", &[]).await;
    client
        .batch_execute("CALL qsessions.purge()")
        .await
        .unwrap();
    for session in expired.iter().chain([&replaced]) {
        assert_eq!(events(&client, session.id).await, ["login", "expired"]);
    }
}

#[tokio::test]
async fn plain_sql_and_cascades_leave_deleted() {
    let (_database, client) = with_events().await;
    let by_hand = login(&client, "NULL, 1").await;
    let cascaded = login(&client, "NULL, 2").await;
    let expired = login(&client, "NULL, 1").await;
    expire(&client, expired.id).await;
    client
        .batch_execute(
            "DELETE FROM qsessions.session WHERE user_id = 1;
             DELETE FROM users WHERE id = 2",
        )
        .await
        .unwrap();
    for session in [by_hand, cascaded, expired] {
        assert_eq!(events(&client, session.id).await, ["login", "deleted"]);
    }
}

#[tokio::test]
async fn a_truncated_session_table_leaves_no_events() {
    let (_database, client) = with_events().await;
    let session = login(&client, "NULL, 1").await;
    client
        .batch_execute("TRUNCATE qsessions.session")
        .await
        .unwrap();
    assert_eq!(events(&client, session.id).await, ["login"]);
}

#[tokio::test]
async fn events_are_rolled_back_with_what_they_tell_of() {
    let (_database, client) = with_events().await;
    let session = login(&client, "NULL, 1").await;
    let logout = format!("SELECT qsessions.logout('{}')", session.key);
    client
        .batch_execute(&format!(
            "BEGIN; {logout}; ROLLBACK;
             BEGIN; SAVEPOINT a; {logout}; ROLLBACK TO a; SELECT qsessions.login(NULL, 2); COMMIT"
        ))
        .await
        .unwrap();
    assert_eq!(events(&client, session.id).await, ["login"]);
    let of_two = "SELECT event FROM qsessions.session_event WHERE user_id = '2'";
    assert_eq!(texts(&client, of_two).await, ["login"]);
}

#[tokio::test]
async fn a_reason_ends_with_its_function_also_after_an_error() {
    let (_database, client) = with_events().await;
    client
        .batch_execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                 $$BEGIN IF OLD.user_id = 9 THEN RAISE 'kept'; END IF; RETURN OLD; END$$;
             CREATE TRIGGER refuse BEFORE DELETE ON qsessions.session FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await
        .unwrap();
    let kept = login(&client, "NULL, 9").await;
    let deleted = login(&client, "NULL, 1").await;
    let logout = format!("SELECT qsessions.logout('{}')", kept.key);
    let delete = format!("DELETE FROM qsessions.session WHERE id = '{}'", deleted.id);
    // A savepoint, a handler, and an error that ends the transaction.
    client.batch_execute("BEGIN; SAVEPOINT a").await.unwrap();
    failure(&client, &logout, &[]).await;
    client
        .batch_execute(&format!(
            "ROLLBACK TO a; {delete}; SELECT qsessions._event_reason(); COMMIT"
        ))
        .await
        .unwrap();
    assert_eq!(events(&client, deleted.id).await, ["login", "deleted"]);

    let deleted = login(&client, "NULL, 1").await;
    client
        .batch_execute(&format!(
            "DO $do$ BEGIN
                 BEGIN PERFORM qsessions.logout('{}'); EXCEPTION WHEN raise_exception THEN NULL; END;
                 DELETE FROM qsessions.session WHERE id = '{}';
             END $do$",
            kept.key, deleted.id
        ))
        .await
        .unwrap();
    assert_eq!(events(&client, deleted.id).await, ["login", "deleted"]);

    let deleted = login(&client, "NULL, 1").await;
    failure(&client, &logout, &[]).await;
    let delete = format!("DELETE FROM qsessions.session WHERE id = '{}'", deleted.id);
    client.batch_execute(&delete).await.unwrap();
    assert_eq!(events(&client, deleted.id).await, ["login", "deleted"]);
    assert_eq!(events(&client, kept.id).await, ["login"]);
}

#[tokio::test]
async fn a_function_that_a_trigger_calls_has_a_reason_of_its_own() {
    let (_database, client) = with_events().await;
    // A logout deletes the sessions of user 9 too.
    client
        .batch_execute(
            "CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
                 IF OLD.user_id = 1 THEN
                     BEGIN RAISE 'nothing'; EXCEPTION WHEN raise_exception THEN NULL; END;
                     PERFORM qsessions.revoke_user_sessions(9);
                     PERFORM qsessions.create_session(user_id => 8);
                 END IF;
                 RETURN OLD; END$$;
             CREATE TRIGGER follow BEFORE DELETE ON qsessions.session FOR EACH ROW EXECUTE FUNCTION follow()",
        )
        .await
        .unwrap();
    let follower = login(&client, "NULL, 9").await;
    let first = login(&client, "NULL, 1").await;
    row(&client, "SELECT qsessions.logout($1)", &[&first.key]).await;
    assert_eq!(
        events(&client, follower.id).await,
        ["login", "revoked by user"]
    );
    assert_eq!(events(&client, first.id).await, ["login", "logout"]);
    let of_eight = "SELECT event FROM qsessions.session_event WHERE user_id = '8'";
    assert_eq!(texts(&client, of_eight).await, ["login"]);
}

#[tokio::test]
async fn user_events_shows_the_last_events_of_a_user() {
    let (_database, client) = with_events().await;
    let safari = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 \
                  (KHTML, like Gecko) Version/17.1 Mobile/15E148 Safari/604.1";
    let session = login(&client, &format!("NULL, 1, '192.0.2.7', '{safari}'")).await;
    login(&client, "NULL, 2").await;
    row(
        &client,
        "SELECT qsessions.revoke_session($1, 1)",
        &[&session.id],
    )
    .await;
    let query =
        "SELECT concat_ws(', ', event, revoked_by, host(ip), location, device, is_new_device)
                 FROM qsessions.user_events(1";
    assert_eq!(
        texts(&client, &format!("{query})")).await,
        [
            "revoked, user, 192.0.2.7, iPhone / iOS 17.1 / Safari 17.1",
            "login, 192.0.2.7, iPhone / iOS 17.1 / Safari 17.1, t",
        ]
    );
    assert_eq!(texts(&client, &format!("{query}, 1)")).await.len(), 1);
    assert_eq!(texts(&client, &format!("{query}, NULL)")).await.len(), 2);
    let zero = failure(&client, &format!("{query}, 0)"), &[]).await;
    assert_eq!(zero.code, "22023");
    let ids = texts(
        &client,
        "SELECT DISTINCT session_id::text FROM qsessions.user_events('1')",
    )
    .await;
    assert_eq!(ids, [session.id.to_string()]);
}

#[tokio::test]
async fn without_the_table_nothing_is_recorded_and_user_events_says_so() {
    let database = Database::new().await;
    let client = database.connect().await;
    let found = row(
        &client,
        "SELECT is_new_device, is_new_place FROM qsessions.login(NULL, 1)",
        &[],
    )
    .await;
    assert_eq!(found.get::<_, Option<bool>>(0), None);
    assert_eq!(found.get::<_, Option<bool>>(1), None);
    let missing = failure(&client, "SELECT * FROM qsessions.user_events(1)", &[]).await;
    assert_eq!(missing.code, "42P01");
    assert!(missing.hint.contains("create_event_table"), "{missing:?}");
}

#[tokio::test]
async fn the_table_is_made_once_and_after_the_session_table() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    assert_eq!(failure(&client, CREATE, &[]).await.code, "42P01");
    client
        .batch_execute("SELECT qsessions.create_session_table()")
        .await
        .unwrap();
    for retention in ["'0'", "'-1 day'", "'1001 years'"] {
        let call = format!("SELECT qsessions.create_event_table({retention})");
        assert_eq!(failure(&client, &call, &[]).await.code, "22023");
    }
    client.batch_execute(CREATE).await.unwrap();
    assert_eq!(failure(&client, CREATE, &[]).await.code, "42P07");
    // A dropped table can be made again.
    client
        .batch_execute(&format!(
            "SELECT qsessions.login(NULL, 'ada');
             DROP TABLE qsessions.session_event, qsessions.session_event_known, qsessions.session_event_retention;
             {CREATE};
             DELETE FROM qsessions.session"
        ))
        .await
        .unwrap();
    assert_eq!(
        texts(&client, "SELECT event FROM qsessions.session_event").await,
        ["deleted"]
    );
}

#[tokio::test]
async fn events_survive_a_dump_and_continue() {
    let (database, client) = with_events().await;
    let before = login(&client, "NULL, 1, user_agent => 'curl/8.5.0'").await;
    client
        .batch_execute("UPDATE qsessions.session_event_retention SET retention = '1 year'")
        .await
        .unwrap();
    let copy = format!("{}_copy", database.name());
    let server = database.server();
    let create = format!("CREATE DATABASE {copy} TEMPLATE template0");
    client.batch_execute(&create).await.unwrap();
    let file = server.folder().join(format!("{copy}.dump"));
    let (file, sockets) = (file.to_str().unwrap(), server.folder().to_str().unwrap());
    let connection = ["-h", sockets, "-U", "postgres"];
    let dump = ["-Fc", "-d", database.name(), "-f", file];
    let restore = ["--exit-on-error", "-d", &copy, file];
    let installation = server.installation();
    installation
        .run("pg_dump", connection.iter().chain(&dump))
        .unwrap();
    installation
        .run("pg_restore", connection.iter().chain(&restore))
        .unwrap();

    let restored = server.connect(&copy).await.unwrap();
    let known = "SELECT is_new_device FROM qsessions.login(NULL, 1, user_agent => 'curl/9.0.0')";
    assert!(!row(&restored, known, &[]).await.get::<_, bool>(0));
    row(&restored, "SELECT qsessions.logout($1)", &[&before.key]).await;
    assert_eq!(events(&restored, before.id).await, ["login", "logout"]);
    let retention = "SELECT retention::text FROM qsessions.session_event_retention";
    assert_eq!(texts(&restored, retention).await, ["1 year"]);
    restored
        .batch_execute("CALL qsessions.purge()")
        .await
        .unwrap();
}
