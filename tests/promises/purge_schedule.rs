//! Scheduling: pg_cron purges, whichever database of the cluster it lives in.

use crate::common::{add_expired, begin, failure, row, sessions, texts};
use crate::roles::{DENIED, new_role};
use qsessions_tests::{Database, Server, shared};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

/// SQLSTATE object_not_in_prerequisite_state.
const NOT_READY: &str = "55000";

/// Each call starts a background worker, of which a server has eight places: so the tests here take turns.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// The jobs of a database, in the words of pg_cron.
async fn jobs(server: &Server, database: &str) -> Vec<String> {
    let cron = server.connect("postgres").await.unwrap();
    let query = format!(
        "SELECT format('%s | %s | %s | %s | %s', jobid, schedule, command, username, active)
         FROM cron.job WHERE database = '{}' ORDER BY jobid",
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
async fn the_name_of_the_database_may_need_quotes() {
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
async fn schedules_that_are_none_are_refused() {
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
        refused.message.starts_with("schedule: "),
        "{}",
        refused.message
    );
    assert!(jobs(database.server(), database.name()).await.is_empty());
}

#[tokio::test]
async fn without_pg_cron_the_error_says_how_to_get_it() {
    // The settings of pg_cron are still in the configuration, as after an administrator took it out.
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

/// A server with pg_cron loaded and not created, and qsessions where pg_cron is to live and in database `app`.
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
async fn a_purge_is_scheduled_where_pg_cron_lives_once_it_is_there() {
    let (server, home, app) = unfinished().await;
    for client in [&home, &app] {
        for function in ["schedule_purge", "unschedule_purge"] {
            let refused = failure(client, &format!("SELECT qsessions.{function}()"), &[]).await;
            assert_eq!(refused.code, NOT_READY, "{}", refused.message);
            assert!(
                refused
                    .message
                    .contains("not there in database \"postgres\""),
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

    // Here the job is part of the transaction.
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
async fn a_role_schedules_only_if_it_was_given_every_right_to() {
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
async fn who_may_not_enter_the_database_of_pg_cron_gets_an_error() {
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
async fn a_scheduled_purge_purges() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "user_id => 1").await;
    add_expired(&client, 25).await;
    {
        let _turn = turn().await;
        schedule(&client, "'* * * * *', batch_size => 10").await;
    }
    // pg_cron starts its jobs as a minute begins; the condition may take that long, and a slow machine's time.
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
