//! Scheduling purges with pg_cron, in the same database and in another one.

use crate::common::roles::{DENIED, new_role};
use crate::common::{add_expired, begin, failure, is_missing, row, sessions, texts};
use qsessions_testkit::{Database, Server, shared};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

/// SQLSTATE object_not_in_prerequisite_state.
const NOT_READY: &str = "55000";

/// Each call starts a background worker, and a server has only eight slots, so the tests in this
/// file take turns.
pub(crate) async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// The jobs of a database, from pg_cron's table.
pub(crate) async fn jobs(server: &Server, database: &str) -> Vec<String> {
    let cron = server.connect("postgres").await.unwrap();
    let query = format!(
        "SELECT format('%s | %s | %s | %s | %s', jobid, schedule, command, username, active)
         FROM cron.job WHERE database OPERATOR(pg_catalog.=) '{}' ORDER BY jobid",
        database.replace('\'', "''")
    );
    texts(&cron, &query).await
}

async fn schedule(client: &Client, arguments: &str) -> i64 {
    row(
        client,
        &format!("SELECT qsessions.schedule_purge({arguments})"),
        &[],
    )
    .await
    .get(0)
}

async fn unschedule(client: &Client) -> bool {
    row(client, "SELECT qsessions.unschedule_purge()", &[])
        .await
        .get(0)
}

#[tokio::test]
async fn a_purge_is_scheduled_replaced_and_unscheduled_from_another_database() {
    if is_missing("pg_cron") {
        return;
    }
    let _turn = turn().await;
    let (one, two) = (Database::new().await, Database::new().await);
    let (server, name) = (one.server(), one.name());
    let client = one.connect().await;
    let neighbour = two.connect().await;
    schedule(&neighbour, "'0 0 * * *'").await;

    assert!(!unschedule(&client).await);
    let id = schedule(&client, "").await;
    let five_minutes = "*/5 * * * * | CALL qsessions.purge(batch_size => 10000) | postgres | t";
    assert_eq!(jobs(server, name).await, [format!("{id} | {five_minutes}")]);

    let again = schedule(&client, "'30 3 * * 0', batch_size => 500").await;
    let weekly = "30 3 * * 0 | CALL qsessions.purge(batch_size => 500) | postgres | t";
    assert_eq!(jobs(server, name).await, [format!("{again} | {weekly}")]);

    assert!(unschedule(&client).await);
    assert!(!unschedule(&client).await);
    assert!(jobs(server, name).await.is_empty());
    assert_eq!(jobs(server, two.name()).await.len(), 1);
    assert!(unschedule(&neighbour).await);
}

