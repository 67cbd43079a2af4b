//! Types of users' keys: a function finds the user's sessions or refuses the id, and never finds
//! another user's.

mod collations;

use crate::common::listener::Listener;
use crate::common::roles::new_role;
use crate::common::{alive, begin, failure, row, texts};
use qsessions_testkit::{Database, Users};
use tokio_postgres::Client;

/// A database with a users table whose key has this type, and a session table linked to it.
async fn with_users(declared: &str, users: &[&str]) -> (Database, Client) {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    client
        .batch_execute(&format!(
            "CREATE DOMAIN short AS char(8); CREATE DOMAIN shorter AS short CHECK (VALUE <> 'x');
             CREATE DOMAIN counted AS bigint CHECK (VALUE > 0);
             CREATE TABLE users (code {declared} PRIMARY KEY)"
        ))
        .await
        .unwrap();
    for user in users {
        client
            .execute(
                &format!("INSERT INTO users VALUES ($1::text::{declared})"),
                &[user],
            )
            .await
            .unwrap();
    }
    client
        .batch_execute("SELECT qsessions.create_session_table('users')")
        .await
        .unwrap();
    (database, client)
}

/// The `user_id` of all sessions, as functions return it.
async fn users_of_sessions(client: &Client) -> Vec<String> {
    texts(
        client,
        "SELECT user_id FROM qsessions.list_sessions() ORDER BY user_id",
    )
    .await
}

#[tokio::test]
async fn sessions_are_found_by_their_user_only() {
    const UUID: &str = "11111111-1111-4111-8111-111111111111";
    for (declared, users) in [
        ("char(8)", ["a", "abc"]),
        ("char(36)", ["1", UUID]),
        ("short", ["a", "abc"]),
        ("shorter", ["a", "abc"]),
        ("bpchar", ["a", "abc"]),
        ("varchar(3)", ["a", "abc"]),
        ("counted", ["1", "10"]),
        ("numeric", ["1", "1.5"]),
        ("bytea", ["\\x61", "\\x616263"]),
        ("smallint", ["1", "12"]),
    ] {
        let (_database, client) = with_users(declared, &users).await;
        for user in users {
            let begun = begin(&client, &format!("user_id => '{user}'")).await;
            row(
                &client,
                "SELECT id FROM qsessions.login(NULL, $1, max_sessions => 9)",
                &[&user],
            )
            .await;
            let mine: i64 = row(
                &client,
                "SELECT count(*) FROM qsessions.user_sessions($1) WHERE user_id = $1",
                &[&user],
            )
            .await
            .get(0);
            assert_eq!(mine, 2, "{declared} {user}");
            let revoke = "SELECT qsessions.revoke_session($1, $2)";
            let other = users.iter().find(|other| **other != user).unwrap();
            let ended: bool = row(&client, revoke, &[&begun.id, other]).await.get(0);
            assert!(!ended, "{declared} {user}");
        }
        let all = [users[0], users[0], users[1], users[1]];
        assert_eq!(users_of_sessions(&client).await, all, "{declared}");
        for (user, left) in [(users[1], 2), (users[0], 0)] {
            let ended: i64 = row(
                &client,
                "SELECT qsessions.revoke_user_sessions($1)",
                &[&user],
            )
            .await
            .get(0);
            assert_eq!((ended, users_of_sessions(&client).await.len()), (2, left));
        }
    }
}

#[tokio::test]
async fn link_users_keeps_the_users_of_existing_sessions() {
    for declared in ["char(8)", "short", "varchar(3)", "bpchar"] {
        let database = Database::with(Users::Unlinked).await;
        let client = database.connect().await;
        for user in ["a", "abc"] {
            begin(&client, &format!("user_id => '{user}'")).await;
        }
        client
            .batch_execute(&format!(
                "CREATE DOMAIN short AS char(8); CREATE TABLE users (code {declared} PRIMARY KEY);
                 INSERT INTO users VALUES ('a'), ('abc'); SELECT qsessions.link_users('users')"
            ))
            .await
            .unwrap();
        assert_eq!(users_of_sessions(&client).await, ["a", "abc"], "{declared}");
    }
}

