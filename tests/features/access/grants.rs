//! Granting and revoking access, owners of the table without superuser privileges, and row-level
//! security.

use crate::common::roles::{DENIED, application, grant, holds, new_role, refused_calls};
use crate::common::{add_expired, alive, begin, failure, sessions, texts};
use qsessions_testkit::{Database, Users};

#[tokio::test]
async fn revoke_access_revokes_everything() {
    let (_database, admin, role, client) = application().await;
    let privileges = format!(
        "SELECT p.oid::regprocedure::text FROM pg_proc AS p CROSS JOIN aclexplode(proacl) AS a
         WHERE pronamespace = 'qsessions'::regnamespace AND a.grantee = '{role}'::regrole
         UNION ALL
         SELECT a.privilege_type FROM pg_class CROSS JOIN aclexplode(relacl) AS a
         WHERE oid = 'qsessions.session'::regclass AND a.grantee = '{role}'::regrole
         UNION ALL
         SELECT attname FROM pg_attribute CROSS JOIN aclexplode(attacl) AS a
         WHERE attrelid = 'qsessions.session'::regclass AND a.grantee = '{role}'::regrole
         ORDER BY 1"
    );
    assert_ne!(texts(&admin, &privileges).await, [""; 0]);
    // Granting again changes nothing.
    let before = texts(&admin, &privileges).await;
    grant(&admin, &role).await;
    assert_eq!(texts(&admin, &privileges).await, before);

    let revoke = format!("SELECT qsessions.revoke_access('{role}')");
    admin.batch_execute(&revoke).await.unwrap();
    assert_eq!(texts(&admin, &privileges).await, [""; 0]);
    admin
        .batch_execute("SELECT qsessions.create_event_table()")
        .await
        .unwrap();
    for call in refused_calls(&admin).await {
        let refused = failure(&client, &call, &[]).await;
        assert_eq!(refused.code, DENIED, "{call}: {}", refused.message);
    }
    // No privilege remains, so the role can be dropped.
    admin.batch_execute(&revoke).await.unwrap();
    drop(client);
    admin
        .batch_execute(&format!("DROP ROLE {role}"))
        .await
        .unwrap();
}

#[tokio::test]
async fn access_can_be_granted_to_a_role_whose_name_needs_quotes() {
    let (_database, admin, _role, _client) = application().await;
    let role = "\"Ann's \"\"app\"\" \\ 1\"";
    admin
        .batch_execute(&format!("CREATE ROLE {role}"))
        .await
        .unwrap();
    let text = role.replace('\'', "''");
    admin
        .batch_execute(&format!(
            "SELECT qsessions.grant_access('{text}'); SET ROLE {role}"
        ))
        .await
        .unwrap();
    begin(&admin, "user_id => 1").await;
    admin
        .batch_execute(&format!(
            "RESET ROLE; SELECT qsessions.revoke_access('{text}'); DROP ROLE {role}"
        ))
        .await
        .unwrap();
}

#[tokio::test]
async fn grant_access_without_privileges_names_the_role_that_has_them() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let manager = new_role(&database, &admin, "manager").await;
    let client = database.connect_as(&manager).await;
    let calls = ["grant_access", "revoke_access"]
        .map(|function| format!("SELECT qsessions.{function}('{manager}')"));
    for call in &calls {
        assert_eq!(failure(&client, call, &[]).await.code, DENIED);
    }
    // Nor may the owner of the table grant functions that belong to another role.
    admin
        .batch_execute(&format!(
            "GRANT EXECUTE ON ALL ROUTINES IN SCHEMA qsessions TO {manager};
             GRANT CREATE ON SCHEMA qsessions TO {manager};
             ALTER TABLE qsessions.session OWNER TO {manager}"
        ))
        .await
        .unwrap();
    for call in &calls {
        let refused = failure(&client, call, &[]).await;
        assert_eq!(refused.code, DENIED);
        assert!(
            refused.message.starts_with("permission denied to change"),
            "{refused:?}"
        );
        assert_eq!(
            refused.hint,
            "Have role postgres call the function, which owns the extension."
        );
    }
}

#[tokio::test]
async fn an_unknown_role_is_refused() {
    let database = Database::new().await;
    let admin = database.connect().await;
    for function in ["grant_access", "revoke_access"] {
        for role in [
            "NULL",
            "'no_such_role'",
            "0::oid::regrole",
            "4294967295::oid::regrole",
        ] {
            let refused =
                failure(&admin, &format!("SELECT qsessions.{function}({role})"), &[]).await;
            assert_eq!(refused.code, "42704", "{role}: {}", refused.message);
        }
    }
}