#[tokio::test]
async fn the_name_of_the_database_can_need_quotes() {
    if is_missing("pg_cron") {
        return;
    }
    let _turn = turn().await;
    let server = shared().await;
    let admin = server.connect("postgres").await.unwrap();
    admin
        .batch_execute(r#"CREATE DATABASE "o'dd \ ""name" TEMPLATE qsessions_template"#)
        .await
        .unwrap();
    let name = r#"o'dd \ "name"#;
    let client = server.connect(name).await.unwrap();
    client
        .batch_execute("SELECT qsessions.create_session_table()")
        .await
        .unwrap();
    schedule(&client, "").await;
    assert_eq!(jobs(server, name).await.len(), 1);
    assert!(unschedule(&client).await);
    assert!(jobs(server, name).await.is_empty());
}

#[tokio::test]
async fn invalid_schedules_are_refused() {
    if is_missing("pg_cron") {
        return;
    }
    let _turn = turn().await;
    let database = Database::new().await;
    let client = database.connect().await;
    for schedule in ["''", "'whenever'", "'61 * * * *'", "'* * * *'"] {
        let call = format!("SELECT qsessions.schedule_purge({schedule})");
        let refused = failure(&client, &call, &[]).await;
        assert_eq!(refused.code, "22023", "{schedule}: {}", refused.message);
        assert!(
            refused.message.contains("invalid schedule"),
            "{}",
            refused.message
        );
    }
    let refused = failure(&client, "SELECT qsessions.schedule_purge(NULL)", &[]).await;
    assert_eq!(refused.code, "22004");
    assert!(
        refused.message.starts_with("argument \"schedule\""),
        "{}",
        refused.message
    );
    assert!(jobs(database.server(), database.name()).await.is_empty());
}

#[tokio::test]
async fn without_pg_cron_the_hint_says_how_to_install_it() {
    // The settings of pg_cron are still in the configuration, as after an administrator has removed
    // the library.
    let server = Server::builder()
        .setting("shared_preload_libraries", "")
        .start()
        .await
        .unwrap();
    let client = server.connect("postgres").await.unwrap();
    client
        .batch_execute("CREATE EXTENSION qsessions")
        .await
        .unwrap();
    for function in ["schedule_purge", "unschedule_purge"] {
        let refused = failure(&client, &format!("SELECT qsessions.{function}()"), &[]).await;
        assert_eq!(refused.code, NOT_READY);
        assert_eq!(refused.message, "pg_cron is not loaded in this server");
        for part in [
            "shared_preload_libraries",
            "restart",
            "CREATE EXTENSION pg_cron",
        ] {
            assert!(refused.hint.contains(part), "{}", refused.hint);
        }
    }
}

/// Name, database and user of all jobs.
async fn all_jobs(cron: &Client) -> Vec<String> {
    let query = "SELECT format('%s | %s | %s', jobname, database, username) FROM cron.job ORDER BY database, username";
    texts(cron, query).await
}

#[tokio::test]
async fn databases_with_long_names_that_begin_alike_have_separate_jobs() {
    if is_missing("pg_cron") {
        return;
    }
    let _turn = turn().await;
    let server = shared().await;
    let admin = server.connect("postgres").await.unwrap();
    let names = ["one", "two"].map(|end| format!("{}_{end}", "s".repeat(59)));
    let mut clients = Vec::new();
    for name in &names {
        let create = format!("CREATE DATABASE {name} TEMPLATE qsessions_template");
        admin.batch_execute(&create).await.unwrap();
        let client = server.connect(name).await.unwrap();
        client
            .batch_execute("SELECT qsessions.create_session_table()")
            .await
            .unwrap();
        schedule(&client, "").await;
        clients.push(client);
    }
    for name in &names {
        assert_eq!(jobs(server, name).await.len(), 1, "{name}");
    }
    assert!(unschedule(&clients[0]).await);
    assert!(!unschedule(&clients[0]).await);
    assert!(jobs(server, &names[0]).await.is_empty());
    assert_eq!(jobs(server, &names[1]).await.len(), 1);
    assert!(unschedule(&clients[1]).await);
}

#[tokio::test]
async fn after_a_change_of_owner_only_the_new_owner_has_a_job() {
    if is_missing("pg_cron") {
        return;
    }
    let _turn = turn().await;
    let database = Database::new().await;
    let client = database.connect().await;
    let (first, second) = (
        new_role(&database, &client, "first").await,
        new_role(&database, &client, "second").await,
    );
    for (owner, replaces) in [(&first, false), (&second, true), (&second, true)] {
        client
            .batch_execute(&format!(
                "ALTER TABLE qsessions.session OWNER TO {owner};
                 GRANT EXECUTE ON ALL ROUTINES IN SCHEMA qsessions TO {owner}"
            ))
            .await
            .unwrap();
        assert_eq!(
            !jobs(database.server(), database.name()).await.is_empty(),
            replaces
        );
        let id = schedule(&client, "").await;
        let job =
            format!("{id} | */5 * * * * | CALL qsessions.purge(batch_size => 10000) | {owner} | t");
        assert_eq!(jobs(database.server(), database.name()).await, [job]);
    }
    // This removes the jobs of all owners.
    client
        .batch_execute("ALTER TABLE qsessions.session OWNER TO postgres")
        .await
        .unwrap();
    assert!(unschedule(&client).await);
    assert!(jobs(database.server(), database.name()).await.is_empty());
}

#[tokio::test]
async fn after_a_rename_of_the_database_the_job_is_found() {
    if is_missing("pg_cron") {
        return;
    }
    for is_scheduled_again in [true, false] {
        let (server, home, app) = unfinished().await;
        home.batch_execute("CREATE EXTENSION pg_cron")
            .await
            .unwrap();
        schedule(&app, "").await;
        assert_eq!(jobs(&server, "app").await.len(), 1);
        rename(&home, app, "app", "shop").await;
        let shop = server.connect("shop").await.unwrap();
        if is_scheduled_again {
            schedule(&shop, "").await;
            assert_eq!(jobs(&server, "shop").await.len(), 1);
            assert_eq!(all_jobs(&home).await.len(), 1);
        }
        assert!(unschedule(&shop).await);
        assert!(all_jobs(&home).await.is_empty());
    }
}

/// Renames a database when the server has noticed the end of its last connection.
async fn rename(home: &Client, last: Client, from: &str, to: &str) {
    drop(last);
    let renamed = timeout(Duration::from_secs(60), async {
        let statement = format!("ALTER DATABASE {from} RENAME TO {to}");
        while home.batch_execute(&statement).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    });
    renamed.await.expect("the connection ends");
}

#[tokio::test]
async fn a_job_of_an_older_name_and_an_inactive_one_are_replaced() {
    if is_missing("pg_cron") {
        return;
    }
    let (server, home, app) = unfinished().await;
    home.batch_execute(
        "CREATE EXTENSION pg_cron;
         SELECT cron.schedule_in_database('qsessions purge of app', '0 0 * * *', 'CALL qsessions.purge(batch_size => 10)', 'app');
         SELECT cron.schedule_in_database('qsessions purge of mine', '0 0 * * *', 'SELECT 1', 'app')",
    )
    .await
    .unwrap();
    for _ in 0..2 {
        let id = schedule(&app, "").await;
        let found = jobs(&server, "app").await;
        let job = format!(
            "{id} | */5 * * * * | CALL qsessions.purge(batch_size => 10000) | postgres | t"
        );
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.contains(&job), "{found:?}");
        home.batch_execute(&format!("SELECT cron.alter_job({id}, active => false)"))
            .await
            .unwrap();
    }
    assert!(unschedule(&app).await);
    // A job of the administrator whose name begins alike is kept.
    let left = all_jobs(&home).await;
    assert_eq!(left, ["qsessions purge of mine | app | postgres"]);
}