#[tokio::test]
async fn a_user_id_whose_trailing_blanks_would_be_dropped_is_refused() {
    let (_database, client) = with_users("varchar(3)", &["abc"]).await;
    let anonymous = begin(&client, "").await;
    for call in [
        "create_session('abc  ')".to_owned(),
        "login(NULL, 'abc  ')".to_owned(),
        format!("login('{}', 'abc  ')", anonymous.key),
    ] {
        let refused = failure(&client, &format!("SELECT qsessions.{call}"), &[]).await;
        assert_eq!(refused.code, "22001", "{call}");
        assert!(refused.message.starts_with("argument \"user_id\"") && !refused.hint.is_empty());
    }
    // link_users refuses such ids too.
    let database = Database::with(Users::Unlinked).await;
    let client = database.connect().await;
    let session = begin(&client, "user_id => 'abc  '").await;
    client
        .batch_execute(
            "CREATE TABLE users (code varchar(3) PRIMARY KEY); INSERT INTO users VALUES ('abc')",
        )
        .await
        .unwrap();
    let refused = failure(&client, "SELECT qsessions.link_users('users')", &[]).await;
    assert_eq!(refused.code, "22001");
    assert!(alive(&client, &session.key).await);
    assert_eq!(users_of_sessions(&client).await, ["abc  "]);
}

#[tokio::test]
async fn types_that_would_change_an_id_are_refused() {
    let client = Database::with(Users::Nothing).await.connect().await;
    client
        .batch_execute("CREATE DOMAIN letter AS \"char\"; CREATE DOMAIN flag AS bit(3)")
        .await
        .unwrap();
    for declared in [
        "\"char\"",
        "letter",
        "name",
        "bit(3)",
        "flag",
        "varbit",
        "numeric(6, 2)",
        "real",
        "double precision",
        "money",
        "date",
        "timestamptz(0)",
        "interval",
        "oid",
        "regclass",
        "inet",
        "boolean",
    ] {
        client
            .batch_execute(&format!("CREATE TABLE users (code {declared} UNIQUE)"))
            .await
            .unwrap();
        let statement = "SELECT qsessions.create_session_table('users', 'code')";
        let refused = failure(&client, statement, &[]).await;
        assert_eq!(refused.code, "0A000", "{declared}: {refused:?}");
        assert!(!refused.hint.is_empty());
        client.batch_execute("DROP TABLE users").await.unwrap();
    }
}

#[tokio::test]
async fn sessions_follow_a_changed_user_key() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    client
        .batch_execute(
            "CREATE TABLE members (email text PRIMARY KEY); INSERT INTO members VALUES ('old@example.com');
             SELECT qsessions.create_session_table('members')",
        )
        .await
        .unwrap();
    let session = begin(&client, "user_id => 'old@example.com'").await;
    let mut listener = Listener::new(database.config()).await;
    client
        .batch_execute("UPDATE members SET email = 'new@example.com'")
        .await
        .unwrap();
    assert!(alive(&client, &session.key).await);
    assert_eq!(users_of_sessions(&client).await, ["new@example.com"]);
    // A cache must receive a notification of the session's new user_id.
    assert!(listener.notified().await.contains(&session.id.to_string()));
}

#[tokio::test]
async fn link_users_keeps_a_foreign_key_of_another_name() {
    let database = Database::with(Users::Unlinked).await;
    let client = database.connect().await;
    client
        .batch_execute(
            "CREATE TABLE people (id text PRIMARY KEY); CREATE TABLE members (id text PRIMARY KEY);
             INSERT INTO people VALUES ('ann'), ('bob'); INSERT INTO members VALUES ('ann'), ('cy');
             ALTER TABLE qsessions.session ADD CONSTRAINT by_hand FOREIGN KEY (user_id) REFERENCES people;
             SELECT qsessions.link_users('members'); SELECT qsessions.link_users('members')",
        )
        .await
        .unwrap();
    begin(&client, "user_id => 'ann'").await;
    for user in ["bob", "cy"] {
        let refused = failure(&client, "SELECT qsessions.create_session($1)", &[&user]).await;
        assert_eq!(refused.code, "23503");
    }
}

#[tokio::test]
async fn a_table_linked_to_a_partitioned_one_can_be_linked_again() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    client
        .batch_execute(
            "CREATE TABLE parted (id bigint PRIMARY KEY) PARTITION BY HASH (id);
             CREATE TABLE parted_0 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 0);
             CREATE TABLE parted_1 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 1);
             CREATE TABLE plain (id bigint PRIMARY KEY);
             INSERT INTO parted VALUES (1); INSERT INTO plain VALUES (1);
             SELECT qsessions.create_session_table('parted');
             SELECT qsessions.create_session(1);
             SELECT qsessions.link_users('parted');
             SELECT qsessions.link_users('plain');
             DROP TABLE parted;
             DELETE FROM plain",
        )
        .await
        .unwrap();
    assert_eq!(users_of_sessions(&client).await, [""; 0]);
}

