//! Roles for tests of privileges.

use crate::common::row;
use qsessions_testkit::Database;
use std::fmt::Write as _;
use tokio_postgres::Client;

/// SQLSTATE insufficient_privilege.
pub(crate) const DENIED: &str = "42501";

/// The functions that PUBLIC can execute; they only compute.
pub(crate) const PURE: &[&str] = &[
    "address",
    "device",
    "find_session_id",
    "generate_key",
    "parse_user_agent",
    "session_id",
    "user_agent_rules",
];

/// Creates a role that can log in and has no other privileges. Roles belong to the whole cluster, so their names
/// contain that of the database.
pub(crate) async fn new_role(database: &Database, admin: &Client, name: &str) -> String {
    let role = format!("{name}_{}", database.name());
    admin
        .batch_execute(&format!("CREATE ROLE {role} LOGIN"))
        .await
        .unwrap();
    role
}

/// A database, a connection as superuser, a role with `grant_access`, and a connection as that role.
pub(crate) async fn application() -> (Database, Client, String, Client) {
    let database = Database::new().await;
    let admin = database.connect().await;
    let role = new_role(&database, &admin, "app").await;
    grant(&admin, &role).await;
    let client = database.connect_as(&role).await;
    (database, admin, role, client)
}

pub(crate) async fn grant(admin: &Client, role: &str) {
    admin
        .batch_execute(&format!("SELECT qsessions.grant_access('{role}')"))
        .await
        .unwrap();
}

/// Asserts a condition on a key.
pub(crate) async fn holds(client: &Client, condition: &str, key: &str) {
    let found: Option<bool> = row(client, &format!("SELECT {condition}"), &[&key])
        .await
        .get(0);
    assert_eq!(found, Some(true), "{condition}");
}

/// A call of each function that PUBLIC cannot execute. The arguments are not null, because PostgreSQL does not check
/// the privilege for a call of a strict function with a null argument.
pub(crate) async fn refused_calls(admin: &Client) -> Vec<String> {
    let rows = admin
        .query(
            "SELECT proname::text, prokind = 'p',
                    ARRAY(SELECT format_type(t, NULL) FROM unnest(proargtypes) AS t)
             FROM pg_proc
             WHERE pronamespace = 'qsessions'::regnamespace AND proname <> ALL ($1)",
            &[&PURE],
        )
        .await
        .unwrap();
    let calls = rows.iter().map(|row| {
        let (name, is_procedure, types): (&str, bool, Vec<&str>) =
            (row.get(0), row.get(1), row.get(2));
        let verb = if is_procedure { "CALL" } else { "SELECT" };
        let mut call = format!("{verb} qsessions.{name}(");
        for (position, argument) in types.into_iter().enumerate() {
            let comma = if position > 0 { ", " } else { "" };
            write!(call, "{comma}{}", value_of(argument)).unwrap();
        }
        call + ")"
    });
    calls.collect()
}

fn value_of(argument: &str) -> &'static str {
    match argument {
        "anynonarray" => "1::bigint",
        "bigint" => "1::bigint",
        "boolean" => "true",
        "inet" => "inet '192.0.2.1'",
        "integer" => "1",
        "interval" => "interval '1 hour'",
        "jsonb" => "jsonb '{}'",
        "name" => "name 'id'",
        "pg_attribute" => "NULL::pg_attribute",
        "oid" => "oid '1259'",
        "regclass" => "regclass 'pg_class'",
        "regrole" => "regrole 'pg_monitor'",
        "text" => "text '12345678'",
        "text[]" => "'{}'::text[]",
        "timestamp with time zone" => "timestamptz 'epoch'",
        "uuid[]" => "'{}'::uuid[]",
        "uuid" => "uuid '00000000-0000-7000-8000-000000000000'",
        other => panic!("no value of type {other} to call a function with"),
    }
}