/// In a cluster that was restored from a dump, jobs contain the OIDs of databases of the old
/// cluster.
#[tokio::test]
async fn a_job_of_another_database_is_kept_regardless_of_the_oid_in_its_name() {
    if is_missing("pg_cron") {
        return;
    }
    let (server, home, app) = unfinished().await;
    home.batch_execute("CREATE EXTENSION pg_cron")
        .await
        .unwrap();
    let oid: u32 = row(
        &app,
        "SELECT oid FROM pg_database WHERE datname = 'app'",
        &[],
    )
    .await
    .get(0);
    home.batch_execute(&format!(
        "SELECT cron.schedule_in_database('qsessions purge of database {oid}: postgres', '0 0 * * *',
                                          'CALL qsessions.purge(batch_size => 10)', 'postgres')"
    ))
    .await
    .unwrap();
    assert!(!unschedule(&app).await);
    schedule(&app, "").await;
    assert_eq!(jobs(&server, "app").await.len(), 1);
    assert_eq!(jobs(&server, "postgres").await.len(), 1);
    assert!(unschedule(&app).await);
    assert_eq!(jobs(&server, "postgres").await.len(), 1);
    // Its own database recognizes it.
    schedule(&home, "").await;
    let home_oid: u32 = row(
        &home,
        "SELECT oid FROM pg_database WHERE datname = 'postgres'",
        &[],
    )
    .await
    .get(0);
    assert_eq!(
        all_jobs(&home).await,
        [format!(
            "qsessions purge of database {home_oid}: postgres | postgres | postgres"
        )]
    );
}