#[tokio::test]
async fn the_owner_of_the_table_cannot_make_a_superuser_run_code_by_reading() {
    let database = Database::with(Users::Nothing).await;
    let admin = database.connect().await;
    let owner = new_role(&database, &admin, "owner").await;
    admin
        .batch_execute(&format!(
            "GRANT CREATE ON SCHEMA qsessions, public TO {owner};
             GRANT EXECUTE ON ALL ROUTINES IN SCHEMA qsessions TO {owner}"
        ))
        .await
        .unwrap();
    let client = database.connect_as(&owner).await;
    // The owner has created a domain of that name, or uses a domain as the type of the users' key.
    client
        .batch_execute(
            "CREATE FUNCTION evil(text) RETURNS boolean LANGUAGE plpgsql
                 AS 'BEGIN RAISE EXCEPTION ''run by %'', current_user; END';
             CREATE DOMAIN qsessions.user_key AS bigint;
             CREATE DOMAIN customer AS text;
             CREATE TABLE customers (id customer PRIMARY KEY); INSERT INTO customers VALUES ('ada');
             SELECT qsessions.create_session_table('customers');
             ALTER DOMAIN customer ADD CHECK (evil(VALUE)) NOT VALID",
        )
        .await
        .unwrap();
    for statement in [
        "ALTER DOMAIN qsessions.user_key ADD CHECK (evil(VALUE)) NOT VALID",
        "ALTER DOMAIN qsessions.user_key OWNER TO CURRENT_USER",
        "DROP DOMAIN qsessions.user_key",
    ] {
        assert_eq!(failure(&client, statement, &[]).await.code, "42501");
    }
    for statement in [
        "SELECT count(*) FROM qsessions.user_sessions('ada')",
        "SELECT count(*) FROM qsessions.list_sessions('ada')",
        "SELECT count(qsessions.create_session('ada'))",
        "SELECT count(qsessions.login(NULL, 'ada'))",
        "SELECT qsessions.revoke_user_sessions('ada')",
    ] {
        row(&admin, statement, &[]).await;
    }
}

/// Any role may create a temporary view.
#[tokio::test]
async fn a_view_that_uses_the_domain_does_not_keep_the_users_from_being_linked() {
    let database = Database::with(Users::Unlinked).await;
    let admin = database.connect().await;
    let stranger = new_role(&database, &admin, "stranger").await;
    let client = database.connect_as(&stranger).await;
    client
        .batch_execute(
            "CREATE TEMP VIEW mine AS SELECT 'ann'::qsessions.user_key::text AS name;
             CREATE TEMP TABLE its (member qsessions.user_key)",
        )
        .await
        .unwrap();
    admin
        .batch_execute(
            "CREATE TABLE members (id bigint PRIMARY KEY); INSERT INTO members VALUES (1);
             SELECT qsessions.link_users('members');
             SELECT qsessions.create_session(1)",
        )
        .await
        .unwrap();
    assert_eq!(users_of_sessions(&admin).await, ["1"]);
    assert_eq!(texts(&client, "SELECT name FROM mine").await, ["ann"]);
}

#[tokio::test]
async fn a_user_id_may_have_any_type_but_an_array() {
    let client = Database::with(Users::Unlinked).await.connect().await;
    let values = [
        "'7'",
        "7",
        "bigint '7'",
        "smallint '7'",
        "numeric '7'",
        "varchar '7'",
        "name '7'",
    ];
    for (before, value) in values.iter().enumerate() {
        begin(&client, &format!("user_id => {value}")).await;
        for value in values {
            let list = format!("SELECT user_id FROM qsessions.user_sessions({value})");
            assert_eq!(
                texts(&client, &list).await,
                vec!["7"; before + 1],
                "{value}"
            );
        }
    }
    let create = "SELECT key FROM qsessions.create_session($1)";
    let create = client.prepare(create).await.unwrap();
    assert_eq!(create.params(), [tokio_postgres::types::Type::TEXT]);
    for call in [
        "create_session(ARRAY['7'])",
        "login(NULL, '{7}'::int[])",
        "revoke_user_sessions(ARRAY[7])",
    ] {
        let refused = failure(&client, &format!("SELECT qsessions.{call}"), &[]).await;
        assert_eq!(refused.code, "42883", "{call}");
    }
}

#[tokio::test]
async fn linking_the_users_again_repairs_the_domain() {
    let database = Database::with(Users::Keyed("text", &["007"])).await;
    let admin = database.connect().await;
    admin
        .batch_execute(
            "DROP DOMAIN qsessions.user_key; CREATE DOMAIN qsessions.user_key AS bigint;
             SELECT qsessions.link_users('users')",
        )
        .await
        .unwrap();
    begin(&admin, "user_id => '007'").await;
    assert_eq!(users_of_sessions(&admin).await, ["007"]);
}
