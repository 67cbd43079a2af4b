//! Updates: an updated installation equals a new one, and its sessions continue.

mod load;

use crate::common::roles::{DENIED, application, new_role};
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

/// The objects of an installation, one line each.
async fn description(client: &Client) -> Vec<String> {
    let mut lines = Vec::new();
    for query in [
        // The functions with all their properties, except the file name of the library.
        "SELECT concat_ws(' | ', p.oid::regprocedure, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
                          p.prokind, p.provolatile, p.proparallel, p.proisstrict, p.prosecdef, p.procost, p.prorows,
                          p.proconfig, p.prosrc, pg_get_function_sqlbody(p.oid), p.proowner::regrole,
                          obj_description(p.oid, 'pg_proc'),
                          (SELECT string_agg(a.grantee || '=' || a.privilege_type, ',' ORDER BY a.grantee)
                           FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a),
                          EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e'))
         FROM pg_proc AS p WHERE p.pronamespace = 'qsessions'::regnamespace ORDER BY 1",
        "SELECT concat_ws(' | ', t.typname, t.typtype, t.typbasetype::regtype, t.typowner::regrole, t.typacl,
                          obj_description(t.oid, 'pg_type'))
         FROM pg_type AS t WHERE t.typnamespace = 'qsessions'::regnamespace ORDER BY 1",
        "SELECT concat_ws(' | ', a.attrelid::regclass, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
                          a.attnotnull, a.attgenerated, pg_get_expr(d.adbin, d.adrelid))
         FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
         LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE c.relnamespace = 'qsessions'::regnamespace AND a.attnum > 0 ORDER BY 1",
        "SELECT concat_ws(' | ', c.relname, c.relkind, c.relpersistence, c.reloptions, c.relowner::regrole, coalesce(c.relacl, acldefault('r', c.relowner)),
                          pg_get_indexdef(c.oid))
         FROM pg_class AS c WHERE c.relnamespace = 'qsessions'::regnamespace ORDER BY 1",
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint
         WHERE conrelid = 'qsessions.session'::regclass ORDER BY 1",
        "SELECT pg_get_triggerdef(oid) || tgenabled::text FROM pg_trigger
         WHERE tgrelid = 'qsessions.session'::regclass AND NOT tgisinternal ORDER BY 1",
        "SELECT concat_ws(' | ', nspname, nspacl, obj_description(oid, 'pg_namespace')) FROM pg_namespace
         WHERE nspname = 'qsessions'",
        "SELECT extname || extversion FROM pg_extension WHERE extname = 'qsessions'",
    ] {
        let found = texts(client, query).await;
        assert!(!found.is_empty(), "{query}");
        lines.extend(found);
    }
    lines
}

