//! Dump and restore: sessions and all additions to their table survive, and the keys continue to
//! work.

use crate::common::roles::{grant, new_role};
use crate::common::{alive, begin, begun, failure, row, sessions, texts};
use qsessions_testkit::{Database, Server};
use tokio_postgres::Client;

/// A database with several kinds of sessions, and with every kind of addition to the table.
struct Original {
    database: Database,
    role: String,
    member: String,
    visitor: String,
    foreign: String,
    expired: String,
}

async fn original() -> Original {
    let database = Database::new().await;
    let client = database.connect().await;
    let member = begin(
        &client,
        "user_id => 1, data => '{\"theme\": \"dark\", \"text\": \"O''Neil \\\\ 😀\"}', ip => '2001:db8::1',
         user_agent => 'Mozilla/5.0', idle_timeout => '1 month 2 days', max_age => '1 year'",
    )
    .await;
    let visitor = begin(&client, "ip => '192.0.2.1', ttl => 'P3DT4H'").await;
    let foreign = begin(&client, "user_id => 2, key => 'key of another framework'").await;
    let expired = begin(&client, "user_id => 3").await;
    let role = new_role(&database, &client, "app").await;
    grant(&client, &role).await;
    client
        .batch_execute(&format!(
            "UPDATE qsessions.session SET expires_at = now() - interval '1 day', data = '[1, null]'
             WHERE user_id = 3;
             SELECT qsessions.save_session('key of another framework', '{{\"saved\": true}}');
             ALTER TABLE qsessions.session ADD COLUMN tenant text NOT NULL DEFAULT 'main' CHECK (tenant <> '');
             COMMENT ON COLUMN qsessions.session.tenant IS 'whose customer';
             CREATE INDEX session_tenant_idx ON qsessions.session (tenant, last_seen_at);
             ALTER TABLE qsessions.session ENABLE ROW LEVEL SECURITY;
             CREATE POLICY of_tenant ON qsessions.session TO {role}
                 USING (tenant = current_setting('app.tenant', true));
             GRANT SELECT (id, tenant) ON qsessions.session TO pg_monitor;
             GRANT EXECUTE ON FUNCTION qsessions.stats TO pg_monitor;
             UPDATE qsessions.session SET tenant = 'other' WHERE user_id IS NULL"
        ))
        .await
        .unwrap();
    Original {
        database,
        role,
        member: member.key,
        visitor: visitor.key,
        foreign: foreign.key,
        expired: expired.key,
    }
}

/// Everything that a restore must preserve, one line per object.
async fn description(client: &Client) -> Vec<String> {
    let mut lines = Vec::new();
    for query in [
        "SELECT to_jsonb(s)::text FROM qsessions.session AS s ORDER BY id",
        "SELECT 'user ' || id FROM users ORDER BY id",
        "SELECT format('%s %s %s %s %s', attname, format_type(atttypid, atttypmod), attnotnull,
                       pg_get_expr(adbin, adrelid), col_description(attrelid, attnum))
         FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
         WHERE attrelid = 'qsessions.session'::regclass AND attnum > 0 ORDER BY attnum",
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint
         WHERE conrelid = 'qsessions.session'::regclass ORDER BY conname",
        "SELECT pg_get_indexdef(indexrelid) FROM pg_index
         WHERE indrelid = 'qsessions.session'::regclass ORDER BY 1",
        "SELECT format('%s for %s using %s', polname, polroles::regrole[], pg_get_expr(polqual, polrelid))
         FROM pg_policy WHERE polrelid = 'qsessions.session'::regclass",
        "SELECT format('%s %s %s %s', relrowsecurity, reloptions, relowner::regrole, obj_description(oid))
         FROM pg_class WHERE oid = 'qsessions.session'::regclass",
        "SELECT format('user_key is %s: %s', typbasetype::regtype, obj_description(oid, 'pg_type'))
         FROM pg_type WHERE oid = 'qsessions.user_key'::regtype",
        "SELECT format('%s may %s %s', a.grantee::regrole, a.privilege_type, o.name)
         FROM (SELECT proacl, oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'qsessions'::regnamespace
               UNION ALL SELECT relacl, relname FROM pg_class WHERE relnamespace = 'qsessions'::regnamespace
               UNION ALL SELECT attacl, attname FROM pg_attribute WHERE attrelid = 'qsessions.session'::regclass
               UNION ALL SELECT nspacl, nspname FROM pg_namespace WHERE nspname = 'qsessions') AS o (acl, name)
         CROSS JOIN aclexplode(o.acl) AS a ORDER BY 1",
        "SELECT extname || ' ' || extversion FROM pg_extension ORDER BY 1",
    ] {
        let found = texts(client, query).await;
        assert!(!found.is_empty(), "{query}");
        lines.extend(found);
    }
    lines
}

/// Creates an empty database.
async fn empty(original: &Original, method: &str) -> String {
    let name = format!("{}_{method}", original.database.name());
    let client = original.database.connect().await;
    let create = format!("CREATE DATABASE {name} TEMPLATE template0");
    client.batch_execute(&create).await.unwrap();
    name
}

