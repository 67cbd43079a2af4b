use crate::common::{Browser, Console, pool};
use axum::http::StatusCode;
use qsessions_console::Options;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[tokio::test]
async fn health_shows_each_subject_and_no_warning_where_all_is_well() {
    let console = Console::new().await;
    console.begin("1").await;
    console
        .admin
        .batch_execute("VACUUM ANALYZE qsessions.session")
        .await
        .unwrap();
    let page = console.get("/health").await;
    assert_eq!(page.status, StatusCode::OK);
    page.has("Nothing that the console can see needs attention.")
        .has("Notifications for caches")
        .has("the library is not preloaded")
        .has("The jobs of pg_cron are not visible here")
        .has("There is none, so places and countries are unknown.")
        .has("the rows need about")
        .has("1 live, 0 dead");
}

#[tokio::test]
async fn health_warns_of_a_purge_that_does_not_run() {
    let console = Console::new().await;
    console.add(3, "1", "NULL").await;
    let expire = "UPDATE qsessions.session SET expires_at = now() - interval '3 days'";
    console.admin.execute(expire, &[]).await.unwrap();
    let page = console.get("/health").await;
    page.has("An expired session has been waiting for a purge for 3 days.")
        .has("3 expired, the oldest");
}

#[tokio::test]
async fn health_warns_of_notifications_that_are_not_sent() {
    let console = Console::new().await;
    console
        .admin
        .batch_execute("ALTER TABLE qsessions.session DISABLE TRIGGER USER")
        .await
        .unwrap();
    console
        .get("/health")
        .await
        .has("Caches are not notified as they should be:")
        .has("What needs attention");
}

#[tokio::test]
async fn health_names_a_geoip_file_that_cannot_be_used() {
    let console = Console::new().await;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.path().join("broken.mmdb"), "<not a database>").unwrap();
    let name = console.database.name();
    let path = folder.path().display();
    let set = format!("ALTER DATABASE {name} SET qsessions.geoip_path = '{path}'");
    console.admin.batch_execute(&set).await.unwrap();
    let again = console.database.connect().await;
    again
        .batch_execute("SELECT FROM qsessions.geoip_reload()")
        .await
        .unwrap();
    let page = console.get("/health").await;
    page.has("broken.mmdb")
        .has("cannot be used:")
        .has_not("<not a database>");
}

#[tokio::test]
async fn health_shows_the_jobs_of_pg_cron_where_they_can_be_seen() {
    let server = qsessions_testkit::shared().await;
    let admin = server.connect("postgres").await.unwrap();
    // pg_cron lives in this database, which no other test of the console uses.
    admin
        .batch_execute("CREATE EXTENSION qsessions; SELECT qsessions.create_session_table()")
        .await
        .unwrap();
    let browser = Browser::new(qsessions_console::router(
        pool(server.config("postgres")),
        Options::new(),
    ));
    browser
        .get("/health")
        .await
        .has("This role sees no job of pg_cron that purges.");
    admin
        .execute("SELECT qsessions.schedule_purge('*/7 * * * *')", &[])
        .await
        .unwrap();
    browser
        .get("/health")
        .await
        .has("<code>*/7 * * * *</code>")
        .has("CALL qsessions.purge(");
    admin
        .execute(
            "SELECT cron.alter_job(jobid, active => false) FROM cron.job",
            &[],
        )
        .await
        .unwrap();
    browser
        .get("/health")
        .await
        .has("The job of pg_cron that purges (*/7 * * * *) is not active.");
}
