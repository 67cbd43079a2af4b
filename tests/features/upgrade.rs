//! Updates: an updated installation equals a new one, and its sessions continue.

mod catalogue;
mod clients;
mod dump;
mod library;
mod live;
mod load;
mod table;
mod waiting;

use crate::common::roles::{DENIED, new_role};
use crate::common::{add_expired, alive, begin, begun, failure, row, sessions, texts};
use qsessions_testkit::{Database, Users};
use tokio_postgres::Client;

const UPGRADE: &str = "ALTER EXTENSION qsessions UPDATE";

/// A database with version 0.1.0 of the extension, users and a session table. The library is the
/// current one.
async fn old() -> Database {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    client
        .batch_execute(
            "DROP EXTENSION qsessions;
             CREATE EXTENSION qsessions VERSION '0.1.0';
             CREATE TABLE users (id bigint PRIMARY KEY);
             INSERT INTO users SELECT generate_series(1, 9);
             SELECT qsessions.create_session_table('users')",
        )
        .await
        .unwrap();
    database
}

#[tokio::test]
async fn sessions_survive_an_update() {
    let database = old().await;
    let admin = database.connect().await;
    let role = new_role(&database, &admin, "app").await;
    admin
        .batch_execute(&format!(
            "SELECT qsessions.grant_access('{role}');
             ALTER TABLE qsessions.session ADD COLUMN tenant text NOT NULL DEFAULT 'main';
             ALTER TABLE qsessions.session ENABLE ROW LEVEL SECURITY;
             CREATE POLICY all_live ON qsessions.session TO {role}
                 USING (tenant = 'main' AND qsessions.device(coalesce(user_agent, '')) IS NOT NULL);
             CREATE VIEW live AS
                 SELECT l.id, qsessions.session_id('12345678') AS other FROM qsessions.load_session('12345678') AS l;
             CREATE FUNCTION first_of(member bigint) RETURNS uuid LANGUAGE plpgsql AS
                 'BEGIN RETURN (SELECT id FROM qsessions.user_sessions(member) LIMIT 1); END'"
        ))
        .await
        .unwrap();
    // A connection that has cached plans for the old functions continues with the new ones.
    let app = database.connect_as(&role).await;
    let load = app
        .prepare("SELECT user_id, data FROM qsessions.load_session($1)")
        .await
        .unwrap();
    let create = app
        .prepare("SELECT key, id FROM qsessions.create_session($1)")
        .await
        .unwrap();
    let member = begun(&app.query_one(&create, &[&"1"]).await.unwrap());
    let visitor = begin(&app, "data => '{\"cart\": [1]}', idle_timeout => '1 hour'").await;
    begin(&app, "user_id => 2, key => '12345678'").await;
    row(
        &app,
        "SELECT qsessions.save_session($1, '{\"a\": 1}')",
        &[&member.key],
    )
    .await;
    add_expired(&admin, 3).await;
    // The functions of the old version work with the new library.
    let login = "SELECT key, id FROM qsessions.login($1, 1, max_sessions => 5)";
    let visitor = begun(&row(&app, login, &[&visitor.key]).await);
    for statement in [
        "SELECT FROM qsessions.resume_session('12345678', '192.0.2.1')",
        "SELECT FROM qsessions.load_for_cache('12345678')",
        "SELECT FROM qsessions.user_sessions(1)",
        "SELECT FROM qsessions.list_sessions(ip => '192.0.2.0/24')",
        "SELECT qsessions.patch_session('12345678', '{\"b\": 2}')",
        "SELECT qsessions.set_expiry('12345678', ttl => '1 day')",
        "SELECT qsessions.invalidate('00000000-0000-7000-8000-000000000000')",
        "SELECT qsessions.revoke_user_sessions(3)",
    ] {
        assert!(
            !app.query(statement, &[]).await.unwrap().is_empty(),
            "{statement}"
        );
    }
    let problem = "SELECT coalesce(problem, '') FROM qsessions.invalidation_status()";
    assert_eq!(texts(&admin, problem).await, [""]);

    admin.batch_execute(UPGRADE).await.unwrap();

    for key in [&member.key, &visitor.key, "12345678"] {
        assert!(alive(&app, key).await);
        assert_eq!(app.query(&load, &[&key]).await.unwrap().len(), 1);
    }
    begun(&app.query_one(&create, &[&"1"]).await.unwrap());
    let save = "SELECT qsessions.save_session($1, '{}', expected_version => 2)";
    assert_eq!(row(&app, save, &[&member.key]).await.get::<_, i64>(0), 3);
    let again = begun(&row(&app, login, &[&member.key]).await);
    assert_eq!(again.id, member.id);
    assert_eq!(texts(&admin, problem).await, [""]);
    assert_eq!(texts(&admin, "SELECT id::text FROM live").await.len(), 1);
    let first = "SELECT first_of(1) IS NOT NULL";
    assert!(row(&admin, first, &[]).await.get::<_, bool>(0));
    let stranger = "SELECT qsessions.login(NULL, 4711)";
    assert_eq!(failure(&admin, stranger, &[]).await.code, "23503");
    for denied in [
        "geoip_reload()",
        "invalidation_status()",
        "schedule_purge()",
    ] {
        let refused = failure(&app, &format!("SELECT qsessions.{denied}"), &[]).await;
        assert_eq!(refused.code, DENIED);
    }
    for granted in [
        "location('192.0.2.1')",
        "invalidate('00000000-0000-7000-8000-000000000000')",
    ] {
        row(&app, &format!("SELECT qsessions.{granted}"), &[]).await;
    }
    let before = sessions(&admin).await;
    admin.batch_execute("CALL qsessions.purge()").await.unwrap();
    assert_eq!(sessions(&admin).await, before - 3);
    admin
        .batch_execute("DELETE FROM users WHERE id = 1")
        .await
        .unwrap();
    assert!(!alive(&app, &again.key).await);
}

/// Calls the functions that write the columns that 0.1.0 did not have.
async fn uses_the_new_columns(app: &Client, key: &str) {
    let resume = r#"SELECT id FROM qsessions.resume_session($1, client_hints => '{"sec-ch-ua-mobile": "?0"}')"#;
    row(app, resume, &[&key]).await;
    let rotate = "SELECT qsessions.rotate_key($1, grace => '1 minute')";
    let present: String = row(app, rotate, &[&key]).await.get(0);
    assert!(alive(app, key).await && alive(app, &present).await);
}

#[tokio::test]
async fn an_update_does_not_drop_objects_that_depend_on_a_removed_function() {
    let database = old().await;
    let client = database.connect().await;
    client
        .batch_execute("CREATE VIEW mine AS SELECT id FROM qsessions.user_sessions('1')")
        .await
        .unwrap();
    let refused = failure(&client, UPGRADE, &[]).await;
    assert_eq!(refused.code, "2BP01", "{refused:?}");
    assert!(refused.detail.contains("view public.mine"), "{refused:?}");
    client
        .batch_execute(&format!(
            "DROP VIEW mine; {UPGRADE}; CREATE VIEW mine AS SELECT id FROM qsessions.user_sessions('1')"
        ))
        .await
        .unwrap();
}