/// Runs pg_dump into a file in the server's folder.
fn dump(original: &Original, format: &str, options: &[&str]) -> String {
    let server = original.database.server();
    let name = original.database.name();
    let file = server.folder().join(format!("{name}.{format}"));
    let file = file.to_str().unwrap().to_owned();
    let sockets = server.folder().to_str().unwrap();
    let format = format!("--format={format}");
    let common = [
        "-h", sockets, "-U", "postgres", "-d", name, "-f", &file, &format,
    ];
    let arguments = common.iter().chain(options);
    server.installation().run("pg_dump", arguments).unwrap();
    file
}

fn restore(server: &Server, database: &str, file: &str, options: &[&str]) {
    let sockets = server.folder().to_str().unwrap();
    let common = [
        "-h",
        sockets,
        "-U",
        "postgres",
        "-d",
        database,
        "--exit-on-error",
        file,
    ];
    let arguments = common.iter().chain(options);
    server.installation().run("pg_restore", arguments).unwrap();
}

async fn assert_same_content(original: &Original, name: &str) {
    let server = original.database.server();
    let restored = server.connect(name).await.unwrap();
    let before = description(&original.database.connect().await).await;
    let after = description(&restored).await;
    // Line by line, so that a failure shows the difference.
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
    assert_eq!(before.len(), after.len());

    for key in [&original.member, &original.visitor, &original.foreign] {
        assert!(alive(&restored, key).await);
    }
    assert!(!alive(&restored, &original.expired).await);
}

async fn assert_sessions_work(original: &Original, name: &str) {
    let server = original.database.server();
    let restored = server.connect(name).await.unwrap();
    let version: i64 = row(
        &restored,
        "SELECT qsessions.save_session($1, '{}', expected_version => 2)",
        &[&original.foreign],
    )
    .await
    .get(0);
    assert_eq!(version, 3);

    // The application's role has its privileges, and its policy applies.
    let app = qsessions_testkit::connect(server.config(name).user(&original.role))
        .await
        .unwrap();
    app.batch_execute("SET app.tenant = 'main'").await.unwrap();
    assert!(alive(&app, &original.member).await);
    assert!(!alive(&app, &original.visitor).await);
    let login = "SELECT key, id FROM qsessions.login($1, 1, max_sessions => 2)";
    let again = begun(&row(&app, login, &[&original.member]).await);
    assert!(alive(&app, &again.key).await);
    assert!(!alive(&app, &original.member).await);
    let denied = failure(&app, "SELECT qsessions.geoip_reload()", &[]).await;
    assert_eq!(denied.code, "42501");

    // The foreign key refuses unknown users and cascades.
    let stranger = "SELECT qsessions.login(NULL, 4711)";
    assert_eq!(failure(&restored, stranger, &[]).await.code, "23503");
    restored
        .batch_execute("DELETE FROM users WHERE id = 1")
        .await
        .unwrap();
    assert!(!alive(&restored, &again.key).await);
    let before = sessions(&restored).await;
    restored
        .batch_execute("SELECT qsessions.purge_expired()")
        .await
        .unwrap();
    assert_eq!(sessions(&restored).await, before - 1);

    // The functions recognize the table.
    let second = failure(&restored, "SELECT qsessions.create_session_table()", &[]).await;
    assert_eq!(second.code, "42P07");
    restored
        .batch_execute("CREATE TABLE people (id text PRIMARY KEY); INSERT INTO people VALUES ('2')")
        .await
        .unwrap();
    restored
        .batch_execute("SELECT qsessions.link_users('people'); SELECT qsessions.login(NULL, '2')")
        .await
        .unwrap();
}

#[tokio::test]
async fn sessions_survive_pg_dump_and_pg_restore() {
    let original = original().await;
    let name = empty(&original, "custom").await;
    let file = dump(&original, "custom", &[]);
    restore(original.database.server(), &name, &file, &[]);
    assert_same_content(&original, &name).await;
    assert_sessions_work(&original, &name).await;
}

#[tokio::test]
async fn sessions_survive_a_plain_dump_and_psql() {
    let original = original().await;
    let name = empty(&original, "plain").await;
    let file = dump(&original, "plain", &[]);
    let server = original.database.server();
    server.psql(&name, &["-f", &file]).unwrap();
    assert_same_content(&original, &name).await;
    assert_sessions_work(&original, &name).await;
}

#[tokio::test]
async fn a_restore_with_clean_replaces_existing_sessions() {
    let original = original().await;
    let name = empty(&original, "clean").await;
    let file = dump(&original, "custom", &[]);
    let server = original.database.server();
    restore(server, &name, &file, &[]);
    let restored = server.connect(&name).await.unwrap();
    let late = begin(&restored, "user_id => 5").await;
    restore(server, &name, &file, &["--clean", "--if-exists"]);
    assert_same_content(&original, &name).await;
    assert!(!alive(&server.connect(&name).await.unwrap(), &late.key).await);
    assert_sessions_work(&original, &name).await;
}

#[tokio::test]
async fn rows_alone_can_be_dumped_and_restored() {
    let original = original().await;
    let name = empty(&original, "data").await;
    let server = original.database.server();
    let schema = dump(&original, "custom", &["--schema-only"]);
    restore(server, &name, &schema, &[]);
    let data = dump(&original, "tar", &["--data-only"]);
    restore(server, &name, &data, &["--disable-triggers"]);
    assert_same_content(&original, &name).await;
}
