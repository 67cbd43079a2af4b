//! Roles for tests of privileges.

use crate::common::row;
use qsessions_testkit::Database;
use std::fmt::Write as _;
use tokio_postgres::Client;

/// SQLSTATE insufficient_privilege.
pub(crate) const DENIED: &str = "42501";

/// Functions that only compute, or read what `authenticate` has found. Every role can call them.
pub(crate) const PURE: &[&str] = &[
    "address",
    "current_session_id",
    "current_user_id",
    "device",
    "generate_key",
    "invalidation_channel",
    "parse_user_agent",
    "session_id",
    "user_agent_rules",
];

/// Functions that do more than their caller could do with the table. PUBLIC may not execute them.
pub(crate) const BEYOND_THE_TABLE: &[&str] = &[
    "_announce",
    "_schedule_purge",
    "_unschedule_purge",
    "asn",
    "country_code",
    "geoip_databases",
    "geoip_reload",
    "invalidate",
    "invalidation_status",
    "location",
    "location_info",
    "metrics",
    "schedule_purge",
    "unschedule_purge",
];

/// Creates a role that can log in and has no other privileges. Roles belong to the whole cluster,
/// so their names contain that of the database.
pub(crate) async fn new_role(database: &Database, admin: &Client, name: &str) -> String {
    let role = format!("{name}_{}", database.name());
    admin
        .batch_execute(&format!("CREATE ROLE {role} LOGIN"))
        .await
        .unwrap();
    role
}

/// A database, a connection as superuser, a role with `grant_access`, and a connection as that
/// role.
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

/// A call of each function of the contract that is not pure, with its required arguments: a role
/// without privileges gets an error from each.
pub(crate) async fn refused_calls(admin: &Client) -> Vec<String> {
    let condition = format!(
        "proname !~ '^_' AND proname <> ALL ('{{{}}}')",
        PURE.join(",")
    );
    let mut calls = calls(admin, &condition).await;
    // These require one of their optional arguments.
    for call in &mut calls {
        *call = call
            .replace(
                "set_expiry(text '12345678')",
                "set_expiry(text '12345678', interval '1 hour')",
            )
            .replace("revoke_sessions()", "revoke_sessions('1')");
    }
    calls
}

/// A call of each function for which a condition on `pg_proc` holds, with its required arguments.
/// None of them is null, since PostgreSQL does not even ask for the privilege to call a strict
/// function with a null.
pub(crate) async fn calls(admin: &Client, condition: &str) -> Vec<String> {
    let rows = admin
        .query(
            &format!(
                "SELECT proname::text, prokind = 'p',
                        (ARRAY(SELECT format_type(t, NULL) FROM unnest(proargtypes) AS t))
                            [:pronargs - pronargdefaults]
                 FROM pg_proc WHERE pronamespace = 'qsessions'::regnamespace AND {condition}"
            ),
            &[],
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
        "anycompatiblenonarray" | "anyelement" | "anynonarray" => "1::bigint",
        "bigint" => "1::bigint",
        "boolean" => "true",
        "bytea" => "bytea ''",
        "bytea[]" => "'{}'::bytea[]",
        "double precision" => "1::float8",
        "inet" => "inet '192.0.2.1'",
        "inet[]" => "'{}'::inet[]",
        "integer" => "1",
        "integer[]" => "'{1}'::integer[]",
        "interval" => "interval '1 hour'",
        "jsonb" => "jsonb '{}'",
        "jsonb[]" => "'{}'::jsonb[]",
        "name" => "name 'id'",
        "pg_attribute" => "NULL::pg_attribute",
        "oid" => "'qsessions.session'::regclass::oid",
        "qsessions.new_session" => {
            "ROW('12345678', '00000000-0000-7000-8000-000000000000', 'infinity')::qsessions.new_session"
        }
        "regclass" => "regclass 'users'",
        "regcollation" => "regcollation '\"C\"'",
        "regtype" => "regtype 'text'",
        "regrole" => "regrole 'pg_monitor'",
        "text" => "text '12345678'",
        "text[]" => "'{}'::text[]",
        "timestamp with time zone" => "timestamptz 'epoch'",
        "timestamp with time zone[]" => "'{}'::timestamptz[]",
        "uuid[]" => "'{}'::uuid[]",
        "uuid" => "uuid '00000000-0000-7000-8000-000000000000'",
        other => panic!("no value of type {other} to call a function with"),
    }
}
