//! Access: an application's role can use sessions and nothing else; other roles can call the pure
//! functions only.

mod grants;

use crate::common::roles::{
    BEYOND_THE_TABLE, DENIED, application, calls, holds, new_role, refused_calls,
};
use crate::common::{add_expired, alive, begin, begun, failure, row, sessions, texts};
use qsessions_testkit::{Database, Users};

#[tokio::test]
async fn an_application_role_can_use_sessions() {
    let (_database, _admin, _role, client) = application().await;

    let visitor = begin(&client, "ip => '192.0.2.1', user_agent => 'curl/8.5.0'").await;
    let as_visitor = [
        "qsessions.session_exists($1)",
        "qsessions.save_session($1, '{\"cart\": [1]}') = 2",
        "qsessions.patch_session($1, '{\"theme\": \"dark\"}', '{cart}') = 3",
        "qsessions.set_expiry($1, idle_timeout => '1 hour', max_age => '1 day') > now()",
        "(SELECT data = '{\"theme\": \"dark\"}' FROM qsessions.load_session($1))",
        "(SELECT ip = '192.0.2.1' FROM qsessions.resume_session($1))",
        "(SELECT ip = '192.0.2.2' FROM qsessions.resume_session($1, '192.0.2.2', 'other'))",
    ];
    for condition in as_visitor {
        holds(&client, condition, &visitor.key).await;
    }

    let login =
        "SELECT key, id FROM qsessions.login($1, 1, '192.0.2.3', 'curl/8.5.0', max_sessions => 2)";
    let member = begun(&row(&client, login, &[&visitor.key]).await);
    assert!(!alive(&client, &visitor.key).await);
    let key: String = row(&client, "SELECT qsessions.rotate_key($1)", &[&member.key])
        .await
        .get(0);
    assert!(!alive(&client, &member.key).await);
    begin(&client, "user_id => '1', key => 'key of another framework'").await;
    let other = begin(&client, "user_id => 1, ttl => '1 hour'").await;
    let revoke = "SELECT qsessions.revoke_session($1, 1)";
    assert!(row(&client, revoke, &[&other.id]).await.get::<_, bool>(0));
    let as_member = [
        "(SELECT device LIKE '%curl%' FROM qsessions.user_sessions(1, $1) WHERE is_current)",
        "(SELECT count(*) = 2 FROM qsessions.list_sessions(1) WHERE $1 <> '')",
        "(SELECT user_id = '1' FROM qsessions.get_session(qsessions.session_id($1)))",
        "(SELECT total = 2 FROM qsessions.stats() WHERE $1 <> '')",
        "qsessions.revoke_user_sessions(1, except_key => $1) = 1",
        "qsessions.location('192.0.2.1') IS NULL AND $1 <> ''",
        "qsessions.location_info('192.0.2.1') IS NULL AND $1 <> ''",
        "qsessions.country_code('192.0.2.1') IS NULL AND $1 <> ''",
        "qsessions.asn('192.0.2.1') IS NULL AND $1 <> ''",
        "qsessions.logout($1)",
    ];
    for condition in as_member {
        holds(&client, condition, &key).await;
    }
    assert_eq!(sessions(&client).await, 0);
}

#[tokio::test]
async fn an_application_role_gets_the_documented_errors() {
    let (_database, _admin, _role, client) = application().await;
    let key = begin(&client, "user_id => 1").await.key;
    for (statement, code) in [
        (
            "SELECT qsessions.save_session('no such key', '{}')",
            "QS001",
        ),
        ("SELECT qsessions.save_session('KEY', '{}', 7)", "QS002"),
        ("SELECT qsessions.save_session(NULL, '{}')", "QS003"),
        ("SELECT qsessions.save_session('KEY', NULL)", "22004"),
        ("SELECT qsessions.rotate_key('short')", "QS003"),
        ("SELECT qsessions.set_expiry('KEY', ttl => '0')", "22023"),
        (
            "SELECT qsessions.login('KEY', 1, max_sessions => 0)",
            "22023",
        ),
        ("SELECT qsessions.create_session(user_id => 4711)", "23503"),
    ] {
        let error = failure(&client, &statement.replace("KEY", &key), &[]).await;
        assert_eq!(error.code, code, "{statement}: {}", error.message);
    }
    client
        .batch_execute("SET qsessions.max_data_bytes = 10")
        .await
        .unwrap();
    let large = "SELECT qsessions.save_session($1, '{\"larger\": \"than that\"}')";
    assert_eq!(failure(&client, large, &[&key]).await.code, "QS004");
}

