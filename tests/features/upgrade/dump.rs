//! Dumps of updated databases, and of databases that were not updated yet.

use super::catalogue::{assert_same, description};
use super::{UPGRADE, old, uses_the_new_columns};
use crate::common::roles::new_role;
use crate::common::{alive, begin, row};
use qsessions_testkit::Database;

#[tokio::test]
async fn an_updated_database_can_be_dumped_and_restored() {
    let database = old().await;
    let client = database.connect().await;
    let role = new_role(&database, &client, "app").await;
    let key = begin(&client, "user_id => 1").await.key;
    client
        .batch_execute(&format!("SELECT qsessions.grant_access('{role}')"))
        .await
        .unwrap();
    client.batch_execute(UPGRADE).await.unwrap();
    let server = database.server();
    let copy = copy(&database, "0.2.0").await;
    let restored = server.connect(&copy).await.unwrap();
    assert_same(
        &description(&client, &role).await,
        &description(&restored, &role).await,
    );
    let app = qsessions_testkit::connect(server.config(&copy).user(&role))
        .await
        .unwrap();
    assert!(alive(&app, &key).await);
    row(&app, "SELECT qsessions.location('192.0.2.1')", &[]).await;
    uses_the_new_columns(&app, &key).await;
}

/// pg_dump does not write which version of an extension a database has, so a restore would create
/// the present one, which lacks functions that triggers and grants in the dump name.
#[tokio::test]
async fn a_dump_of_an_old_version_can_be_restored_and_updated() {
    let database = old().await;
    let client = database.connect().await;
    let role = new_role(&database, &client, "app").await;
    let key = begin(&client, "user_id => 1").await.key;
    client
        .batch_execute(&format!("SELECT qsessions.grant_access('{role}')"))
        .await
        .unwrap();
    let server = database.server();
    let copy = copy(&database, "0.1.0").await;
    let restored = server.connect(&copy).await.unwrap();
    restored.batch_execute(UPGRADE).await.unwrap();
    let app = qsessions_testkit::connect(server.config(&copy).user(&role))
        .await
        .unwrap();
    assert!(alive(&app, &key).await);
    row(&app, "SELECT qsessions.location('192.0.2.1')", &[]).await;
    uses_the_new_columns(&app, &key).await;
}

/// The name of a new database, restored from a dump of this one after this version of the extension
/// was created there.
pub(super) async fn copy(database: &Database, version: &str) -> String {
    let server = database.server();
    let (name, copy) = (database.name(), format!("{}_copy", database.name()));
    let create = format!("CREATE DATABASE {copy} TEMPLATE template0");
    let client = database.connect().await;
    client.batch_execute(&create).await.unwrap();
    let extension = format!("CREATE EXTENSION qsessions VERSION '{version}'");
    let target = server.connect(&copy).await.unwrap();
    target.batch_execute(&extension).await.unwrap();
    let file = server.folder().join(format!("{name}.dump"));
    let (file, sockets) = (file.to_str().unwrap(), server.folder().to_str().unwrap());
    let connection = ["-h", sockets, "-U", "postgres"];
    let dump = ["-Fc", "-d", name, "-f", file];
    let restore = ["--exit-on-error", "-d", &copy, file];
    let installation = server.installation();
    installation
        .run("pg_dump", connection.iter().chain(&dump))
        .unwrap();
    installation
        .run("pg_restore", connection.iter().chain(&restore))
        .unwrap();
    copy
}
