//! Caches are notified by the server that has the session, in one phase and in two.

use super::{Cluster, DATABASE, execute};
use crate::common::listener::Listener;
use crate::common::{row, texts};
use qsessions_testkit::StopMode;
use std::collections::BTreeSet;
use tokio_postgres::Client;

/// Ids by server.
type ByServer = [BTreeSet<String>; 3];

impl Cluster {
    async fn listen(&self, node: usize) -> Listener {
        Listener::new(self.servers[node].config(DATABASE)).await
    }

    async fn listen_everywhere(&self) -> [Listener; 3] {
        [
            self.listen(0).await,
            self.listen(1).await,
            self.listen(2).await,
        ]
    }
}

/// What was received since the last call. A server sends the id of `invalidate` after the changes
/// that were committed there before.
async fn received(listener: &mut Listener) -> BTreeSet<String> {
    let end: String = row(&listener.client, "SELECT gen_random_uuid()::text", &[])
        .await
        .get(0);
    listener
        .run(&format!("SELECT qsessions.invalidate('{end}')"))
        .await;
    let mut found = BTreeSet::new();
    while !found.contains(&end) {
        let payload = listener
            .payloads
            .recv()
            .await
            .expect("the listener is connected");
        found.extend(payload.split(',').map(str::to_owned));
    }
    found.remove(&end);
    found
}

async fn received_everywhere(listeners: &mut [Listener; 3]) -> ByServer {
    let [first, second, third] = listeners;
    [
        received(first).await,
        received(second).await,
        received(third).await,
    ]
}

/// The sessions of a condition, each with the server that has it.
async fn placed(client: &Client, condition: &str) -> ByServer {
    let mut found = ByServer::default();
    for id in texts(
        client,
        &format!("SELECT s.id::text FROM qsessions.session AS s WHERE {condition}"),
    )
    .await
    {
        let server: i32 = row(
            client,
            &format!(
                "SELECT p.groupid FROM pg_dist_placement AS p
                 WHERE p.shardid = get_shard_id_for_distribution_column('qsessions.session', '{id}'::uuid)"
            ),
            &[],
        )
        .await
        .get(0);
        found[usize::try_from(server).unwrap()].insert(id);
    }
    found
}

/// Begins sessions of a user until both workers have some.
async fn begin_on_both(client: &Client, user: usize) -> ByServer {
    loop {
        execute(
            client,
            &format!(
                "SELECT qsessions.create_session(user_id => {user}) FROM generate_series(1, 4)"
            ),
        )
        .await;
        let sessions = placed(client, &format!("s.user_id = {user}")).await;
        if !sessions[1].is_empty() && !sessions[2].is_empty() {
            return sessions;
        }
    }
}

#[tokio::test]
async fn the_server_that_has_a_session_notifies() {
    let Some(cluster) = Cluster::with_users().await else {
        return;
    };
    let mut listeners = cluster.listen_everywhere().await;
    for node in 0..3 {
        let client = cluster.connect(node).await;
        for change in [
            "SELECT qsessions.revoke_user_sessions(1)",
            "SELECT qsessions.revoke_sessions(user_id => 1)",
            "SELECT qsessions.login(NULL, 1, max_sessions => 1)",
            "UPDATE qsessions.session SET data = '{\"a\": 1}'",
            "DELETE FROM users WHERE id = 1",
        ] {
            let sessions = begin_on_both(&client, 1).await;
            execute(&client, &format!("BEGIN; {change}")).await;
            let nothing = ByServer::default();
            assert_eq!(
                received_everywhere(&mut listeners).await,
                nothing,
                "{change}, before COMMIT"
            );
            execute(&client, "ROLLBACK").await;
            assert_eq!(
                received_everywhere(&mut listeners).await,
                nothing,
                "{change}, after ROLLBACK"
            );
            execute(&client, change).await;
            assert_eq!(
                received_everywhere(&mut listeners).await,
                sessions,
                "{change} on server {node}"
            );
            execute(
                &client,
                "SELECT qsessions.revoke_sessions(created_before => 'infinity')",
            )
            .await;
            received_everywhere(&mut listeners).await;
        }
        execute(&client, "INSERT INTO users VALUES (1)").await;
    }
}

/// A worker that is ended between PREPARE and COMMIT PREPARED has the change to notify of when it
/// runs again: a cache may have read the old row in the meantime.
#[tokio::test]
async fn a_worker_that_crashes_between_two_phases_notifies_after_the_second() {
    let Some(mut cluster) = Cluster::with_users().await else {
        return;
    };
    let coordinator = cluster.connect(0).await;
    let sessions = begin_on_both(&coordinator, 1).await;
    let mut other = cluster.listen(2).await;

    // The coordinator prepares on the workers, writes its own commit, and waits for a standby that
    // does not exist, before it commits on the workers. They are not to be committed by the
    // maintenance daemon instead.
    for setting in [
        "synchronous_standby_names = 'nobody'",
        "citus.recover_2pc_interval = '1d'",
    ] {
        execute(&coordinator, &format!("ALTER SYSTEM SET {setting}")).await;
    }
    execute(&coordinator, "SELECT pg_reload_conf()").await;
    let revoking = cluster.connect(0).await;
    execute(&revoking, "SET synchronous_commit = on").await;
    let revocation = tokio::spawn(async move {
        let revoked = revoking
            .query_one("SELECT qsessions.revoke_user_sessions(1)", &[])
            .await;
        revoked.unwrap().get::<_, i64>(0)
    });
    let prepared = "SELECT gid FROM pg_prepared_xacts";
    for node in 1..3 {
        let worker = cluster.connect(node).await;
        while texts(&worker, prepared).await.is_empty() {
            tokio::task::yield_now().await;
        }
    }
    cluster.servers[1].stop(StopMode::Immediate).unwrap();
    cluster.servers[1].start().await.unwrap();
    let mut restarted = cluster.listen(1).await;
    assert_eq!(texts(&restarted.client, prepared).await.len(), 1);
    received(&mut restarted).await;
    assert_eq!(received(&mut other).await, BTreeSet::new());

    execute(&coordinator, "ALTER SYSTEM RESET synchronous_standby_names").await;
    execute(&coordinator, "SELECT pg_reload_conf()").await;
    let ended = sessions.iter().map(BTreeSet::len).sum::<usize>();
    assert_eq!(revocation.await.unwrap(), i64::try_from(ended).unwrap());
    assert_eq!(received(&mut other).await, sessions[2]);
    // Another connection, because those of the coordinator to the worker have ended with it.
    let coordinator = cluster.connect(0).await;
    execute(&coordinator, "SELECT recover_prepared_transactions()").await;
    assert_eq!(texts(&restarted.client, prepared).await, [""; 0]);
    let late = received(&mut restarted).await;
    assert!(
        late.contains("*") || late.is_superset(&sessions[1]),
        "{late:?}"
    );
    assert_eq!(placed(&coordinator, "true").await, ByServer::default());
}