#[tokio::test]
async fn an_application_role_can_do_nothing_else() {
    let (_database, admin, role, client) = application().await;
    let key = begin(&client, "user_id => 1").await.key;
    add_expired(&admin, 1).await;
    for statement in [
        "SELECT qsessions.create_session_table()",
        "SELECT qsessions.link_users('users')",
        "SELECT qsessions.schedule_purge()",
        "SELECT qsessions.unschedule_purge()",
        "SELECT qsessions._schedule_purge('* * * * *', 1, 'ROLE')",
        "SELECT qsessions._unschedule_purge()",
        "SELECT qsessions.grant_access('ROLE')",
        "SELECT qsessions.revoke_access('ROLE')",
        "ALTER DOMAIN qsessions.user_key ADD CHECK (VALUE IS NOT NULL)",
        "SELECT qsessions._add_user_foreign_key('users', 'id')",
        "SELECT qsessions.geoip_databases()",
        "SELECT qsessions.geoip_reload()",
        "TRUNCATE qsessions.session",
        "DROP TABLE qsessions.session",
        "DROP DOMAIN qsessions.user_key",
        "DROP FUNCTION qsessions.session_id(text)",
        "DROP EXTENSION qsessions",
        "DROP SCHEMA qsessions CASCADE",
        "ALTER TABLE qsessions.session ADD COLUMN mine text",
        "ALTER TABLE qsessions.session OWNER TO ROLE",
        "CREATE INDEX ON qsessions.session (ip)",
        "CREATE TRIGGER mine BEFORE INSERT ON qsessions.session EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE POLICY mine ON qsessions.session USING (true)",
        "CREATE TABLE mine (session uuid REFERENCES qsessions.session)",
        "UPDATE qsessions.session SET id = gen_random_uuid()",
        "UPDATE qsessions.session SET created_at = now()",
        "CREATE TABLE qsessions.mine ()",
        "CREATE FUNCTION qsessions.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE OR REPLACE FUNCTION qsessions.session_id(key text) RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid'",
        "SELECT FROM users",
        "DELETE FROM users",
        "SET qsessions.geoip_path = '/tmp'",
        "SET qsessions.geoip_max_bytes = '1GB'",
        "SELECT FROM qsessions.invalidation_state",
        "INSERT INTO qsessions.invalidation_state VALUES ('qsessions', false)",
        "DELETE FROM qsessions.invalidation_state",
        "SELECT FROM qsessions.invalidation_prepared",
        "INSERT INTO qsessions.invalidation_prepared VALUES ('')",
        "DELETE FROM qsessions.invalidation_prepared",
    ] {
        let statement = statement.replace("ROLE", &role);
        let refused = failure(&client, &statement, &[]).await;
        assert_eq!(refused.code, DENIED, "{statement}: {}", refused.message);
    }
    assert_eq!(sessions(&admin).await, 2);
    assert!(alive(&client, &key).await);
}

#[tokio::test]
async fn a_role_without_access_can_run_the_pure_functions_only() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let stranger = new_role(&database, &admin, "stranger").await;
    let client = database.connect_as(&stranger).await;
    let computed = row(
        &client,
        "SELECT qsessions.session_id(qsessions.generate_key()) IS NOT NULL,
                qsessions.session_id('a foreign key') = qsessions._find_session_id('a foreign key'),
                (qsessions.parse_user_agent('curl/8.5.0')).category = 'tool',
                qsessions.device('curl/8.5.0') LIKE '%curl%'",
        &[],
    )
    .await;
    assert!((0..4).all(|column| computed.get::<_, bool>(column)));
    let error = failure(&client, "SELECT qsessions.session_id('short')", &[]).await;
    assert_eq!(error.code, "QS003");

    admin
        .batch_execute("SELECT qsessions.create_event_table()")
        .await
        .unwrap();
    let calls = refused_calls(&admin).await;
    assert!(calls.len() > 30, "{calls:?}");
    for call in &calls {
        let refused = failure(&client, call, &[]).await;
        assert_eq!(refused.code, DENIED, "{call}: {}", refused.message);
    }
    for statement in [
        "SELECT FROM qsessions.session",
        "INSERT INTO qsessions.session DEFAULT VALUES",
        "UPDATE qsessions.session SET data = '{}'",
        "DELETE FROM qsessions.session",
        "TRUNCATE qsessions.session",
        "CREATE TABLE qsessions.mine ()",
    ] {
        let refused = failure(&client, statement, &[]).await;
        assert_eq!(refused.code, DENIED, "{statement}: {}", refused.message);
    }
}