#[tokio::test]
async fn a_role_without_superuser_privileges_can_own_the_session_table() {
    let database = Database::with(Users::Nothing).await;
    let admin = database.connect().await;
    let owner = new_role(&database, &admin, "owner").await;
    let app = new_role(&database, &admin, "app").await;
    admin
        .batch_execute(&format!(
            "GRANT CREATE ON SCHEMA qsessions, public TO {owner};
             GRANT EXECUTE ON ALL ROUTINES IN SCHEMA qsessions TO {owner}"
        ))
        .await
        .unwrap();
    let client = database.connect_as(&owner).await;
    client
        .batch_execute(
            "CREATE TABLE users (id uuid PRIMARY KEY DEFAULT gen_random_uuid());
             SELECT qsessions.create_session_table();
             SELECT qsessions.link_users('users');
             INSERT INTO users DEFAULT VALUES;
             SELECT qsessions.create_session(user_id => id) FROM users",
        )
        .await
        .unwrap();
    add_expired(&client, 1).await;
    client
        .batch_execute("CALL qsessions.purge()")
        .await
        .unwrap();
    assert_eq!(sessions(&client).await, 1);

    grant(&admin, &app).await;
    begin(&database.connect_as(&app).await, "ip => '192.0.2.1'").await;
    assert_eq!(sessions(&client).await, 2);
}

#[tokio::test]
async fn access_does_not_depend_on_default_privileges() {
    let database = Database::with(Users::Nothing).await;
    let admin = database.connect().await;
    let role = new_role(&database, &admin, "app").await;
    admin
        .batch_execute(
            "DROP EXTENSION qsessions;
             ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
             CREATE EXTENSION qsessions;
             SELECT qsessions.create_session_table()",
        )
        .await
        .unwrap();
    grant(&admin, &role).await;
    let client = database.connect_as(&role).await;
    let key = begin(&client, "user_id => 1, ip => '192.0.2.1'").await.key;
    assert!(alive(&client, &key).await);
    let list = "SELECT count(*)::text FROM qsessions.user_sessions('1')";
    assert_eq!(texts(&client, list).await, ["1"]);
}

#[tokio::test]
async fn default_privileges_do_not_open_the_internal_tables() {
    let database = Database::with(Users::Nothing).await;
    let admin = database.connect().await;
    let role = new_role(&database, &admin, "app").await;
    let defaults = format!(
        "DROP EXTENSION qsessions;
         ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {role} WITH GRANT OPTION;
         ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC"
    );
    admin.batch_execute(&defaults).await.unwrap();
    let granted = "SELECT c.relname || ': ' || (a.grantee, a.privilege_type)::text
                   FROM pg_class AS c CROSS JOIN aclexplode(c.relacl) AS a
                   WHERE c.relname LIKE 'invalidation%' AND a.grantee <> c.relowner";
    for create in [
        "CREATE EXTENSION qsessions",
        "CREATE EXTENSION qsessions VERSION '0.1.0'; ALTER EXTENSION qsessions UPDATE",
    ] {
        admin.batch_execute(create).await.unwrap();
        assert_eq!(texts(&admin, granted).await, Vec::<String>::new());
        let client = database.connect_as(&role).await;
        for table in ["invalidation_state", "invalidation_prepared"] {
            let select = format!("SELECT FROM qsessions.{table}");
            assert_eq!(failure(&client, &select, &[]).await.code, DENIED);
        }
        drop(client);
        admin
            .batch_execute("DROP EXTENSION qsessions")
            .await
            .unwrap();
    }
}

