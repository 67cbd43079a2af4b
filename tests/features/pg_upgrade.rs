//! pg_upgrade from PostgreSQL 15 to the major version under test, with the programs of both.

use crate::common::{add_expired, alive, begin, row, skipped, texts};
use qsessions_testkit::{Installation, Server, StopMode, connect};
use std::fs;
use tokio_postgres::Client;

/// What has to be the same after the upgrade.
async fn description(server: &Server) -> Vec<String> {
    let app = server.connect("app").await.unwrap();
    let mut lines = Vec::new();
    for query in [
        "SELECT s::text FROM qsessions.session AS s ORDER BY id",
        "SELECT e::text FROM qsessions.session_event AS e ORDER BY 1",
        "SELECT pg_get_triggerdef(oid) || tgenabled::text FROM pg_trigger
         WHERE tgrelid = 'qsessions.session'::regclass AND NOT tgisinternal ORDER BY 1",
        "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'qsessions.session'::regclass ORDER BY 1",
        "SELECT format_type(typbasetype, typtypmod) || typowner::regrole FROM pg_type
         WHERE oid = 'qsessions.user_key'::regtype",
        // From PostgreSQL 17, owners can also MAINTAIN.
        "SELECT concat_ws(' ', relname, reloptions, relrowsecurity,
                          (SELECT string_agg(concat(grantee, privilege_type), ',' ORDER BY grantee, privilege_type)
                           FROM aclexplode(relacl) WHERE privilege_type <> 'MAINTAIN'))
         FROM pg_class WHERE relnamespace = 'qsessions'::regnamespace ORDER BY 1",
        "SELECT concat_ws(' ', polname, polroles::regrole[], pg_get_expr(polqual, polrelid)) FROM pg_policy ORDER BY 1",
        "SELECT pg_describe_object(classid, objid, 0) FROM pg_depend
         WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e' AND classid = 'pg_proc'::regclass
           AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'qsessions') ORDER BY 1",
    ] {
        let found = texts(&app, query).await;
        assert!(!found.is_empty(), "{query}");
        lines.extend(found);
    }
    let cron = server.connect("postgres").await.unwrap();
    lines.extend(
        texts(
            &cron,
            "SELECT concat_ws(' ', jobid, schedule, command, database, username, active, jobname) FROM cron.job",
        )
        .await,
    );
    lines
}

async fn set_up(server: &Server) -> Client {
    let cron = server.connect("postgres").await.unwrap();
    cron.batch_execute("CREATE EXTENSION pg_cron; CREATE ROLE app LOGIN")
        .await
        .unwrap();
    cron.batch_execute("CREATE DATABASE app").await.unwrap();
    let client = server.connect("app").await.unwrap();
    client
        .batch_execute(
            "CREATE EXTENSION qsessions;
             CREATE TABLE users (id bigint PRIMARY KEY);
             INSERT INTO users SELECT generate_series(1, 9);
             SELECT qsessions.create_session_table('users');
             SELECT qsessions.create_event_table();
             SELECT qsessions.grant_access('app');
             ALTER TABLE qsessions.session ADD COLUMN tenant text NOT NULL DEFAULT 'main';
             CREATE INDEX ON qsessions.session (qsessions.device(user_agent));
             ALTER TABLE qsessions.session ENABLE ROW LEVEL SECURITY;
             CREATE POLICY of_tenant ON qsessions.session TO app USING (tenant = 'main');
             SELECT qsessions.schedule_purge('*/7 * * * *')",
        )
        .await
        .unwrap();
    client
}

/// Whether the server marks each new column with an option `pg_attver`. Minor versions since November
/// 2026 do, and pg_upgrade to an earlier minor version of a later major version then fails: it must
/// be of the same time or later.
async fn marks_columns(server: &Server) -> bool {
    let client = server.connect("postgres").await.unwrap();
    client
        .batch_execute("CREATE TEMP TABLE probe (a integer)")
        .await
        .unwrap();
    let marks = "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'probe'::regclass
                                AND attoptions::text LIKE '%pg_attver%')";
    row(&client, marks, &[]).await.get(0)
}

/// Makes a cluster look as if an earlier minor version had created it, so that pg_upgrade can be
/// tested where the later major version is not yet to be had in a minor version of the same time.
async fn forget_marks(server: &Server) {
    for database in ["postgres", "template1", "app"] {
        let client = server.connect(database).await.unwrap();
        client
            .batch_execute(
                "SET allow_system_table_mods = on;
                 UPDATE pg_attribute SET attoptions = NULL WHERE attoptions::text LIKE '{pg_attver=%}'",
            )
            .await
            .unwrap();
    }
}

