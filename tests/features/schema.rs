//! The schema: the objects of the extension, their comments, and CREATE and DROP EXTENSION.

use crate::common::{add_expired, failure, row, sessions, texts};
use crate::declared::{CONTRACT, INTERNAL, TABLES, TYPES};
use qsessions_testkit::{Database, Users};
use std::collections::BTreeSet;
use tokio_postgres::Client;

/// The members of the extension. From PostgreSQL 17, they also include what other members imply: the
/// types of arrays, and of the rows of tables.
const MEMBERS: &str = "(SELECT d.* FROM pg_depend AS d
    LEFT JOIN pg_type AS t ON classid = 'pg_type'::regclass AND t.oid = objid
    LEFT JOIN pg_class AS c ON c.oid = typrelid
    WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
      AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'qsessions')
      AND typcategory IS DISTINCT FROM 'A' AND relkind IS DISTINCT FROM 'r') AS member";

/// A connection for which PostgreSQL qualifies all names except its own.
async fn reader(users: Users) -> Client {
    let client = Database::with(users).await.connect().await;
    client
        .batch_execute("SET search_path = pg_catalog")
        .await
        .unwrap();
    client
}

#[tokio::test]
async fn functions_have_the_declared_signatures() {
    let client = reader(Users::Nothing).await;
    let found = texts(
        &client,
        "SELECT format('%s(%s) -> %s', proname, pg_get_function_arguments(oid),
                       coalesce(pg_get_function_result(oid), 'procedure'))
         FROM pg_proc WHERE pronamespace = 'qsessions'::regnamespace",
    )
    .await;
    for declared in CONTRACT {
        assert!(
            found.iter().any(|function| function == declared),
            "{declared} is not among\n{}",
            found.join("\n")
        );
    }
}

#[tokio::test]
async fn row_types_have_the_declared_columns() {
    let client = reader(Users::Nothing).await;
    for (name, columns) in TYPES {
        let found = texts(
            &client,
            &format!(
                "SELECT attname || ' ' || format_type(atttypid, atttypmod)
                 FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
                 WHERE c.oid = 'qsessions.{name}'::regclass AND relkind = 'c'
                 ORDER BY attnum"
            ),
        )
        .await;
        assert_eq!(&found, columns, "{name}");
    }
}

#[tokio::test]
async fn the_extension_has_only_declared_objects() {
    let client = reader(Users::Unlinked).await;
    let found = texts(
        &client,
        &format!(
            "SELECT format('%s %s', o.type, CASE WHEN o.type IN ('function', 'procedure')
                           THEN (SELECT proname FROM pg_proc WHERE oid = objid) ELSE o.identity END)
             FROM {MEMBERS} CROSS JOIN pg_identify_object(classid, objid, objsubid) AS o"
        ),
    )
    .await;
    let of_contract = CONTRACT.iter().map(|function| {
        let kind = if function.ends_with("-> procedure") {
            "procedure"
        } else {
            "function"
        };
        format!("{kind} {}", function.split('(').next().unwrap())
    });
    let declared: BTreeSet<String> = of_contract
        .chain(INTERNAL.iter().map(|name| format!("function {name}")))
        .chain(
            TYPES
                .iter()
                .map(|(name, _)| format!("type qsessions.{name}")),
        )
        .chain(TABLES.iter().map(|name| format!("table qsessions.{name}")))
        .chain(["schema qsessions".to_owned()])
        .collect();
    assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), declared);
    // Only those of the contract have variants.
    assert_eq!(
        found.len(),
        CONTRACT.len() + INTERNAL.len() + TYPES.len() + TABLES.len() + 1
    );
}

#[tokio::test]
async fn the_session_table_belongs_to_the_caller_and_not_to_the_extension() {
    let client = reader(Users::Unlinked).await;
    let members = texts(
        &client,
        "SELECT pg_describe_object(classid, objid, objsubid) FROM pg_depend
         WHERE deptype = 'e' AND (objid IN ('qsessions.session'::regclass, 'qsessions.session'::regtype,
                                            'qsessions.user_key'::regtype)
               OR objid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'qsessions.session'::regclass))",
    )
    .await;
    assert_eq!(members, [""; 0]);
}

