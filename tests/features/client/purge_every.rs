//! Purges in the background: one process at a time, through poolers and restarts.

use super::{HOUR, pool, store};
use crate::common::{add_expired, row, sessions};
use qsessions::{Error, PurgeTask, Store};
use qsessions_testkit::{Database, PgBouncer, Server, StopMode};
use std::time::Duration;
use tokio_postgres::Client;

const SECOND: Duration = Duration::from_secs(1);

/// Has each purge wait for a lock that the test holds, and fail if another purge is running.
async fn hold_purges(database: &Database) -> Client {
    let client = database.connect().await;
    client
        .batch_execute(
            "CREATE FUNCTION public.hold_purge() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 IF NOT pg_try_advisory_xact_lock(8) THEN
                     RAISE EXCEPTION 'two purges at the same time' USING ERRCODE = 'XX001';
                 END IF;
                 PERFORM pg_advisory_xact_lock(7);
                 RETURN NULL;
             END $$;
             CREATE TRIGGER hold_purge BEFORE DELETE ON qsessions.session
             FOR EACH STATEMENT EXECUTE FUNCTION public.hold_purge();
             SELECT pg_advisory_lock(7)",
        )
        .await
        .unwrap();
    client
}

async fn release_purges(client: &Client) {
    let sql = "SELECT pg_advisory_unlock(7)";
    assert!(row(client, sql, &[]).await.get::<_, bool>(0));
}

/// The number of purges that wait for the test.
async fn held_purges(client: &Client) -> i64 {
    let sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    row(client, sql, &[]).await.get(0)
}

async fn until<F: Future<Output = bool>>(mut is_so: impl FnMut() -> F) {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while !is_so().await {
        ticks.tick().await;
    }
}

async fn until_purged(client: &Client) {
    until(async || sessions(client).await == 0).await;
}

fn has_failed(task: &PurgeTask) -> bool {
    task.last_error().is_some()
}

#[tokio::test]
async fn two_processes_purge_everything_one_at_a_time() {
    let (database, one) = store().await;
    let other = Store::new(pool(&database));
    let client = hold_purges(&database).await;
    add_expired(&client, 2500).await;
    let one = one.purge_every(SECOND).unwrap();
    let other = other.purge_every(SECOND).unwrap();
    until(async || held_purges(&client).await > 0).await;
    // The other process has had a round too.
    until(async || one.skipped() + other.skipped() > 0).await;
    assert_eq!(held_purges(&client).await, 1);
    release_purges(&client).await;
    until_purged(&client).await;
    until(async || one.purged() + other.purged() == 2500).await;
    assert!(
        !has_failed(&one) && !has_failed(&other),
        "{one:?} {other:?}"
    );
}

#[tokio::test]
async fn a_task_that_is_stopped_ends_after_its_statement() {
    let (database, store) = store().await;
    let client = hold_purges(&database).await;
    add_expired(&client, 2500).await;
    let task = store.purge_every(SECOND).unwrap();
    until(async || held_purges(&client).await > 0).await;
    let stopping = tokio::spawn(task.stop());
    tokio::task::yield_now().await;
    release_purges(&client).await;
    stopping.await.unwrap();
    assert_eq!(sessions(&client).await, 1500);
}

#[tokio::test]
async fn purges_go_on_after_a_restart_of_the_server() {
    let mut server = Server::builder().durable().start().await.unwrap();
    let client = server.connect("postgres").await.unwrap();
    let sql = "CREATE EXTENSION qsessions; SELECT qsessions.create_session_table()";
    client.batch_execute(sql).await.unwrap();
    let stores = [0, 1].map(|_| Store::new(super::pool_to(&server.config("postgres"))));
    let tasks = stores.map(|store| store.purge_every(SECOND).unwrap());
    add_expired(&client, 10).await;
    until_purged(&client).await;
    server.stop(StopMode::Immediate).unwrap();
    until(async || tasks.iter().all(has_failed)).await;
    assert!(tasks.iter().all(|task| {
        task.last_error()
            .is_some_and(|error| error.kind() == qsessions::ErrorKind::Unavailable)
    }));
    server.start().await.unwrap();
    let client = server.connect("postgres").await.unwrap();
    // Crash recovery keeps what was committed.
    add_expired(&client, 10).await;
    until_purged(&client).await;
    until(async || !tasks.iter().any(has_failed)).await;
    let purged: u64 = tasks.iter().map(PurgeTask::purged).sum();
    assert!(purged >= 10, "{tasks:?}");
}

#[tokio::test]
async fn a_task_purges_through_a_pooler_in_transaction_mode() {
    let database = Database::new().await;
    let client = database.connect().await;
    let pooler = PgBouncer::in_front_of(database.server(), 2).await.unwrap();
    let pool = super::pool_to(&pooler.config(database.name()));
    let store = Store::builder(pool).unnamed_statements().build();
    add_expired(&client, 1500).await;
    let task = store.purge_every(SECOND).unwrap();
    until_purged(&client).await;
    until(async || task.purged() == 1500).await;
    assert!(!has_failed(&task), "{task:?}");
}

#[tokio::test]
async fn a_failure_is_shown_until_a_purge_succeeds() {
    let (database, store) = store().await;
    let client = database.connect().await;
    let rename = |from: &str, to: &str| format!("ALTER TABLE qsessions.{from} RENAME TO {to}");
    client
        .batch_execute(&rename("session", "away"))
        .await
        .unwrap();
    let task = store.purge_every(SECOND).unwrap();
    until(async || has_failed(&task)).await;
    client
        .batch_execute(&rename("away", "session"))
        .await
        .unwrap();
    until(async || !has_failed(&task)).await;
}

#[test]
fn an_interval_of_less_than_a_second_and_a_thread_without_a_runtime_are_errors() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_database, store) = runtime.block_on(store());
    let too_short = runtime.block_on(async { store.purge_every(SECOND / 2) });
    for refused in [too_short, store.purge_every(HOUR)] {
        assert!(
            matches!(refused, Err(Error::Configuration { .. })),
            "{refused:?}"
        );
    }
}