#[tokio::test]
async fn an_updated_installation_equals_a_new_one() {
    let database = old().await;
    let client = database.connect().await;
    let role = new_role(&database, &client, "app").await;
    client
        .batch_execute(&format!("SELECT qsessions.grant_access('{role}')"))
        .await
        .unwrap();
    client.batch_execute(UPGRADE).await.unwrap();
    client
        .batch_execute(&format!("SELECT qsessions.revoke_access('{role}')"))
        .await
        .unwrap();
    let upgraded = description(&client).await;
    let new = description(&Database::new().await.connect().await).await;
    for (upgraded, new) in upgraded.iter().zip(&new) {
        assert_eq!(upgraded, new);
    }
    assert_eq!(upgraded.len(), new.len());
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

#[tokio::test]
async fn an_updated_database_can_be_dumped_and_restored() {
    let database = old().await;
    let client = database.connect().await;
    let role = new_role(&database, &client, "app").await;
    let key = begin(&client, "user_id => 1").await.key;
    client
        .batch_execute(&format!("SELECT qsessions.grant_access('{role}')"))
        .await
        .unwrap();
    client.batch_execute(UPGRADE).await.unwrap();
    let server = database.server();
    let copy = copy(&database, "0.2.0").await;
    let restored = server.connect(&copy).await.unwrap();
    let (upgraded, new) = (description(&client).await, description(&restored).await);
    for (upgraded, new) in upgraded.iter().zip(&new) {
        assert_eq!(upgraded, new);
    }
    let app = qsessions_testkit::connect(server.config(&copy).user(&role))
        .await
        .unwrap();
    assert!(alive(&app, &key).await);
    row(&app, "SELECT qsessions.location('192.0.2.1')", &[]).await;
    uses_the_new_columns(&app, &key).await;
    // No privilege on the table is missing in the dump.
    let privileges = "SELECT format('%s %s %s', attname, a.grantee::regrole, a.privilege_type)
                      FROM pg_attribute, aclexplode(attacl) AS a
                      WHERE attrelid = 'qsessions.session'::regclass ORDER BY 1";
    let upgraded = texts(&client, privileges).await;
    assert!(!upgraded.is_empty());
    assert_eq!(texts(&restored, privileges).await, upgraded);
}

/// Calls the functions that write the columns that 0.1.0 did not have.
async fn uses_the_new_columns(app: &Client, key: &str) {
    let resume = r#"SELECT id FROM qsessions.resume_session($1, client_hints => '{"sec-ch-ua-mobile": "?0"}')"#;
    row(app, resume, &[&key]).await;
    let rotate = "SELECT qsessions.rotate_key($1, grace => '1 minute')";
    let present: String = row(app, rotate, &[&key]).await.get(0);
    assert!(alive(app, key).await && alive(app, &present).await);
}

/// pg_dump does not write which version of an extension a database has, so a restore would create
/// the present one, which lacks functions that triggers and grants in the dump name.
#[tokio::test]
async fn a_dump_of_an_old_version_can_be_restored_and_updated() {
    let database = old().await;
    let client = database.connect().await;
    let role = new_role(&database, &client, "app").await;
    let key = begin(&client, "user_id => 1").await.key;
    client
        .batch_execute(&format!("SELECT qsessions.grant_access('{role}')"))
        .await
        .unwrap();
    let server = database.server();
    let copy = copy(&database, "0.1.0").await;
    let restored = server.connect(&copy).await.unwrap();
    restored.batch_execute(UPGRADE).await.unwrap();
    let app = qsessions_testkit::connect(server.config(&copy).user(&role))
        .await
        .unwrap();
    assert!(alive(&app, &key).await);
    row(&app, "SELECT qsessions.location('192.0.2.1')", &[]).await;
    uses_the_new_columns(&app, &key).await;
}

/// The name of a new database, restored from a dump of this one after this version of the extension
/// was created there.
async fn copy(database: &Database, version: &str) -> String {
    let server = database.server();
    let (name, copy) = (database.name(), format!("{}_copy", database.name()));
    let create = format!("CREATE DATABASE {copy} TEMPLATE template0");
    let client = database.connect().await;
    client.batch_execute(&create).await.unwrap();
    let extension = format!("CREATE EXTENSION qsessions VERSION '{version}'");
    let target = server.connect(&copy).await.unwrap();
    target.batch_execute(&extension).await.unwrap();
    let file = server.folder().join(format!("{name}.dump"));
    let (file, sockets) = (file.to_str().unwrap(), server.folder().to_str().unwrap());
    let connection = ["-h", sockets, "-U", "postgres"];
    let dump = ["-Fc", "-d", name, "-f", file];
    let restore = ["--exit-on-error", "-d", &copy, file];
    let installation = server.installation();
    installation
        .run("pg_dump", connection.iter().chain(&dump))
        .unwrap();
    installation
        .run("pg_restore", connection.iter().chain(&restore))
        .unwrap();
    copy
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

/// Makes the session table of a new database one of 0.1.0.
const OLD_TABLE: &str = "ALTER TABLE qsessions.session
     DROP COLUMN client_hints, DROP COLUMN former_digest, DROP COLUMN former_digest_until";
const UPDATE_TABLE: &str = "SELECT qsessions.update_session_table()";

#[tokio::test]
async fn an_older_session_table_gets_the_columns_and_the_privileges_it_lacks() {
    let (database, admin, role, app) = application().await;
    let key = begin(&admin, "user_id => 1").await.key;
    let other = new_role(&database, &admin, "other").await;
    admin
        .batch_execute(&format!(
            "GRANT SELECT ON qsessions.session TO {other}; {OLD_TABLE}"
        ))
        .await
        .unwrap();
    assert_eq!(
        failure(&app, "SELECT FROM qsessions.load_session($1)", &[&key])
            .await
            .code,
        "42703"
    );
    let refused = failure(&app, UPDATE_TABLE, &[]).await;
    assert_eq!(refused.code, DENIED);

    // A second call changes nothing.
    for _ in 0..2 {
        admin.batch_execute(UPDATE_TABLE).await.unwrap();
    }
    uses_the_new_columns(&app, &key).await;
    let new = "SELECT format('%s %s', a.grantee::regrole, attname) FROM pg_attribute, aclexplode(attacl) AS a
               WHERE attrelid = 'qsessions.session'::regclass AND attname LIKE 'former%' ORDER BY 1";
    assert_eq!(
        texts(&admin, new).await,
        [
            format!("{role} former_digest"),
            format!("{role} former_digest_until"),
        ],
    );
}

#[tokio::test]
async fn a_role_whose_name_must_be_quoted_keeps_its_privileges() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let role = format!("\"Shop's \"\"App\"\" {}\"", database.name());
    admin
        .batch_execute(&format!(
            "CREATE ROLE {role}; GRANT UPDATE (digest) ON qsessions.session TO {role}, PUBLIC; {OLD_TABLE}; {UPDATE_TABLE}"
        ))
        .await
        .unwrap();
    let granted = format!(
        "SELECT has_column_privilege('{}', 'qsessions.session', 'former_digest', 'UPDATE')",
        role.trim_matches('"')
            .replace("\"\"", "\"")
            .replace('\'', "''")
    );
    assert!(row(&admin, &granted, &[]).await.get::<_, bool>(0));
    admin
        .batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .await
        .unwrap();
}

#[tokio::test]
async fn the_owner_of_the_session_table_can_update_it() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let owner = new_role(&database, &admin, "owner").await;
    admin
        .batch_execute(&format!(
            "{OLD_TABLE}; ALTER TABLE qsessions.session OWNER TO {owner}"
        ))
        .await
        .unwrap();
    let client = database.connect_as(&owner).await;
    client.batch_execute(UPDATE_TABLE).await.unwrap();
    let key = begin(&client, "").await.key;
    uses_the_new_columns(&client, &key).await;
}

#[tokio::test]
async fn a_column_of_the_users_own_that_is_in_the_way_stops_the_update() {
    let database = old().await;
    let client = database.connect().await;
    let key = begin(&client, "").await.key;
    client
        .batch_execute("ALTER TABLE qsessions.session ADD COLUMN client_hints text")
        .await
        .unwrap();
    let refused = failure(&client, UPGRADE, &[]).await;
    assert_eq!(refused.code, "42701");
    assert!(refused.message.contains("\"client_hints\""), "{refused:?}");
    let rename = "ALTER TABLE qsessions.session RENAME COLUMN client_hints TO my_client_hints;";
    assert!(refused.hint.contains(rename), "{refused:?}");
    assert!(alive(&client, &key).await);
    client
        .batch_execute(&format!("{rename} {UPGRADE}"))
        .await
        .unwrap();
    uses_the_new_columns(&client, &key).await;
}

#[tokio::test]
async fn there_must_be_a_session_table_to_update() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    let refused = failure(&client, UPDATE_TABLE, &[]).await;
    assert_eq!(refused.code, "42P01");
    assert!(!refused.hint.is_empty());
}