/// If two databases used the same job name, pg_cron would keep the database of the existing job.
#[tokio::test]
async fn a_job_name_of_another_database_is_refused() {
    if is_missing("pg_cron") {
        return;
    }
    let (server, home, app) = unfinished().await;
    home.batch_execute("CREATE EXTENSION pg_cron")
        .await
        .unwrap();
    let oid: u32 = row(
        &app,
        "SELECT oid FROM pg_database WHERE datname = 'app'",
        &[],
    )
    .await
    .get(0);
    home.batch_execute(&format!(
        "SELECT cron.schedule_in_database('qsessions purge of database {oid}: app', '0 0 * * *',
                                          'CALL qsessions.purge(batch_size => 10)', 'postgres')"
    ))
    .await
    .unwrap();
    let refused = failure(&app, "SELECT qsessions.schedule_purge()", &[]).await;
    assert_eq!(refused.code, "42710", "{}", refused.message);
    assert!(
        refused.message.contains("\"postgres\""),
        "{}",
        refused.message
    );
    assert!(
        refused.hint.contains("in that database"),
        "{}",
        refused.hint
    );
    schedule(&home, "").await;
    schedule(&app, "").await;
    assert_eq!(jobs(&server, "app").await.len(), 1);
    assert_eq!(jobs(&server, "postgres").await.len(), 1);
}

/// Objects that the owner of pg_cron's database can create without superuser privileges before
/// pg_cron is created.
const FORGED: &str = "
    CREATE SCHEMA cron;
    CREATE TABLE cron.job (jobid bigint, schedule text, command text, nodename text, nodeport int, database text,
                           username text, active boolean, jobname name);
    INSERT INTO cron.job VALUES (1, '', 'CALL qsessions.purge()', '', 0, 'app', 'postgres', true, 'qsessions purge of app'),
                                (2, '', 'CALL qsessions.purge()', '', 0, 'postgres', 'postgres', true, 'qsessions purge of postgres');
    CREATE FUNCTION cron.evil() RETURNS bigint LANGUAGE plpgsql AS
        $$ BEGIN EXECUTE 'ALTER ROLE mallory SUPERUSER'; RETURN 1; END $$;
    CREATE FUNCTION cron.schedule_in_database(text, text, text, text, text DEFAULT NULL, boolean DEFAULT true)
        RETURNS bigint LANGUAGE sql AS 'SELECT cron.evil()';
    CREATE FUNCTION cron.schedule_in_database(text, text, text, text, name DEFAULT NULL)
        RETURNS bigint LANGUAGE sql AS 'SELECT cron.evil()';
    CREATE FUNCTION cron.unschedule(bigint) RETURNS boolean LANGUAGE sql AS 'SELECT cron.evil() > 0';
    GRANT ALL ON ALL TABLES IN SCHEMA cron TO PUBLIC;
    GRANT USAGE ON SCHEMA cron TO PUBLIC";

#[tokio::test]
async fn only_pg_crons_own_functions_are_called() {
    if is_missing("pg_cron") {
        return;
    }
    let (_server, home, app) = unfinished().await;
    home.batch_execute("CREATE ROLE mallory LOGIN; ALTER DATABASE postgres OWNER TO mallory")
        .await
        .unwrap();
    home.batch_execute(&format!("SET ROLE mallory; {FORGED}; RESET ROLE"))
        .await
        .unwrap();
    for client in [&home, &app] {
        for function in ["schedule_purge", "unschedule_purge"] {
            let refused = failure(client, &format!("SELECT qsessions.{function}()"), &[]).await;
            assert_eq!(refused.code, NOT_READY, "{}", refused.message);
            assert!(
                refused.message.contains("cron.")
                    && refused
                        .message
                        .contains("in database \"postgres\" does not belong to extension pg_cron"),
                "{}",
                refused.message
            );
            assert!(
                refused.hint.contains("CREATE EXTENSION pg_cron"),
                "{}",
                refused.hint
            );
        }
    }
    assert!(!is_superuser(&home, "mallory").await);

    // A superuser follows the hint.
    home.batch_execute("DROP SCHEMA cron CASCADE; CREATE EXTENSION pg_cron")
        .await
        .unwrap();
    for client in [&home, &app] {
        schedule(client, "").await;
        assert!(unschedule(client).await);
    }
}

