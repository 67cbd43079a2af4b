//! Servers and shards that come and go.

use super::{Cluster, DATABASE, call, execute, new_server};
use crate::common::texts;
use qsessions_testkit::connect;

#[tokio::test]
async fn a_worker_can_be_added() {
    let Some(mut cluster) = Cluster::with_users().await else {
        return;
    };
    let coordinator = cluster.connect(0).await;
    execute(&coordinator, "CREATE ROLE app LOGIN").await;
    execute(&coordinator, "SELECT qsessions.grant_access('app')").await;
    let (server, port) = new_server(cluster.servers[0].installation()).await;
    cluster.servers.push(server);
    execute(
        &coordinator,
        &format!("SELECT citus_add_node('localhost', {port})"),
    )
    .await;
    for statement in [
        "SELECT replicate_reference_tables('block_writes')",
        "SELECT qsessions.distribute_session_table()",
        "SELECT qsessions.grant_access('app')",
    ] {
        execute(&coordinator, statement).await;
    }
    // Each statement that moves one.
    let moves = texts(
        &coordinator,
        &format!(
            "SELECT format('SELECT citus_move_shard_placement(%s, %L, %s, ''localhost'', {port}, ''block_writes'')',
                           s.shardid, s.nodename, s.nodeport)
             FROM citus_shards AS s WHERE s.table_name = 'qsessions.session'::regclass"
        ),
    )
    .await;
    let mut keys = Vec::new();
    for _ in 0..20 {
        keys.push(
            call(&coordinator, "(qsessions.create_session(1)).key")
                .await
                .unwrap(),
        );
    }
    for statement in moves {
        execute(&coordinator, &statement).await;
    }
    let started_at = "SELECT pg_postmaster_start_time()::text";
    let new_server = texts(&cluster.connect(3).await, started_at).await;
    for server in &cluster.servers {
        let client = connect(server.config(DATABASE).user("app")).await.unwrap();
        for key in &keys {
            let loaded = format!("(qsessions.load_session('{key}')).user_id");
            assert_eq!(call(&client, &loaded).await.as_deref(), Some("1"));
            execute(
                &client,
                &format!("SELECT qsessions.patch_session('{key}', '{{\"a\": 1}}')"),
            )
            .await;
            // A cache must listen to this server.
            let found = format!("(qsessions.load_for_cache('{key}')).server_started_at");
            assert_eq!(call(&client, &found).await.as_ref(), new_server.first());
        }
        assert_eq!(call(&client, "qsessions.location('192.0.2.1')").await, None);
    }
}
