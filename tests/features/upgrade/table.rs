//! The columns that a session table of an older version lacks.

use super::{UPGRADE, old, uses_the_new_columns};
use crate::common::roles::{DENIED, application, new_role};
use crate::common::{alive, begin, failure, row, sessions, texts};
use qsessions_testkit::{Database, Users};
use tokio_postgres::Client;

/// Makes the session table of a new database one of 0.1.0.
const OLD_TABLE: &str = "ALTER TABLE qsessions.session
         DROP COLUMN client_hints, DROP COLUMN former_digest, DROP COLUMN former_digest_until,
         DROP COLUMN expires_hour, DROP COLUMN purge_after,
         RESET (autovacuum_vacuum_scale_factor, autovacuum_analyze_scale_factor);
     ALTER TABLE qsessions.session ADD COLUMN expires_hour timestamptz NOT NULL GENERATED ALWAYS AS
         (date_bin('1 hour', expires_at, '2000-01-01 00:00:00+00')) STORED;
     CREATE INDEX session_expires_hour_id_idx ON qsessions.session (expires_hour, id)";
const UPDATE_TABLE: &str = "SELECT qsessions.update_session_table()";

#[tokio::test]
async fn an_older_session_table_gets_the_columns_and_the_privileges_it_lacks() {
    let (database, admin, role, app) = application().await;
    let key = begin(&admin, "user_id => 1").await.key;
    let other = new_role(&database, &admin, "other").await;
    admin
        .batch_execute(&format!(
            "GRANT SELECT ON qsessions.session TO {other}; {OLD_TABLE};
             GRANT SELECT (expires_hour) ON qsessions.session TO {other} WITH GRANT OPTION"
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
               WHERE attrelid = 'qsessions.session'::regclass AND attname ~ '^(former|purge)' ORDER BY 1";
    assert_eq!(
        texts(&admin, new).await,
        [
            format!("{role} former_digest"),
            format!("{role} former_digest_until"),
            format!("{role} purge_after"),
        ],
    );
    admin
        .batch_execute("SELECT qsessions.update_session_table(rewrite => true)")
        .await
        .unwrap();
    let grantable = format!(
        "SELECT has_column_privilege('{other}', 'qsessions.session', 'expires_hour', 'SELECT WITH GRANT OPTION')::text"
    );
    assert_eq!(texts(&admin, &grantable).await, ["true"]);
}

/// The owner's own settings stay, and those that there are not are set.
#[tokio::test]
async fn an_older_session_table_gets_settings_of_autovacuum() {
    let client = Database::new().await.connect().await;
    let settings = "SELECT unnest(reloptions) FROM pg_class WHERE oid = 'qsessions.session'::regclass ORDER BY 1";
    let new = texts(&client, settings).await;
    let old = format!(
        "{OLD_TABLE}; ALTER TABLE qsessions.session SET (autovacuum_vacuum_scale_factor = 0.3)"
    );
    client.batch_execute(&old).await.unwrap();
    client.batch_execute(UPDATE_TABLE).await.unwrap();
    let kept = texts(&client, settings).await;
    assert_eq!(kept[0], new[0]);
    assert_eq!(kept[1], "autovacuum_vacuum_scale_factor=0.3");
    assert_eq!(kept[2], new[2]);
}

/// The column of 0.1.0 works too, only that more visits write indexes.
#[tokio::test]
async fn the_older_expires_hour_is_replaced_only_on_request() {
    let (_database, client, _role, _app) = application().await;
    client
        .batch_execute(&format!("{OLD_TABLE}; {UPDATE_TABLE}"))
        .await
        .unwrap();
    let expression = "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef
                      WHERE adrelid = 'qsessions.session'::regclass AND pg_get_expr(adbin, adrelid) LIKE 'date_bin%'";
    assert!(!texts(&client, expression).await[0].contains("purge_after"));
    slide_and_purge(&client).await;
    let kept = begin(&client, "user_id => 1").await;
    let file = "SELECT pg_relation_filenode('qsessions.session')::text";
    let mut files = Vec::new();
    // A second call changes nothing.
    for _ in 0..2 {
        let rewrite = "SELECT qsessions.update_session_table(rewrite => true)";
        client.batch_execute(rewrite).await.unwrap();
        files.push(texts(&client, file).await);
    }
    assert_eq!(files[0], files[1]);
    assert!(texts(&client, expression).await[0].contains("purge_after"));
    assert!(alive(&client, &kept.key).await);
    client
        .batch_execute("DELETE FROM qsessions.session")
        .await
        .unwrap();
    slide_and_purge(&client).await;
}

async fn slide_and_purge(client: &Client) {
    let session = begin(client, "idle_timeout => '1 day'").await;
    client
        .batch_execute("SET qsessions.touch_interval = 0")
        .await
        .unwrap();
    row(
        client,
        "SELECT FROM qsessions.resume_session($1)",
        &[&session.key],
    )
    .await;
    let expire = "UPDATE qsessions.session SET expires_at = now()";
    client.batch_execute(expire).await.unwrap();
    client
        .batch_execute("CALL qsessions.purge()")
        .await
        .unwrap();
    assert_eq!(sessions(client).await, 0);
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
