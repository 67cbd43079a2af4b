//! The columns that a session table of an older version lacks.

use super::{UPGRADE, old, uses_the_new_columns};
use crate::common::roles::{DENIED, application, new_role};
use crate::common::{alive, begin, failure, row, texts};
use qsessions_testkit::{Database, Users};

/// Makes the session table of a new database one of 0.1.0.
const OLD_TABLE: &str = "ALTER TABLE qsessions.session
     DROP COLUMN client_hints, DROP COLUMN former_digest, DROP COLUMN former_digest_until";
const UPDATE_TABLE: &str = "SELECT qsessions.update_session_table()";

#[tokio::test]
async fn an_older_session_table_gets_the_columns_and_the_privileges_it_lacks() {
    let (database, admin, role, app) = application().await;
    let key = begin(&admin, "user_id => 1").await.key;
    let other = new_role(&database, &admin, "other").await;
    admin
        .batch_execute(&format!(
            "GRANT SELECT ON qsessions.session TO {other}; {OLD_TABLE}"
        ))
        .await
        .unwrap();
    assert_eq!(
        failure(&app, "SELECT FROM qsessions.load_session($1)", &[&key])
            .await
            .code,
        "42703"
    );
    let refused = failure(&app, UPDATE_TABLE, &[]).await;
    assert_eq!(refused.code, DENIED);

    // A second call changes nothing.
    for _ in 0..2 {
        admin.batch_execute(UPDATE_TABLE).await.unwrap();
    }
    uses_the_new_columns(&app, &key).await;
    let new = "SELECT format('%s %s', a.grantee::regrole, attname) FROM pg_attribute, aclexplode(attacl) AS a
               WHERE attrelid = 'qsessions.session'::regclass AND attname LIKE 'former%' ORDER BY 1";
    assert_eq!(
        texts(&admin, new).await,
        [
            format!("{role} former_digest"),
            format!("{role} former_digest_until"),
        ],
    );
}

#[tokio::test]
async fn a_role_whose_name_must_be_quoted_keeps_its_privileges() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let role = format!("\"Shop's \"\"App\"\" {}\"", database.name());
    admin
        .batch_execute(&format!(
            "CREATE ROLE {role}; GRANT UPDATE (digest) ON qsessions.session TO {role}, PUBLIC; {OLD_TABLE}; {UPDATE_TABLE}"
        ))
        .await
        .unwrap();
    let granted = format!(
        "SELECT has_column_privilege('{}', 'qsessions.session', 'former_digest', 'UPDATE')",
        role.trim_matches('"')
            .replace("\"\"", "\"")
            .replace('\'', "''")
    );
    assert!(row(&admin, &granted, &[]).await.get::<_, bool>(0));
    admin
        .batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .await
        .unwrap();
}

#[tokio::test]
async fn the_owner_of_the_session_table_can_update_it() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let owner = new_role(&database, &admin, "owner").await;
    admin
        .batch_execute(&format!(
            "{OLD_TABLE}; ALTER TABLE qsessions.session OWNER TO {owner}"
        ))
        .await
        .unwrap();
    let client = database.connect_as(&owner).await;
    client.batch_execute(UPDATE_TABLE).await.unwrap();
    let key = begin(&client, "").await.key;
    uses_the_new_columns(&client, &key).await;
}

#[tokio::test]
async fn a_column_of_the_users_own_that_is_in_the_way_stops_the_update() {
    let database = old().await;
    let client = database.connect().await;
    let key = begin(&client, "").await.key;
    client
        .batch_execute("ALTER TABLE qsessions.session ADD COLUMN client_hints text")
        .await
        .unwrap();
    let refused = failure(&client, UPGRADE, &[]).await;
    assert_eq!(refused.code, "42701");
    assert!(refused.message.contains("\"client_hints\""), "{refused:?}");
    let rename = "ALTER TABLE qsessions.session RENAME COLUMN client_hints TO my_client_hints;";
    assert!(refused.hint.contains(rename), "{refused:?}");
    assert!(alive(&client, &key).await);
    client
        .batch_execute(&format!("{rename} {UPGRADE}"))
        .await
        .unwrap();
    uses_the_new_columns(&client, &key).await;
}

#[tokio::test]
async fn there_must_be_a_session_table_to_update() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    let refused = failure(&client, UPDATE_TABLE, &[]).await;
    assert_eq!(refused.code, "42P01");
    assert!(!refused.hint.is_empty());
}
