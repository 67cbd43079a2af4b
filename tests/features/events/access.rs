//! Who may record events, read them, and make the table.

use super::{CREATE, events, login};
use crate::common::roles::{DENIED, application, grant, new_role};
use crate::common::{Listening, failure, row, texts};
use qsessions_testkit::{Database, Users};

#[tokio::test]
async fn an_application_role_can_add_and_read_events_and_not_change_them() {
    // One role has access before the table is made, and another gets it afterwards.
    let (database, admin, _role, before) = application().await;
    admin.batch_execute(CREATE).await.unwrap();
    let later = new_role(&database, &admin, "later").await;
    grant(&admin, &later).await;
    let after = database.connect_as(&later).await;
    for client in [&before, &after] {
        let session = login(client, "NULL, 1, user_agent => 'curl/8.5.0'").await;
        row(client, "SELECT qsessions.logout($1)", &[&session.key]).await;
        assert_eq!(events(client, session.id).await, ["login", "logout"]);
        assert!(
            !texts(client, "SELECT event FROM qsessions.user_events(1)")
                .await
                .is_empty()
        );
        for statement in [
            "UPDATE qsessions.session_event SET event = 'login'",
            "DELETE FROM qsessions.session_event",
            "TRUNCATE qsessions.session_event",
            "DROP TABLE qsessions.session_event",
            "UPDATE qsessions.session_event_retention SET retention = '1 day'",
            "SELECT qsessions._add_event_month('2020-01-01')",
            CREATE,
        ] {
            assert_eq!(
                failure(client, statement, &[]).await.code,
                DENIED,
                "{statement}"
            );
        }
    }
    admin
        .batch_execute(&format!("SELECT qsessions.revoke_access('{later}')"))
        .await
        .unwrap();
    let read = "SELECT FROM qsessions.session_event";
    assert_eq!(failure(&after, read, &[]).await.code, DENIED);
}

#[tokio::test]
async fn a_table_of_a_superuser_records_cascades_of_another_owner() {
    let database = Database::with(Users::Nothing).await;
    let admin = database.connect().await;
    let owner = new_role(&database, &admin, "owner").await;
    admin
        .batch_execute(&format!(
            "GRANT USAGE, CREATE ON SCHEMA qsessions TO {owner};
             GRANT EXECUTE ON FUNCTION qsessions._announce TO {owner};
             CREATE SCHEMA AUTHORIZATION {owner}"
        ))
        .await
        .unwrap();
    let client = database.connect_as(&owner).await;
    client
        .batch_execute(
            "CREATE TABLE users (id bigint PRIMARY KEY); INSERT INTO users VALUES (1), (2);
             SELECT qsessions.create_session_table('users')",
        )
        .await
        .unwrap();
    admin.batch_execute(CREATE).await.unwrap();
    let session = login(&client, "NULL, 1").await;
    client
        .batch_execute("DELETE FROM users WHERE id = 1")
        .await
        .unwrap();
    assert_eq!(events(&admin, session.id).await, ["login", "deleted"]);

    // The owner of the session table can have the table of events, too.
    admin
        .batch_execute("DROP TABLE qsessions.session_event, qsessions.session_event_known, qsessions.session_event_retention")
        .await
        .unwrap();
    client.batch_execute(CREATE).await.unwrap();
    let session = login(&client, "NULL, 2").await;
    assert_eq!(events(&client, session.id).await, ["login"]);
    client
        .batch_execute("CALL qsessions.purge()")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_role_without_the_privilege_to_add_events_gets_a_warning() {
    let (database, admin, role, _client) = application().await;
    admin
        .batch_execute(&format!(
            "{CREATE}; REVOKE ALL ON qsessions.session_event FROM {role}"
        ))
        .await
        .unwrap();
    let listening = Listening::to(database.config().user(&role)).await;
    let session = login(&listening.client, "NULL, 1").await;
    assert_eq!(listening.notices(), ["could not record event \"login\""]);
    let rotate = "SELECT qsessions.rotate_key($1)";
    let key: String = row(&listening.client, rotate, &[&session.key]).await.get(0);
    assert_eq!(listening.notices(), ["could not record event \"rotated\""]);
    assert!(
        row(&listening.client, "SELECT qsessions.logout($1)", &[&key])
            .await
            .get::<_, bool>(0)
    );
    assert_eq!(listening.notices(), ["could not record event \"logout\""]);
    assert!(events(&admin, session.id).await.is_empty());
}

#[tokio::test]
async fn a_role_that_cannot_delete_sessions_can_log_in() {
    let (_database, admin, role, client) = application().await;
    admin
        .batch_execute(&format!(
            "{CREATE}; REVOKE DELETE ON qsessions.session FROM {role}"
        ))
        .await
        .unwrap();
    let session = login(&client, "NULL, 1, user_agent => 'curl/8.5.0'").await;
    assert_eq!(events(&client, session.id).await, ["login"]);
}

#[tokio::test]
async fn without_access_to_locations_the_place_is_unknown_and_the_device_is_not() {
    let (_database, admin, role, client) = application().await;
    admin
        .batch_execute(&format!(
            "{CREATE}; REVOKE EXECUTE ON FUNCTION qsessions.location FROM {role}"
        ))
        .await
        .unwrap();
    let found = row(
        &client,
        "SELECT is_new_device, is_new_place FROM qsessions.login(NULL, 1, '192.0.2.7', 'curl/8.5.0')",
        &[],
    )
    .await;
    assert_eq!(found.get::<_, Option<bool>>(0), Some(true));
    assert_eq!(found.get::<_, Option<bool>>(1), None);
}