/// The way that the documentation recommends: such an owner needs no right to create anything in
/// the schema of the extension.
#[tokio::test]
async fn the_session_table_can_be_handed_over() {
    let database = Database::with(Users::Unlinked).await;
    let admin = database.connect().await;
    let owner = new_role(&database, &admin, "owner").await;
    admin
        .batch_execute(&format!(
            "GRANT CREATE ON SCHEMA public TO {owner}; ALTER TABLE qsessions.session OWNER TO {owner}"
        ))
        .await
        .unwrap();
    let client = database.connect_as(&owner).await;
    client
        .batch_execute(
            "CREATE TABLE users (id uuid PRIMARY KEY DEFAULT gen_random_uuid());
             INSERT INTO users DEFAULT VALUES;
             SELECT qsessions.link_users('users');
             SELECT qsessions.login(NULL, id, max_sessions => 1) FROM users",
        )
        .await
        .unwrap();
    add_expired(&client, 2).await;
    client
        .batch_execute("SELECT qsessions.purge_expired(1)")
        .await
        .unwrap();
    client
        .batch_execute("CALL qsessions.purge()")
        .await
        .unwrap();
    assert_eq!(sessions(&client).await, 1);
    let types = "SELECT format('%s %s', typbasetype::regtype, typowner::regrole)
                 FROM pg_type WHERE oid = 'qsessions.user_key'::regtype";
    assert_eq!(texts(&client, types).await, ["uuid postgres"]);
    // A function of the owner's could be preferred to that of the extension when a superuser calls
    // it.
    let overload = "CREATE FUNCTION qsessions.create_session(user_id integer) RETURNS integer
                    LANGUAGE sql AS 'SELECT 1'";
    assert_eq!(failure(&client, overload, &[]).await.code, DENIED);
}

#[tokio::test]
async fn create_session_table_without_privileges_says_what_to_grant() {
    let database = Database::with(Users::Nothing).await;
    let admin = database.connect().await;
    let role = new_role(&database, &admin, "owner").await;
    admin
        .batch_execute(&format!(
            "GRANT EXECUTE ON ALL ROUTINES IN SCHEMA qsessions TO {role}"
        ))
        .await
        .unwrap();
    let client = database.connect_as(&role).await;
    let create = "SELECT qsessions.create_session_table()";
    let refused = failure(&client, create, &[]).await;
    assert_eq!(refused.code, DENIED);
    // The hint ends with a statement that solves the problem.
    let (_, statement) = refused.hint.split_once(": ").expect("a statement");
    admin.batch_execute(statement).await.unwrap();
    client.batch_execute(create).await.unwrap();
}

#[tokio::test]
async fn row_level_security_applies_to_the_functions() {
    let (_database, admin, _role, client) = application().await;
    let mine = begin(&admin, "user_id => 1").await;
    let theirs = begin(&admin, "user_id => 2").await;
    admin
        .batch_execute(
            "ALTER TABLE qsessions.session ENABLE ROW LEVEL SECURITY;
             CREATE POLICY own ON qsessions.session USING (user_id = current_setting('app.member')::bigint)",
        )
        .await
        .unwrap();
    client.batch_execute("SET app.member = '1'").await.unwrap();
    assert!(alive(&client, &mine.key).await);
    assert!(!alive(&client, &theirs.key).await);
    for (query, rows) in [
        ("SELECT FROM qsessions.user_sessions(1)", 1),
        ("SELECT FROM qsessions.user_sessions(2)", 0),
        (
            "SELECT FROM qsessions.list_sessions() WHERE user_id = '1'",
            1,
        ),
        ("SELECT FROM qsessions.list_sessions(2)", 0),
        (
            "SELECT FROM qsessions.resume_session('KEY', '192.0.2.9')",
            0,
        ),
        (
            "SELECT FROM qsessions.get_session(qsessions.session_id('KEY'))",
            0,
        ),
        (
            "SELECT FROM qsessions.stats() WHERE (total, users) = (1, 1)",
            1,
        ),
    ] {
        let query = query.replace("KEY", &theirs.key);
        let found = client.query(&query, &[]).await.unwrap();
        assert_eq!(found.len(), rows, "{query}");
    }
    holds(&client, "NOT qsessions.logout($1)", &theirs.key).await;
    holds(
        &client,
        "NOT qsessions.revoke_session(qsessions.session_id($1))",
        &theirs.key,
    )
    .await;
    holds(
        &client,
        "qsessions.revoke_user_sessions(2) = 0 AND $1 <> ''",
        &theirs.key,
    )
    .await;
    let save = "SELECT qsessions.save_session($1, '{}')";
    assert_eq!(failure(&client, save, &[&theirs.key]).await.code, "QS001");
    let create = "SELECT qsessions.create_session(user_id => 2)";
    assert_eq!(failure(&client, create, &[]).await.code, DENIED);
    assert!(alive(&admin, &theirs.key).await);

    holds(&client, "qsessions.save_session($1, '{}') = 2", &mine.key).await;
    holds(&client, "qsessions.logout($1)", &mine.key).await;
}