#[tokio::test]
async fn every_object_has_a_comment() {
    let client = reader(Users::Unlinked).await;
    let silent = texts(
        &client,
        &format!(
            "SELECT pg_describe_object(classid, objid, 0) FROM {MEMBERS}
         WHERE coalesce(obj_description(objid, classid::regclass::text::name), '') = ''
         UNION ALL
         SELECT 'extension qsessions' FROM pg_extension
         WHERE extname = 'qsessions' AND coalesce(obj_description(oid, 'pg_extension'), '') = ''
         UNION ALL
         SELECT 'table ' || oid::regclass FROM pg_class
         WHERE relnamespace = 'qsessions'::regnamespace AND relkind NOT IN ('c', 'i')
           AND coalesce(obj_description(oid, 'pg_class'), '') = ''
         UNION ALL
         SELECT format('column %s.%s', attrelid::regclass, attname) FROM pg_attribute
         WHERE attrelid = 'qsessions.session'::regclass AND attnum > 0
           AND coalesce(col_description(attrelid, attnum), '') = ''
         UNION ALL
         SELECT 'domain ' || oid::regtype FROM pg_type
         WHERE typnamespace = 'qsessions'::regnamespace AND typtype = 'd'
           AND coalesce(obj_description(oid, 'pg_type'), '') = ''"
        ),
    )
    .await;
    assert_eq!(silent, [""; 0]);
}

#[tokio::test]
async fn plpgsql_functions_set_their_search_path_or_qualify_every_name() {
    let client = reader(Users::Nothing).await;
    let unpinned = texts(
        &client,
        "SELECT DISTINCT proname::text FROM pg_proc AS p JOIN pg_language AS l ON l.oid = prolang
         WHERE pronamespace = 'qsessions'::regnamespace AND lanname = 'plpgsql'
           AND 'search_path=pg_catalog, pg_temp' <> ALL (coalesce(proconfig, '{}'))
         ORDER BY 1",
    )
    .await;
    assert_eq!(
        unpinned,
        [
            "_record_login",
            "create_session",
            "import_session",
            "purge",
            "save_session"
        ]
    );
}

#[tokio::test]
async fn only_one_function_is_security_definer() {
    let client = reader(Users::Nothing).await;
    let definers = texts(
        &client,
        "SELECT oid::regprocedure::text FROM pg_proc
         WHERE pronamespace = 'qsessions'::regnamespace AND prosecdef",
    )
    .await;
    // The domain that it creates must not belong to the owner of the table, who could add checks to
    // it that run as a superuser.
    assert_eq!(definers, ["qsessions._sync_user_key_type()"]);
}

#[tokio::test]
async fn functions_and_operators_earlier_in_the_search_path_are_not_called() {
    let client = Database::new().await.connect().await;
    client.batch_execute(HOSTILE).await.unwrap();
    let trap = failure(&client, "SELECT 1 = 1", &[]).await;
    assert_eq!(trap.message, "trapped");

    let key: String = row(
        &client,
        "SELECT key FROM qsessions.create_session(user_id => 1)",
        &[],
    )
    .await
    .get(0);
    for statement in [
        "SELECT id FROM qsessions.load_session('KEY')",
        "SELECT id FROM qsessions.resume_session('KEY', ip => '10.0.0.1')",
        "SELECT id FROM qsessions.user_sessions(1, 'KEY')",
        "SELECT id FROM qsessions.user_sessions('1', 'KEY')",
        "SELECT id FROM qsessions.get_session(qsessions.session_id('KEY'))",
        "SELECT id FROM qsessions.list_sessions('1', ip => '10.0.0.0/8')",
        "SELECT id FROM qsessions.list_sessions(1, true)",
        "SELECT qsessions.patch_session('KEY', '{\"a\": 1}')",
        "SELECT qsessions.save_session('KEY', '{}')",
        "SELECT qsessions.save_session('KEY', '{}', ttl => '1 h', expected_version => 3)",
        "SELECT key FROM qsessions.create_session(1, ip => '10.0.0.1', user_agent => 'a')",
        "SELECT key FROM qsessions.create_session('1', '{}', idle_timeout => '1 h', max_age => '1 d')",
        "SELECT key FROM qsessions.create_session(key => 'another framework''s', ttl => '1 h')",
        "SELECT id FROM qsessions.login('KEY', 1, max_sessions => 1)",
        "SELECT qsessions.revoke_session('00000000-0000-7000-8000-000000000000', 1)",
        "SELECT qsessions.revoke_session('00000000-0000-7000-8000-000000000000')",
        "SELECT qsessions.purge_expired()",
    ] {
        let statement = statement.replace("KEY", &key);
        let rows = client.query(&statement, &[]).await.unwrap();
        assert_eq!(rows.len(), 1, "{statement}");
    }
    add_expired(&client, 12).await;
    client
        .batch_execute("CALL qsessions.purge(batch_size => 1, max_batches => 20)")
        .await
        .unwrap();
    // The last session of the user, and the anonymous one.
    assert_eq!(sessions(&client).await, 2);
}

