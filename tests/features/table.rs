//! The session table: a real foreign key for every type of key, and clear errors for tables that
//! cannot be linked.

use crate::common::{alive, begin, failure, row};
use qsessions_testkit::{Database, Users};

const UUID_1: &str = "11111111-1111-4111-8111-111111111111";
const UUID_2: &str = "22222222-2222-4222-8222-222222222222";

async fn user_id_has_the_type_of_the_key(key_type: &'static str, users: &'static [&'static str]) {
    let database = Database::with(Users::Keyed(key_type, users)).await;
    let client = database.connect().await;
    let column: String = row(
        &client,
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute
         WHERE attrelid = 'qsessions.session'::regclass AND attname = 'user_id'",
        &[],
    )
    .await
    .get(0);
    assert_eq!(column, key_type);

    let mine = begin(&client, &format!("user_id => '{}'", users[0])).await;
    let other = begin(&client, &format!("user_id => '{}'", users[1])).await;
    let anonymous = begin(&client, "").await;
    let user: String = row(
        &client,
        "SELECT user_id FROM qsessions.load_session($1)",
        &[&mine.key],
    )
    .await
    .get(0);
    assert_eq!(user, users[0]);
    let listed = client
        .query(
            &format!(
                "SELECT FROM qsessions.user_sessions('{}'::{key_type})",
                users[0]
            ),
            &[],
        )
        .await
        .unwrap();
    assert_eq!(listed.len(), 1);

    // Deleting a user ends the sessions of that user only.
    client
        .batch_execute(&format!("DELETE FROM users WHERE id = '{}'", users[0]))
        .await
        .unwrap();
    assert!(!alive(&client, &mine.key).await);
    assert!(alive(&client, &other.key).await);
    assert!(alive(&client, &anonymous.key).await);

    let stranger = failure(
        &client,
        &format!("SELECT qsessions.create_session(user_id => '{}')", users[0]),
        &[],
    )
    .await;
    assert_eq!(stranger.code, "23503");
}

#[tokio::test]
async fn users_can_have_bigint_keys() {
    user_id_has_the_type_of_the_key("bigint", &["1", "9007199254740993"]).await;
}

#[tokio::test]
async fn users_can_have_integer_keys() {
    user_id_has_the_type_of_the_key("integer", &["1", "-2"]).await;
}

#[tokio::test]
async fn users_can_have_uuid_keys() {
    user_id_has_the_type_of_the_key("uuid", &[UUID_1, UUID_2]).await;
}

#[tokio::test]
async fn users_can_have_text_keys() {
    user_id_has_the_type_of_the_key("text", &["ann@example.com", "o\"neil \\ 7"]).await;
}

#[tokio::test]
async fn users_can_have_varchar_keys_with_a_length() {
    user_id_has_the_type_of_the_key("character varying(40)", &["ann", "bob"]).await;
}

#[tokio::test]
async fn without_a_users_table_any_text_is_a_user() {
    let database = Database::with(Users::Unlinked).await;
    let client = database.connect().await;
    let session = begin(&client, "user_id => 'whoever'").await;
    assert!(alive(&client, &session.key).await);
}

#[tokio::test]
async fn another_unique_column_can_be_the_user_key() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    client
        .batch_execute(
            "CREATE TABLE \"Odd Users\" (a int, b int, \"E Mail\" text UNIQUE, PRIMARY KEY (a, b));
             INSERT INTO \"Odd Users\" VALUES (1, 1, 'ann@example.com');
             SELECT qsessions.create_session_table('\"Odd Users\"', 'E Mail');
             SELECT qsessions.create_session(user_id => 'ann@example.com')",
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn a_partitioned_table_of_users_can_be_linked() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    client
        .batch_execute(
            "CREATE TABLE users (id bigint PRIMARY KEY) PARTITION BY HASH (id);
             CREATE TABLE users_0 PARTITION OF users FOR VALUES WITH (MODULUS 1, REMAINDER 0);
             INSERT INTO users VALUES (1);
             SELECT qsessions.create_session_table('users');
             SELECT qsessions.create_session(user_id => 1)",
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn tables_that_cannot_be_linked_are_refused_with_a_hint() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    client
        .batch_execute(
            "CREATE TABLE keyless (id bigint);
             CREATE TABLE composite (a int, b int, PRIMARY KEY (a, b));
             CREATE TABLE plain (id bigint PRIMARY KEY, name text, part int);
             CREATE UNIQUE INDEX ON plain (part) WHERE part > 0;
             CREATE VIEW shown AS SELECT * FROM plain;
             CREATE TEMP TABLE passing (id bigint PRIMARY KEY);
             CREATE UNLOGGED TABLE unlogged (id bigint PRIMARY KEY)",
        )
        .await
        .unwrap();
    for (arguments, code, says) in [
        ("'shown'", "42809", "\"shown\" is not a table"),
        ("'keyless'", "42P16", "has no primary key"),
        ("'composite'", "42P16", "has 2 columns"),
        ("'passing'", "42809", "temporary or unlogged"),
        ("'unlogged'", "42809", "temporary or unlogged"),
        ("'plain', 'nothing'", "42703", "has no column \"nothing\""),
        ("'plain', 'name'", "42830", "is not unique"),
        ("'plain', 'part'", "42830", "is not unique"),
        ("user_key => 'id'", "22023", "user_key"),
        ("4294967295::oid::regclass", "42P01", "no table"),
    ] {
        let refused = failure(
            &client,
            &format!("SELECT qsessions.create_session_table({arguments})"),
            &[],
        )
        .await;
        assert_eq!(refused.code, code, "{arguments}: {refused:?}");
        assert!(refused.message.contains(says), "{arguments}: {refused:?}");
        assert!(!refused.hint.is_empty(), "{arguments}: {refused:?}");
    }
    let missing = failure(
        &client,
        "SELECT qsessions.create_session_table('missing')",
        &[],
    )
    .await;
    assert_eq!(missing.code, "42P01");
}

#[tokio::test]
async fn a_second_session_table_is_refused() {
    let database = Database::new().await;
    let client = database.connect().await;
    let again = failure(
        &client,
        "SELECT qsessions.create_session_table('users')",
        &[],
    )
    .await;
    assert_eq!(again.code, "42P07");
    assert!(again.hint.contains("link_users"), "{again:?}");
}

#[tokio::test]
async fn the_table_belongs_to_the_caller_who_needs_create_on_the_schema() {
    let database = Database::with(Users::Nothing).await;
    let admin = database.connect().await;
    let role = format!("owner_{}", database.name());
    admin
        .batch_execute(&format!("CREATE ROLE {role} LOGIN"))
        .await
        .unwrap();
    let client = database.connect_as(&role).await;
    let refused = failure(&client, "SELECT qsessions.create_session_table()", &[]).await;
    assert_eq!(refused.code, "42501");
    // What the hint says is enough.
    let (_, grants) = refused.hint.split_once(": ").unwrap();
    admin.batch_execute(grants).await.unwrap();
    client
        .batch_execute("SELECT qsessions.create_session_table()")
        .await
        .unwrap();
    let owner: String = row(
        &admin,
        "SELECT tableowner::text FROM pg_tables WHERE schemaname = 'qsessions' AND tablename = 'session'",
        &[],
    )
    .await
    .get(0);
    assert_eq!(owner, role);
}

#[tokio::test]
async fn link_users_converts_user_id_and_open_connections_continue() {
    let database = Database::with(Users::Unlinked).await;
    let client = database.connect().await;
    let witness = database.connect().await;
    let session = begin(&client, "user_id => '7'").await;
    // These cache plans in a connection that knows user_id as text.
    let login = witness
        .prepare("SELECT id FROM qsessions.login(NULL, $1, max_sessions => 5)")
        .await
        .unwrap();
    witness.query_one(&login, &[&"7"]).await.unwrap();
    let list = witness
        .prepare("SELECT user_id FROM qsessions.user_sessions($1)")
        .await
        .unwrap();
    assert_eq!(witness.query(&list, &[&"7"]).await.unwrap().len(), 2);

    client
        .batch_execute(
            "CREATE TABLE users (id bigint PRIMARY KEY); INSERT INTO users VALUES (7);
             SELECT qsessions.link_users('users')",
        )
        .await
        .unwrap();
    assert!(alive(&client, &session.key).await);
    witness.query_one(&login, &[&"007"]).await.unwrap();
    assert_eq!(witness.query(&list, &[&"07"]).await.unwrap().len(), 3);
    assert_eq!(
        failure(&witness, "SELECT qsessions.create_session(8)", &[])
            .await
            .code,
        "23503"
    );

    // A link to another table with another type drops the old foreign key.
    client
        .batch_execute(
            "CREATE TABLE people (id text PRIMARY KEY); INSERT INTO people VALUES ('7'), ('ann');
             SELECT qsessions.link_users('people');
             SELECT qsessions.create_session(user_id => 'ann'); DROP TABLE users",
        )
        .await
        .unwrap();
    witness.query_one(&login, &[&"ann"]).await.unwrap();
    assert_eq!(witness.query(&list, &[&"ann"]).await.unwrap().len(), 2);
    client
        .batch_execute("DELETE FROM people WHERE id = '7'")
        .await
        .unwrap();
    assert!(!alive(&client, &session.key).await);
}

#[tokio::test]
async fn link_users_that_fails_changes_nothing() {
    let database = Database::with(Users::Unlinked).await;
    let client = database.connect().await;
    let session = begin(&client, "user_id => 'ann'").await;
    client
        .batch_execute(
            "CREATE TABLE numbered (id bigint PRIMARY KEY); CREATE TABLE named (id text PRIMARY KEY)",
        )
        .await
        .unwrap();
    let unfit = failure(&client, "SELECT qsessions.link_users('numbered')", &[]).await;
    assert_eq!(unfit.code, "22P02");
    assert!(
        unfit.message.contains("bigint") && !unfit.hint.is_empty(),
        "{unfit:?}"
    );
    let unknown = failure(&client, "SELECT qsessions.link_users('named')", &[]).await;
    assert_eq!(unknown.code, "23503");
    assert!(!unknown.hint.is_empty(), "{unknown:?}");
    assert!(alive(&client, &session.key).await);
    begin(&client, "user_id => 'bob'").await;

    let nothing = Database::with(Users::Nothing).await;
    let client = nothing.connect().await;
    client
        .batch_execute("CREATE TABLE users (id bigint PRIMARY KEY)")
        .await
        .unwrap();
    let missing = failure(&client, "SELECT qsessions.link_users('users')", &[]).await;
    assert_eq!(missing.code, "42P01");
    assert!(missing.hint.contains("create_session_table"), "{missing:?}");
}

#[tokio::test]
async fn columns_can_be_added() {
    let database = Database::new().await;
    let client = database.connect().await;
    let session = begin(&client, "user_id => 1").await;
    client
        .batch_execute("ALTER TABLE qsessions.session ADD COLUMN tenant int DEFAULT 7")
        .await
        .unwrap();
    assert!(alive(&client, &session.key).await);
    begin(&client, "user_id => 1").await;
    let tenants: i64 = row(&client, "SELECT sum(tenant) FROM qsessions.session", &[])
        .await
        .get(0);
    assert_eq!(tenants, 14);
}

#[tokio::test]
async fn an_id_that_is_too_long_belongs_to_no_user() {
    let database = Database::with(Users::Keyed("character varying(5)", &["admin"])).await;
    let client = database.connect().await;
    let session = begin(&client, "user_id => 'admin'").await;
    for call in [
        "create_session('administrator')",
        "login(NULL, 'administrator')",
    ] {
        let refused = failure(&client, &format!("SELECT qsessions.{call}"), &[]).await;
        assert_eq!(refused.code, "22001", "{call}");
    }
    for call in [
        "user_sessions('administrator')",
        "list_sessions('administrator')",
    ] {
        assert!(
            client
                .query(&format!("SELECT qsessions.{call}"), &[])
                .await
                .unwrap()
                .is_empty()
        );
    }
    let ended: i64 = row(
        &client,
        "SELECT qsessions.revoke_user_sessions('administrator')",
        &[],
    )
    .await
    .get(0);
    assert_eq!(ended, 0);
    assert!(alive(&client, &session.key).await);
}

#[tokio::test]
async fn user_keys_of_unsupported_types_are_refused() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    client
        .batch_execute(
            "CREATE TYPE colour AS ENUM ('red'); CREATE TABLE coloured (id colour PRIMARY KEY);
             CREATE TABLE rounded (id numeric(10, 0) PRIMARY KEY);
             CREATE DOMAIN short AS varchar(5); CREATE TABLE named (id short PRIMARY KEY)",
        )
        .await
        .unwrap();
    for table in ["coloured", "rounded"] {
        let statement = format!("SELECT qsessions.create_session_table('{table}')");
        let refused = failure(&client, &statement, &[]).await;
        assert_eq!(refused.code, "0A000", "{table}");
        assert!(
            refused.message.starts_with("argument \"user_key\"") && !refused.hint.is_empty(),
            "{refused:?}"
        );
    }
    client
        .batch_execute(
            "INSERT INTO named VALUES ('admin'); SELECT qsessions.create_session_table('named')",
        )
        .await
        .unwrap();
    begin(&client, "user_id => 'admin'").await;
    let refused = failure(
        &client,
        "SELECT qsessions.create_session('administrator')",
        &[],
    )
    .await;
    assert_eq!(refused.code, "22001");
}

#[tokio::test]
async fn link_users_with_the_same_type_keeps_views_and_policies() {
    let database = Database::new().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "CREATE VIEW mine AS SELECT user_id FROM qsessions.session;
             CREATE TABLE people (id bigint PRIMARY KEY); SELECT qsessions.link_users('people')",
        )
        .await
        .unwrap();
    assert_eq!(
        failure(&client, "SELECT qsessions.create_session(1)", &[])
            .await
            .code,
        "23503"
    );
}

#[tokio::test]
async fn a_database_that_is_not_in_utf8_is_refused() {
    let server = qsessions_testkit::shared().await;
    let admin = server.connect("postgres").await.unwrap();
    admin
        .batch_execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        .await
        .unwrap();
    let client = server.connect("latin").await.unwrap();
    let refused = failure(&client, "CREATE EXTENSION qsessions", &[]).await;
    assert_eq!(refused.code, "0A000");
    assert!(refused.hint.contains("UTF8"), "{refused:?}");
}