#[tokio::test]
async fn public_cannot_execute_functions_that_do_more_than_the_table_allows() {
    let admin = Database::with(Users::Nothing).await.connect().await;
    let guarded = texts(
        &admin,
        "SELECT DISTINCT proname::text COLLATE \"C\" FROM pg_proc
         WHERE pronamespace = 'qsessions'::regnamespace AND NOT has_function_privilege('public', oid, 'EXECUTE')
         ORDER BY 1",
    )
    .await;
    assert_eq!(guarded, BEYOND_THE_TABLE);
}

/// A role that calls every function that PUBLIC may execute, in a transaction that it does not end,
/// holds up no other role and changes nothing.
#[tokio::test]
async fn a_role_without_access_leaves_neither_locks_nor_changes() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let key = begin(&admin, "user_id => 1, key => '12345678'").await.key;
    add_expired(&admin, 1).await;
    let domain = "SELECT 'qsessions.user_key'::regtype::oid::bigint::text";
    let before = texts(&admin, domain).await;
    let stranger = new_role(&database, &admin, "stranger").await;
    let client = database.connect_as(&stranger).await;
    let pid: i32 = row(&client, "SELECT pg_backend_pid()", &[]).await.get(0);
    let callable = "prokind = 'f' AND prorettype <> 'trigger'::regtype
                    AND has_function_privilege('public', oid, 'EXECUTE')";
    let calls = calls(&admin, callable).await;
    assert!(calls.len() > 50, "{calls:?}");
    client.batch_execute("BEGIN").await.unwrap();
    for call in calls {
        client.batch_execute("SAVEPOINT before").await.unwrap();
        if client.query(&call, &[]).await.is_err() {
            client.batch_execute("ROLLBACK TO before").await.unwrap();
        }
        let locks = format!(
            "SELECT format('%s %s %s', locktype, coalesce(relation::regclass::text, classid::regclass::text), mode)
             FROM pg_locks WHERE pid = {pid} AND locktype IN ('relation', 'object', 'tuple')
               AND mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')"
        );
        assert_eq!(texts(&admin, &locks).await, [""; 0], "{call}");
    }
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(texts(&admin, domain).await, before);
    assert_eq!(sessions(&admin).await, 2);
    assert!(alive(&admin, &key).await);
}

#[tokio::test]
async fn a_role_that_may_only_read_the_table_can_only_read_sessions() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let key = begin(&admin, "user_id => 1").await.key;
    let reader = new_role(&database, &admin, "reader").await;
    admin
        .batch_execute(&format!(
            "GRANT SELECT ON qsessions.session TO {reader};
             GRANT EXECUTE ON FUNCTION qsessions.location TO {reader}"
        ))
        .await
        .unwrap();
    let client = database.connect_as(&reader).await;
    for condition in [
        "qsessions.session_exists($1)",
        "(SELECT user_id = '1' FROM qsessions.load_session($1))",
        "(SELECT is_current FROM qsessions.user_sessions(1, $1))",
        "(SELECT total = 1 FROM qsessions.stats() WHERE $1 <> '')",
    ] {
        holds(&client, condition, &key).await;
    }
    for statement in [
        "SELECT qsessions._lock_user_hash('qsessions.session'::regclass, 1, false)",
        "SELECT qsessions._lock_user_hash('qsessions.session'::regclass, 1, true)",
        "SELECT qsessions._admit_session('{}', 'qsessions.session'::regclass, 1, false)",
        "SELECT qsessions.login('KEY', 1)",
        "SELECT qsessions.create_session(1)",
        "SELECT qsessions.save_session('KEY', '{}')",
        "SELECT qsessions.resume_session('KEY', '192.0.2.7')",
        "SELECT qsessions.rotate_key('KEY')",
        "SELECT qsessions.logout('KEY')",
        "SELECT qsessions.revoke_user_sessions(1)",
        "SELECT qsessions.purge_expired()",
    ] {
        let refused = failure(&client, &statement.replace("KEY", &key), &[]).await;
        assert_eq!(refused.code, DENIED, "{statement}: {}", refused.message);
    }
}
