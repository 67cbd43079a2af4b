//! Monitoring: numbers of sessions, counters, who may read them, and what shows them.

mod dashboard;
mod exporter;
mod metrics;
mod stats;

use crate::common::roles::{DENIED, new_role};
use crate::common::{begin, failure, row, texts};
use qsessions_testkit::{Database, Server};
use tokio_postgres::Client;

/// What a role that monitors may call.
const CALLS: &[&str] = &[
    "SELECT * FROM qsessions.stats()",
    "SELECT * FROM qsessions.stats(exact => false)",
    "SELECT * FROM qsessions.metrics()",
    "SELECT * FROM qsessions.invalidation_status()",
    "SELECT count(*) FROM qsessions.geoip_databases()",
];

/// A server with the library preloaded, which has counters.
pub(super) async fn server_with_metrics() -> Server {
    Server::builder()
        .setting("shared_preload_libraries", "qsessions")
        .start()
        .await
        .unwrap()
}

/// A new database of such a server, with users 1 to 9 and a session table.
pub(super) async fn database_of(server: &Server, name: &str) -> Client {
    let admin = server.connect("postgres").await.unwrap();
    admin
        .batch_execute(&format!("CREATE DATABASE {name}"))
        .await
        .unwrap();
    let client = server.connect(name).await.unwrap();
    client
        .batch_execute(
            "CREATE EXTENSION qsessions;
             CREATE TABLE users (id bigint PRIMARY KEY);
             INSERT INTO users SELECT generate_series(1, 9);
             SELECT qsessions.create_session_table('users')",
        )
        .await
        .unwrap();
    client
}

async fn assert_may_monitor(client: &Client) {
    for call in CALLS {
        row(client, call, &[]).await;
    }
}

#[tokio::test]
async fn a_monitoring_role_sees_numbers_and_no_sessions() {
    let database = Database::new().await;
    let admin = database.connect().await;
    begin(&admin, "user_id => 1, ip => '192.0.2.1'").await;
    let role = new_role(&database, &admin, "monitor").await;
    let client = database.connect_as(&role).await;
    for call in CALLS {
        assert_eq!(failure(&client, call, &[]).await.code, DENIED, "{call}");
    }
    admin
        .batch_execute(&format!("SELECT qsessions.grant_monitoring('{role}')"))
        .await
        .unwrap();
    assert_may_monitor(&client).await;
    let total = "SELECT total FROM qsessions.stats()";
    assert_eq!(row(&client, total, &[]).await.get::<_, i64>(0), 1);
    for statement in [
        "SELECT ip FROM qsessions.session",
        "SELECT digest FROM qsessions.session",
        "SELECT data FROM qsessions.session",
        "SELECT qsessions.list_sessions()",
        "SELECT qsessions.load_session('12345678')",
        "SELECT qsessions.revoke_session(gen_random_uuid())",
        "SELECT qsessions.geoip_reload()",
        "DELETE FROM qsessions.session",
    ] {
        let refused = failure(&client, statement, &[]).await;
        assert_eq!(refused.code, DENIED, "{statement}: {}", refused.message);
    }

    admin
        .batch_execute(&format!("SELECT qsessions.revoke_monitoring('{role}')"))
        .await
        .unwrap();
    for call in CALLS {
        assert_eq!(failure(&client, call, &[]).await.code, DENIED, "{call}");
    }
    // No privilege remains, so the role can be dropped.
    drop(client);
    admin
        .batch_execute(&format!("DROP ROLE {role}"))
        .await
        .unwrap();
}

#[tokio::test]
async fn members_of_pg_monitor_may_monitor() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let role = new_role(&database, &admin, "watcher").await;
    admin
        .batch_execute(&format!("GRANT pg_monitor TO {role}"))
        .await
        .unwrap();
    let client = database.connect_as(&role).await;
    assert_may_monitor(&client).await;
    let data = "SELECT data FROM qsessions.session";
    assert_eq!(failure(&client, data, &[]).await.code, DENIED);
}

#[tokio::test]
async fn to_revoke_monitoring_leaves_an_application_its_access() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let role = new_role(&database, &admin, "app").await;
    let privileges = format!(
        "SELECT concat_ws(' ', attname, a.privilege_type)
         FROM pg_attribute CROSS JOIN aclexplode(attacl) AS a
         WHERE attrelid = 'qsessions.session'::regclass AND a.grantee = '{role}'::regrole
         UNION ALL
         SELECT concat_ws(' ', relname, a.privilege_type) FROM pg_class CROSS JOIN aclexplode(relacl) AS a
         WHERE oid = 'qsessions.session'::regclass AND a.grantee = '{role}'::regrole
         ORDER BY 1"
    );
    let call = async |function: &str| {
        let statement = format!("SELECT qsessions.{function}('{role}')");
        admin.batch_execute(&statement).await.unwrap();
        texts(&admin, &privileges).await
    };
    let before = call("grant_access").await;
    assert_ne!(call("grant_monitoring").await, before);
    assert_eq!(call("revoke_monitoring").await, before);
}
