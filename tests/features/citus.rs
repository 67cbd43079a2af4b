//! A session table that Citus has distributed over two workers.
//!
//! The tests do not install Citus. So these run where `QSESSIONS_CITUS_PG_CONFIG` names a
//! PostgreSQL that has it and this extension, and are skipped elsewhere. `distribute.rs` tests what
//! can be tested without it.

mod cache;
mod calls;
mod notifications;
mod servers;

use crate::common::{failure, row, skipped, texts};
use qsessions_testkit::{Installation, Server};
use std::net::TcpListener;
use tokio_postgres::Client;

const DATABASE: &str = "postgres";

/// PL/pgSQL changes to a plan for all parameters with the sixth call in a connection.
const CALLS: usize = 7;

/// A coordinator and two workers.
struct Cluster {
    servers: Vec<Server>,
}

impl Cluster {
    /// None, and a line that says so, where there is no Citus.
    async fn start(users: &str) -> Option<Self> {
        let Some(installation) = Installation::with_citus().unwrap() else {
            skipped("QSESSIONS_CITUS_PG_CONFIG names no PostgreSQL with Citus");
            return None;
        };
        let (mut servers, mut ports) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (server, port) = new_server(&installation).await;
            servers.push(server);
            ports.push(port);
        }
        let cluster = Self { servers };
        let coordinator = cluster.connect(0).await;
        let mut statements = format!(
            "SELECT citus_set_coordinator_host('localhost', {});",
            ports[0]
        );
        for port in &ports[1..] {
            statements += &format!("SELECT citus_add_node('localhost', {port});");
        }
        statements += "CREATE EXTENSION qsessions;";
        statements += users;
        for statement in statements.split_terminator(';') {
            execute(&coordinator, statement).await;
        }
        execute(
            &coordinator,
            "SELECT qsessions.distribute_session_table(shard_count => 4)",
        )
        .await;
        Some(cluster)
    }

    async fn with_users() -> Option<Self> {
        Self::start(
            "CREATE TABLE users (id bigint PRIMARY KEY);
             INSERT INTO users SELECT generate_series(1, 9);
             SELECT qsessions.create_session_table('users')",
        )
        .await
    }

    async fn connect(&self, node: usize) -> Client {
        self.servers[node].connect(DATABASE).await.unwrap()
    }
}

/// A server with Citus, and the port by which others of the cluster reach it.
async fn new_server(installation: &Installation) -> (Server, u16) {
    // The port is free again when the listener is dropped.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let server = Server::builder()
        .installation(installation.clone())
        .setting("shared_preload_libraries", "citus,qsessions")
        .setting("max_prepared_transactions", "100")
        .setting("track_functions", "all")
        .tcp_port(port)
        .start()
        .await
        .unwrap();
    execute(
        &server.connect(DATABASE).await.unwrap(),
        "CREATE EXTENSION citus",
    )
    .await;
    (server, port)
}

async fn execute(client: &Client, statement: &str) {
    client
        .batch_execute(statement)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error:?}"));
}

/// The text that a call returns; an error says which call it was.
async fn call(client: &Client, statement: &str) -> Option<String> {
    let rows = client
        .query(
            &format!("SELECT r::text FROM (SELECT {statement}) AS c (r)"),
            &[],
        )
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    rows.first().and_then(|row| row.get(0))
}

/// Deletions on two nodes are committed in two phases.
#[tokio::test]
async fn the_sessions_of_a_user_end_on_all_nodes() {
    let Some(cluster) = Cluster::with_users().await else {
        return;
    };
    for node in 0..3 {
        let client = cluster.connect(node).await;
        for round in 0..CALLS {
            execute(
                &client,
                "SELECT qsessions.create_session(user_id => 1) FROM generate_series(1, 8)",
            )
            .await;
            let kept = call(&client, "(qsessions.login(NULL, 1, max_sessions => 6)).key")
                .await
                .unwrap();
            let live = "count(*) FROM qsessions.user_sessions(1)";
            assert_eq!(call(&client, live).await.as_deref(), Some("6"));
            let ended = if round % 2 == 0 {
                call(
                    &client,
                    &format!("qsessions.revoke_user_sessions(1, '{kept}')"),
                )
                .await
            } else {
                call(
                    &client,
                    "qsessions.revoke_sessions(user_id => 1, max_rows => 5)",
                )
                .await
            };
            assert_eq!(ended.as_deref(), Some("5"));
            assert_eq!(
                call(&client, "qsessions.revoke_user_sessions(1)")
                    .await
                    .as_deref(),
                Some("1")
            );
        }
    }
}

#[tokio::test]
async fn shards_are_purged_and_counted() {
    let Some(cluster) = Cluster::with_users().await else {
        return;
    };
    for node in 0..3 {
        let client = cluster.connect(node).await;
        for purge in ["SELECT qsessions.purge_expired()", "CALL qsessions.purge()"] {
            execute(
                &client,
                "SELECT qsessions.create_session(ttl => '1 microsecond') FROM generate_series(1, 30)",
            )
            .await;
            execute(&client, purge).await;
            let expired: i64 = row(&client, "SELECT expired FROM qsessions.stats()", &[])
                .await
                .get(0);
            assert_eq!(expired, 0, "{purge}");
        }
        execute(
            &client,
            "SELECT qsessions.create_session() FROM generate_series(1, 10)",
        )
        .await;
        for exact in [true, false] {
            let stats = row(
                &client,
                "SELECT * FROM qsessions.stats(exact => $1)",
                &[&exact],
            )
            .await;
            assert!(stats.get::<_, i64>("total") >= 10);
            assert!(stats.get::<_, i64>("table_bytes") >= 8192);
            assert!(stats.get::<_, i64>("index_bytes") >= 8192);
        }
    }
}

#[tokio::test]
async fn a_deleted_user_takes_the_sessions_along() {
    let Some(cluster) = Cluster::with_users().await else {
        return;
    };
    let client = cluster.connect(0).await;
    execute(
        &client,
        "SELECT qsessions.create_session(user_id => 1) FROM generate_series(1, 8)",
    )
    .await;
    execute(&client, "DELETE FROM users WHERE id = 1").await;
    assert_eq!(
        texts(&client, "SELECT id::text FROM qsessions.session").await,
        [""; 0]
    );
}

/// After an update of the extension, or when a worker was added, the call is repeated.
#[tokio::test]
async fn the_table_can_be_distributed_again() {
    let Some(cluster) = Cluster::with_users().await else {
        return;
    };
    let coordinator = cluster.connect(0).await;
    let key = call(&coordinator, "(qsessions.create_session(user_id => 1)).key")
        .await
        .unwrap();
    execute(&coordinator, "SELECT qsessions.distribute_session_table()").await;
    assert_eq!(
        call(
            &coordinator,
            &format!("(qsessions.load_session('{key}')).user_id")
        )
        .await
        .as_deref(),
        Some("1")
    );
    let worker = cluster.connect(1).await;
    let refused = failure(&worker, "SELECT qsessions.distribute_session_table()", &[]).await;
    assert_eq!(
        (refused.code.as_str(), refused.message.as_str()),
        ("0A000", "this server is not the coordinator")
    );
    let refused = failure(&coordinator, "SELECT qsessions.create_event_table()", &[]).await;
    assert_eq!(refused.code, "0A000");
}