/// Operators and functions that precede PostgreSQL's own in the search_path, and raise errors.
const HOSTILE: &str = "
    CREATE SCHEMA hostile;
    CREATE FUNCTION hostile.trap(anyelement, anyelement) RETURNS boolean LANGUAGE plpgsql
        AS 'BEGIN RAISE ''trapped''; END';
    CREATE FUNCTION hostile.trap(int, int) RETURNS boolean LANGUAGE plpgsql
        AS 'BEGIN RAISE ''trapped''; END';
    CREATE FUNCTION hostile.trap(bigint, bigint) RETURNS boolean LANGUAGE plpgsql
        AS 'BEGIN RAISE ''trapped''; END';
    CREATE FUNCTION hostile.trap(bigint, int) RETURNS boolean LANGUAGE plpgsql
        AS 'BEGIN RAISE ''trapped''; END';
    CREATE FUNCTION hostile.trap(uuid, uuid) RETURNS boolean LANGUAGE plpgsql
        AS 'BEGIN RAISE ''trapped''; END';
    CREATE FUNCTION hostile.trap(bytea, bytea) RETURNS boolean LANGUAGE plpgsql
        AS 'BEGIN RAISE ''trapped''; END';
    CREATE FUNCTION hostile.trap(timestamptz, timestamptz) RETURNS boolean LANGUAGE plpgsql
        AS 'BEGIN RAISE ''trapped''; END';
    CREATE FUNCTION hostile.trap(timestamptz, interval) RETURNS boolean LANGUAGE plpgsql
        AS 'BEGIN RAISE ''trapped''; END';
    CREATE FUNCTION hostile.\"left\"(text, int) RETURNS text LANGUAGE plpgsql
        AS 'BEGIN RAISE ''trapped''; END';
    CREATE FUNCTION hostile.now() RETURNS timestamptz LANGUAGE plpgsql
        AS 'BEGIN RAISE ''trapped''; END';
    DO $$
    DECLARE
        symbol text;
        operands text;
    BEGIN
        FOREACH symbol IN ARRAY ARRAY['=', '<>', '<', '>', '<=', '>=', '+', '%'] LOOP
            FOREACH operands IN ARRAY ARRAY['int,int', 'bigint,bigint', 'bigint,int', 'uuid,uuid', 'bytea,bytea',
                                            'timestamptz,timestamptz', 'timestamptz,interval'] LOOP
                EXECUTE format('CREATE OPERATOR hostile.%s (FUNCTION = hostile.trap, LEFTARG = %s, RIGHTARG = %s)',
                    symbol, split_part(operands, ',', 1), split_part(operands, ',', 2));
            END LOOP;
        END LOOP;
    END
    $$;
    CREATE DOMAIN hostile.text AS pg_catalog.int4;
    CREATE DOMAIN hostile.uuid AS pg_catalog.int4;
    CREATE DOMAIN hostile.timestamptz AS pg_catalog.int4;
    CREATE FUNCTION hostile.refuse(pg_catalog.int8) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped''; END';
    CREATE DOMAIN hostile.int8 AS pg_catalog.int8 CHECK (hostile.refuse(VALUE));
    CREATE DOMAIN hostile.int4 AS pg_catalog.int8 CHECK (hostile.refuse(VALUE));
    CREATE DOMAIN hostile.record AS pg_catalog.int8 CHECK (hostile.refuse(VALUE));
    CREATE DOMAIN hostile.bool AS pg_catalog.int4;
    CREATE DOMAIN hostile.bytea AS pg_catalog.int4;
    CREATE DOMAIN hostile.inet AS pg_catalog.int4;
    CREATE DOMAIN hostile.\"interval\" AS pg_catalog.int4;
    CREATE DOMAIN hostile.jsonb AS pg_catalog.int4;
    CREATE DOMAIN hostile.regclass AS pg_catalog.int4;
    SET search_path = hostile, pg_catalog;
";

#[tokio::test]
async fn create_extension_refuses_an_existing_schema() {
    let database = Database::with(Users::Nothing).await;
    let client = database.connect().await;
    client
        .batch_execute("DROP EXTENSION qsessions; CREATE SCHEMA qsessions")
        .await
        .unwrap();
    let refused = failure(&client, "CREATE EXTENSION qsessions", &[]).await;
    assert_eq!(refused.code, "42P06");

    client.batch_execute("DROP SCHEMA qsessions").await.unwrap();
    client
        .batch_execute("CREATE EXTENSION qsessions")
        .await
        .unwrap();
}

#[tokio::test]
async fn drop_extension_drops_sessions_only_with_cascade() {
    let database = Database::new().await;
    let client = database.connect().await;
    client
        .batch_execute("SELECT qsessions.create_session(user_id => 1)")
        .await
        .unwrap();
    let refused = failure(&client, "DROP EXTENSION qsessions", &[]).await;
    assert_eq!(refused.code, "2BP01");
    assert!(
        refused.detail.contains("table qsessions.session"),
        "{}",
        refused.detail
    );
    assert_eq!(sessions(&client).await, 1);

    client
        .batch_execute("DROP EXTENSION qsessions CASCADE")
        .await
        .unwrap();
    let left = texts(
        &client,
        "SELECT nspname::text FROM pg_namespace WHERE nspname = 'qsessions'",
    )
    .await;
    assert_eq!(left, [""; 0]);
}