/// The logs that pg_upgrade leaves if it fails.
fn logs(server: &Server) -> String {
    let output = server.data().join("pg_upgrade_output.d");
    let runs = fs::read_dir(output).into_iter().flatten().flatten();
    let logs = runs.flat_map(|run| fs::read_dir(run.path().join("log")).into_iter().flatten());
    logs.flatten()
        .map(|log| fs::read_to_string(log.path()).unwrap_or_default())
        .collect()
}

#[tokio::test]
async fn sessions_and_everything_about_them_survive_pg_upgrade() {
    let new = Installation::find().unwrap();
    let Some(old) = Installation::oldest().filter(|old| old.major() < new.major()) else {
        skipped("pg_upgrade needs an older PostgreSQL with this extension");
        return;
    };
    if [&old, &new]
        .iter()
        .any(|one| !one.has_program("pg_upgrade") || !one.has_extension("pg_cron"))
    {
        skipped("pg_upgrade and pg_cron are needed for both versions");
        return;
    }
    let mut before = Server::builder()
        .installation(old.clone())
        .setting("shared_preload_libraries", "pg_cron, qsessions")
        .start()
        .await
        .unwrap();
    let client = set_up(&before).await;
    let member = begin(
        &client,
        "user_id => 1, user_agent => 'curl/8.5.0', ip => '192.0.2.1'",
    )
    .await;
    let visitor = begin(
        &client,
        "data => '{\"cart\": [1]}', idle_timeout => '1 hour'",
    )
    .await;
    begin(&client, "user_id => 2, key => 'a key of another framework'").await;
    let gone = begin(&client, "user_id => 3").await;
    row(&client, "SELECT qsessions.logout($1)", &[&gone.key]).await;
    let rotated = begin(&client, "user_id => 4").await;
    let rotate = "SELECT qsessions.rotate_key($1)";
    let present: String = row(&client, rotate, &[&rotated.key]).await.get(0);
    add_expired(&client, 3).await;
    drop(client);
    let was = description(&before).await;
    let mut after = Server::builder()
        .setting("shared_preload_libraries", "pg_cron, qsessions")
        .start()
        .await
        .unwrap();
    if marks_columns(&before).await && !marks_columns(&after).await {
        forget_marks(&before).await;
    }
    before.stop(StopMode::Fast).unwrap();
    after.stop(StopMode::Fast).unwrap();
    // PostgreSQL 18 enables checksums by default, and both have to be the same.
    if new.major() >= 18 {
        let data = before.data();
        old.run(
            "pg_checksums",
            ["--enable".as_ref(), "-D".as_ref(), data.as_os_str()],
        )
        .unwrap();
    }
    let output = new
        .command("pg_upgrade")
        .args(["-U", "postgres", "-b"])
        .arg(old.bin())
        .arg("-B")
        .arg(new.bin())
        .arg("-d")
        .arg(before.data())
        .arg("-D")
        .arg(after.data())
        .arg("-s")
        .arg(after.folder())
        .current_dir(after.folder())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        logs(&after)
    );
    after.start().await.unwrap();
    assert_eq!(description(&after).await, was);

    // Everything works as in an installation of its own.
    let client = after.connect("app").await.unwrap();
    for key in [
        &member.key,
        &visitor.key,
        "a key of another framework",
        &present,
    ] {
        assert!(alive(&client, key).await, "{key}");
    }
    for key in [&gone.key, &rotated.key] {
        assert!(!alive(&client, key).await, "{key}");
    }
    let app = connect(after.config("app").user("app")).await.unwrap();
    let sql = "SELECT count(*) FROM qsessions.user_sessions(1)";
    assert_eq!(row(&app, sql, &[]).await.get::<_, i64>(0), 1);
    row(&app, "SELECT qsessions.login($1, 5)", &[&visitor.key]).await;
    row(&app, "SELECT qsessions.logout($1)", &[&member.key]).await;
    let events = "SELECT user_id FROM qsessions.session_event WHERE event = 'logout' ORDER BY 1";
    assert_eq!(texts(&client, events).await, ["1", "3"]);
    row(&client, "SELECT qsessions.purge_expired()", &[]).await;
    let scheduled = "SELECT qsessions.schedule_purge('0 3 * * *')";
    assert!(row(&client, scheduled, &[]).await.get::<_, i64>(0) > 0);
    let cron = after.connect("postgres").await.unwrap();
    assert_eq!(
        texts(&cron, "SELECT schedule FROM cron.job").await,
        ["0 3 * * *"]
    );
    client
        .batch_execute(
            "REINDEX TABLE qsessions.session; DELETE FROM users WHERE id = 4;
             ALTER EXTENSION qsessions UPDATE",
        )
        .await
        .unwrap();
    assert!(!alive(&client, &present).await);
}
