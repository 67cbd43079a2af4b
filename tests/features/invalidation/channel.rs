//! Changes of `qsessions.invalidation_channel` while sessions change and caches listen.

use super::{Listener, received_until, server_with};
use crate::common::{begin, row};
use deadpool_postgres::{Manager, Pool};
use qsessions::{CachedStore, Key, Store};
use qsessions_testkit::Server;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(60);

/// Sets another channel; returns when new connections use it.
async fn move_to(server: &Server, channel: &str) {
    let admin = server.connect("postgres").await.unwrap();
    // The connection may not know the parameter before it calls a function of the extension.
    shown(&admin).await;
    admin
        .batch_execute(&format!(
            "ALTER SYSTEM SET qsessions.invalidation_channel = '{channel}'"
        ))
        .await
        .unwrap();
    row(&admin, "SELECT pg_reload_conf()", &[]).await;
    while shown(&server.connect("postgres").await.unwrap()).await != channel {}
}

/// A statement that has begun before a change of the parameter, and uses the old value.
struct Late {
    admin: Client,
    statement: JoinHandle<()>,
}

impl Late {
    async fn logout(server: &Server, key: &str) -> Self {
        let admin = server.connect("postgres").await.unwrap();
        admin.batch_execute("CREATE TABLE go ()").await.unwrap();
        let client = server.connect("postgres").await.unwrap();
        let pid: i32 = row(&client, "SELECT pg_backend_pid()", &[]).await.get(0);
        let statement = format!(
            "DO $$ BEGIN PERFORM qsessions.logout('{key}');
             WHILE NOT EXISTS (SELECT FROM go) LOOP PERFORM pg_sleep(0.01); END LOOP; END $$"
        );
        let statement =
            tokio::spawn(async move { client.batch_execute(&statement).await.unwrap() });
        let has_begun =
            "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'";
        while row(&admin, has_begun, &[&pid]).await.get::<_, i64>(0) == 0 {}
        Self { admin, statement }
    }

    async fn commit(self) {
        let go = "INSERT INTO go DEFAULT VALUES";
        self.admin.batch_execute(go).await.unwrap();
        self.statement.await.unwrap();
    }
}

async fn shown(client: &Client) -> String {
    row(client, "SELECT qsessions.invalidation_channel()", &[])
        .await
        .get(0)
}

#[tokio::test]
async fn the_first_transaction_on_another_channel_sends_everything_on_both() {
    let server = server_with(&[]).await;
    let mut old = Listener::new(server.config("postgres")).await;
    let mut new = Listener::on("other", server.config("postgres")).await;
    let (ended, ended_late) = (begin(&old.client, "").await, begin(&old.client, "").await);

    let late = Late::logout(&server, &ended_late.key).await;
    move_to(&server, "other").await;
    while shown(&old.client).await != "other" {}
    row(&old.client, "SELECT qsessions.logout($1)", &[&ended.key]).await;
    assert_eq!(
        received_until(&mut new, ended.id).await,
        ["*".to_owned(), ended.id.to_string()]
    );
    assert_eq!(old.payloads.recv().await.unwrap(), "*");

    late.commit().await;
    let probe = Uuid::from_u128(7);
    row(&old.client, "SELECT qsessions.invalidate($1)", &[&probe]).await;
    // The other listener receives `*` for it.
    assert_eq!(
        received_until(&mut new, probe).await,
        ["*".to_owned(), "*".to_owned(), probe.to_string()]
    );
    assert_eq!(
        received_until(&mut old, ended_late.id).await,
        ["*".to_owned(), ended_late.id.to_string()]
    );
    assert_eq!(old.payloads.recv().await.unwrap(), "*");

    // Back on the default channel, the record is empty.
    move_to(&server, "qsessions").await;
    while shown(&old.client).await != "qsessions" {}
    row(&old.client, "SELECT qsessions.invalidate($1)", &[&probe]).await;
    assert_eq!(
        received_until(&mut old, probe).await,
        ["*".to_owned(), probe.to_string()]
    );
    let rows = row(
        &old.client,
        "SELECT count(*) FROM qsessions.invalidation_state",
        &[],
    );
    assert_eq!(rows.await.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn the_notifier_adopts_a_change_of_the_channel() {
    the_notifier_adopts_the_channel_with("SELECT qsessions.invalidate(gen_random_uuid())").await;
}

#[tokio::test]
async fn the_notifier_adopts_a_change_of_the_channel_with_a_heartbeat() {
    the_notifier_adopts_the_channel_with("SELECT qsessions.request_heartbeat()").await;
}

async fn the_notifier_adopts_the_channel_with(probe: &str) {
    let server = server_with(&[("shared_preload_libraries", "qsessions")]).await;
    let mut old = Listener::new(server.config("postgres")).await;
    let mut new = Listener::on("other", server.config("postgres")).await;
    old.notified().await;
    move_to(&server, "other").await;
    // The notifier may send the first probes on the old channel.
    let first = async {
        loop {
            row(&old.client, probe, &[]).await;
            if let Ok(first) = new.payloads.try_recv() {
                break first;
            }
        }
    };
    let first = timeout(PATIENCE, first).await;
    assert_eq!(first.expect("the notifier keeps the old channel"), "*");
    let last = async { while old.payloads.recv().await.unwrap() != "*" {} };
    let last = timeout(PATIENCE, last).await;
    last.expect("the old channel gets no last notification");
    let session = begin(&old.client, "").await;
    row(&old.client, "SELECT qsessions.logout($1)", &[&session.key]).await;
    received_until(&mut new, session.id).await;
}

/// A store that caches, and one that does not.
async fn stores(server: &Server) -> (CachedStore, Store) {
    let config = server.config("postgres");
    let pool = || {
        Pool::builder(Manager::new(config.clone(), NoTls))
            .max_size(2)
            .build()
            .unwrap()
    };
    let store = Store::builder(pool())
        .cached(config.clone(), NoTls)
        .build()
        .unwrap();
    store.ready().await.unwrap();
    (store, Store::new(pool()))
}

async fn a_cache_follows(settings: &[(&str, &str)]) {
    let server = server_with(settings).await;
    let (store, other) = stores(&server).await;
    for channel in ["other", "qsessions"] {
        let session = other.create().await.unwrap();
        let key: &Key = &session.key;
        assert!(store.load(key).await.unwrap().is_some());
        move_to(&server, channel).await;
        let logout = server.connect("postgres").await.unwrap();
        row(&logout, "SELECT qsessions.logout($1)", &[&key.expose()]).await;
        store.catch_up().await;
        assert!(store.load(key).await.unwrap().is_none());
        // The cache reconnects by itself, and listens on the new channel.
        store.ready().await.unwrap();
    }
}

#[tokio::test]
async fn a_cache_learns_of_a_statement_that_has_begun_before_the_change() {
    let server = server_with(&[]).await;
    let (_, other) = stores(&server).await;
    let session = other.create().await.unwrap();
    let late = Late::logout(&server, session.key.expose()).await;
    move_to(&server, "other").await;
    let (store, _) = stores(&server).await;
    assert!(store.load(&session.key).await.unwrap().is_some());
    late.commit().await;
    store.catch_up().await;
    assert!(store.load(&session.key).await.unwrap().is_none());
}

#[tokio::test]
async fn a_cache_follows_the_channel_without_preload() {
    a_cache_follows(&[]).await;
}

#[tokio::test]
async fn a_cache_follows_the_channel_with_preload() {
    a_cache_follows(&[("shared_preload_libraries", "qsessions")]).await;
}