/// Functions in the schema of the real pg_cron that PostgreSQL would prefer for arguments without a
/// type.
#[tokio::test]
async fn other_functions_of_the_same_name_are_not_called() {
    if is_missing("pg_cron") {
        return;
    }
    let (server, home, app) = unfinished().await;
    home.batch_execute(
        "CREATE ROLE mallory LOGIN;
         CREATE EXTENSION pg_cron;
         GRANT USAGE, CREATE ON SCHEMA cron TO mallory;
         ALTER DATABASE postgres OWNER TO mallory;
         SET ROLE mallory;
         ALTER DATABASE postgres SET search_path = cron, pg_catalog;
         CREATE FUNCTION cron.evil() RETURNS bigint LANGUAGE plpgsql AS
             $$ BEGIN EXECUTE 'ALTER ROLE mallory SUPERUSER'; RETURN 1; END $$;
         CREATE FUNCTION cron.schedule_in_database(text, text, text, text, text) RETURNS bigint LANGUAGE sql AS 'SELECT cron.evil()';
         CREATE FUNCTION cron.schedule_in_database(text, text, text, name, text, boolean) RETURNS bigint LANGUAGE sql AS 'SELECT cron.evil()';
         CREATE FUNCTION cron.unschedule(integer) RETURNS boolean LANGUAGE sql AS 'SELECT cron.evil() > 0';
         CREATE FUNCTION cron.unschedule(numeric) RETURNS boolean LANGUAGE sql AS 'SELECT cron.evil() > 0';
         CREATE FUNCTION cron.starts_with(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT cron.evil() > 0';
         CREATE FUNCTION cron.same(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT cron.evil() > 0';
         CREATE OPERATOR cron.= (FUNCTION = cron.same, LEFTARG = text, RIGHTARG = text);
         RESET ROLE",
    )
    .await
    .unwrap();
    let home = {
        drop(home);
        server.connect("postgres").await.unwrap()
    };
    for (client, database) in [(&home, "postgres"), (&app, "app")] {
        schedule(client, "").await;
        schedule(client, "'* * * * *'").await;
        assert_eq!(jobs(&server, database).await.len(), 1);
        assert!(unschedule(client).await);
    }
    assert!(!is_superuser(&home, "mallory").await);
}

async fn is_superuser(client: &Client, role: &str) -> bool {
    row(
        client,
        "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) text($1)::pg_catalog.name",
        &[&role],
    )
    .await
    .get(0)
}

/// A server with pg_cron loaded but not created, and with qsessions in pg_cron's database and in
/// database `app`.
async fn unfinished() -> (Server, Client, Client) {
    let server = Server::builder().start().await.unwrap();
    let home = server.connect("postgres").await.unwrap();
    home.batch_execute("CREATE DATABASE app").await.unwrap();
    let app = server.connect("app").await.unwrap();
    for client in [&home, &app] {
        client
            .batch_execute("CREATE EXTENSION qsessions; SELECT qsessions.create_session_table()")
            .await
            .unwrap();
    }
    (server, home, app)
}

#[tokio::test]
async fn a_purge_is_scheduled_in_the_database_of_pg_cron_once_it_is_created() {
    if is_missing("pg_cron") {
        return;
    }
    let (server, home, app) = unfinished().await;
    for client in [&home, &app] {
        for function in ["schedule_purge", "unschedule_purge"] {
            let refused = failure(client, &format!("SELECT qsessions.{function}()"), &[]).await;
            assert_eq!(refused.code, NOT_READY, "{}", refused.message);
            assert!(
                refused
                    .message
                    .contains("does not exist in database \"postgres\""),
                "{}",
                refused.message
            );
            assert!(
                refused.hint.contains("CREATE EXTENSION pg_cron"),
                "{}",
                refused.hint
            );
        }
    }
    home.batch_execute("CREATE EXTENSION pg_cron")
        .await
        .unwrap();

    // In pg_cron's database, the job is part of the transaction.
    home.batch_execute("BEGIN").await.unwrap();
    schedule(&home, "").await;
    home.batch_execute("ROLLBACK").await.unwrap();
    assert!(jobs(&server, "postgres").await.is_empty());

    schedule(&home, "").await;
    schedule(&home, "'* * * * *'").await;
    schedule(&app, "").await;
    assert_eq!(jobs(&server, "postgres").await.len(), 1);
    assert_eq!(jobs(&server, "app").await.len(), 1);
    assert_eq!(
        failure(&home, "SELECT qsessions.schedule_purge('?')", &[])
            .await
            .code,
        "22023"
    );
    assert!(unschedule(&home).await);
    assert!(!unschedule(&home).await);
    assert_eq!(jobs(&server, "app").await.len(), 1);
}

#[tokio::test]
async fn a_role_needs_every_privilege_to_schedule() {
    if is_missing("pg_cron") {
        return;
    }
    let _turn = turn().await;
    let database = Database::new().await;
    let admin = database.connect().await;
    let cron = database.server().connect("postgres").await.unwrap();
    let role = new_role(&database, &admin, "keeper").await;
    admin
        .batch_execute(&format!("ALTER TABLE qsessions.session OWNER TO {role}"))
        .await
        .unwrap();
    let client = database.connect_as(&role).await;
    let call = "SELECT qsessions.schedule_purge()";
    let refused = failure(&client, call, &[]).await;
    assert_eq!(refused.code, DENIED);

    let routines = format!("GRANT EXECUTE ON ALL ROUTINES IN SCHEMA qsessions TO {role}");
    admin.batch_execute(&routines).await.unwrap();
    for (grant, missing) in [
        ("GRANT pg_read_all_settings", "pg_read_all_settings"),
        (
            "GRANT USAGE ON SCHEMA cron",
            "permission denied for schema cron",
        ),
        (
            "GRANT EXECUTE ON FUNCTION cron.schedule_in_database",
            "permission denied for function schedule_in_database",
        ),
    ] {
        let refused = failure(&client, call, &[]).await;
        assert_eq!(refused.code, DENIED, "{}", refused.message);
        assert_eq!(refused.message, "permission denied to schedule purges");
        assert!(refused.detail.contains(missing), "{}", refused.detail);
        assert!(refused.hint.contains("superuser"), "{}", refused.hint);
        let grant = format!("{grant} TO {role}");
        cron.batch_execute(&grant).await.unwrap();
    }
    let id = schedule(&client, "").await;
    let job =
        format!("{id} | */5 * * * * | CALL qsessions.purge(batch_size => 10000) | {role} | t");
    assert_eq!(jobs(database.server(), database.name()).await, [job]);
    assert!(unschedule(&client).await);
}

#[tokio::test]
async fn a_role_without_connect_on_the_database_of_pg_cron_gets_an_error() {
    if is_missing("pg_cron") {
        return;
    }
    let (server, home, app) = unfinished().await;
    home.batch_execute(
        "CREATE EXTENSION pg_cron;
         REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;
         CREATE ROLE keeper LOGIN IN ROLE pg_read_all_settings;
         CREATE ROLE idle IN ROLE pg_read_all_settings",
    )
    .await
    .unwrap();
    app.batch_execute("GRANT EXECUTE ON ALL ROUTINES IN SCHEMA qsessions TO keeper, idle")
        .await
        .unwrap();
    for role in ["keeper", "idle"] {
        app.batch_execute(&format!("ALTER TABLE qsessions.session OWNER TO {role}"))
            .await
            .unwrap();
        app.batch_execute(&format!("SET ROLE {role}"))
            .await
            .unwrap();
        let refused = failure(&app, "SELECT qsessions.schedule_purge()", &[]).await;
        assert_eq!(refused.code, "08000", "{}", refused.message);
        assert!(
            refused.message.contains("database \"postgres\""),
            "{}",
            refused.message
        );
        assert!(refused.hint.contains("CONNECT"), "{}", refused.hint);
        app.batch_execute("RESET ROLE").await.unwrap();
    }
    assert!(jobs(&server, "app").await.is_empty());
}

#[tokio::test]
async fn a_scheduled_purge_runs() {
    if is_missing("pg_cron") {
        return;
    }
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "user_id => 1").await;
    add_expired(&client, 25).await;
    {
        let _turn = turn().await;
        schedule(&client, "'* * * * *', batch_size => 10").await;
    }
    // pg_cron starts jobs at the beginning of a minute, so this can take more than a minute.
    let purged = timeout(Duration::from_secs(180), async {
        while sessions(&client).await > 1 {
            sleep(Duration::from_millis(200)).await;
        }
    });
    purged.await.expect("the job runs within three minutes");
    let left: uuid::Uuid = row(&client, "SELECT id FROM qsessions.session", &[])
        .await
        .get(0);
    assert_eq!(left, session.id);
    let _turn = turn().await;
    assert!(unschedule(&client).await);
}
