//! What an update leaves in the catalogue, object by object, beside a new installation.

use super::{UPGRADE, old};
use crate::common::roles::new_role;
use crate::common::texts;
use qsessions_testkit::Database;
use tokio_postgres::Client;

/// What the update to 0.2.0 leaves over of 0.1.0, for calls that began before it. A new
/// installation has none of these.
const LEFT_OVER: &[&str] = &[
    "function qsessions._former_create_session(anynonarray,jsonb,inet,text,interval,interval,interval,text)",
    "function qsessions._former_create_session(text,jsonb,inet,text,interval,interval,interval,text)",
    "function qsessions._former_list_sessions(anynonarray,boolean,inet,uuid,integer)",
    "function qsessions._former_list_sessions(text,boolean,inet,uuid,integer)",
    "function qsessions._former_load_for_cache(text)",
    "function qsessions._former_login(text,anynonarray,inet,text,jsonb,integer,interval,interval,interval)",
    "function qsessions._former_login(text,text,inet,text,jsonb,integer,interval,interval,interval)",
    "function qsessions._former_resume_session(text,inet,text)",
    "function qsessions._former_revoke_session(uuid,anynonarray)",
    "function qsessions._former_revoke_session(uuid,text)",
    "function qsessions._former_revoke_user_sessions(anynonarray,text)",
    "function qsessions._former_revoke_user_sessions(text,text)",
    "function qsessions._former_rotate_key(text)",
    "function qsessions._former_save_session(text,jsonb,bigint,interval)",
    "function qsessions._former_user_sessions(anynonarray,text)",
    "function qsessions._former_user_sessions(text,text)",
    "function qsessions._slide(timestamp with time zone,timestamp with time zone,interval,timestamp with time zone)",
    "function qsessions.check_interval(text,interval)",
    "function qsessions.data_fits(jsonb)",
    "function qsessions.data_size(jsonb)",
    "function qsessions.default_ttl()",
    "function qsessions.expiry(interval,interval,interval)",
    "function qsessions.find_session_id(text)",
    "function qsessions.generate_key_for(uuid)",
    "function qsessions.key_digest(text)",
    "function qsessions.lock_user(text,boolean)",
    "function qsessions.lock_user_logins(text,integer)",
    "function qsessions.max_data_bytes()",
    "function qsessions.purge_batch(integer,timestamp with time zone,uuid)",
    "function qsessions.raise_data_too_large(jsonb)",
    "function qsessions.raise_not_found(text,bigint)",
    "function qsessions.raise_not_saved(text,jsonb,bigint)",
    "function qsessions.raise_null(text)",
    "function qsessions.touch_interval()",
    "function qsessions.user_agent_max_length()",
    "type qsessions._former_cacheable_session",
];

/// Whether the comment says that an object is left over.
const IS_LEFT_OVER: &str = "~ '^Internal: a (function|type) of 0.1.0'";

/// The objects of an installation, one line each, without those that are left over. The role of the
/// application is named app there.
pub(super) async fn description(client: &Client, role: &str) -> Vec<String> {
    client
        .batch_execute(
            "CREATE OR REPLACE FUNCTION pg_temp.acl(acl aclitem[]) RETURNS text LANGUAGE sql AS $$
                 SELECT string_agg(concat_ws(' ', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
                                             a.privilege_type, a.is_grantable), ', '
                                   ORDER BY a.grantee::regrole::text, a.privilege_type)
                 FROM aclexplode(acl) AS a
             $$",
        )
        .await
        .unwrap();
    let mut lines = Vec::new();
    for query in [
        // The functions with all their properties, except the file name of the library.
        format!(
            "SELECT concat_ws(' | ', p.oid::regprocedure, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
                              p.prokind, p.provolatile, p.proparallel, p.proisstrict, p.prosecdef, p.proleakproof,
                              p.procost, p.prorows, p.proconfig, l.lanname, p.prosrc, pg_get_function_sqlbody(p.oid),
                              p.proowner::regrole, obj_description(p.oid, 'pg_proc'),
                              pg_temp.acl(coalesce(p.proacl, acldefault('f', p.proowner))))
             FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
             WHERE p.pronamespace = 'qsessions'::regnamespace
               AND coalesce(obj_description(p.oid, 'pg_proc'), '') !{IS_LEFT_OVER} ORDER BY 1"
        ),
        format!(
            "SELECT concat_ws(' | ', t.typname, t.typtype, t.typbasetype::regtype, t.typcollation::regcollation,
                              t.typowner::regrole, pg_temp.acl(t.typacl), obj_description(t.oid, 'pg_type'))
             FROM pg_type AS t
             WHERE t.typnamespace = 'qsessions'::regnamespace AND NOT EXISTS (
                 SELECT FROM pg_type AS f WHERE obj_description(f.oid, 'pg_type') {IS_LEFT_OVER} AND f.oid IN (t.oid, t.typelem))
             ORDER BY 1"
        ),
        // Tables, row types and indexes, and their columns. In the session table, columns of the
        // user's own may be before those that the update has added.
        "SELECT concat_ws(' | ', c.relname, c.relkind, c.relpersistence, c.reloptions, c.relowner::regrole, c.relrowsecurity,
                          pg_temp.acl(coalesce(c.relacl, acldefault('r', c.relowner))),
                          pg_get_indexdef(c.oid), obj_description(c.oid, 'pg_class'))
         FROM pg_class AS c
         WHERE c.relnamespace = 'qsessions'::regnamespace AND c.relname !~ '^_former_' ORDER BY 1"
            .to_owned(),
        "SELECT concat_ws(' | ', c.relname, CASE WHEN c.relname <> 'session' THEN a.attnum END, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                          a.attgenerated, a.attcollation::regcollation, pg_get_expr(d.adbin, d.adrelid),
                          pg_temp.acl(a.attacl), col_description(a.attrelid, a.attnum))
         FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
         LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE c.relnamespace = 'qsessions'::regnamespace AND c.relname !~ '^_former_' AND a.attnum > 0
           AND NOT a.attisdropped ORDER BY 1"
            .to_owned(),
        "SELECT concat_ws(' | ', conname, pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint')) FROM pg_constraint
         WHERE conrelid = 'qsessions.session'::regclass ORDER BY 1"
            .to_owned(),
        "SELECT concat_ws(' | ', pg_get_triggerdef(oid), tgenabled) FROM pg_trigger
         WHERE tgrelid = 'qsessions.session'::regclass AND NOT tgisinternal ORDER BY 1"
            .to_owned(),
        "SELECT concat_ws(' | ', nspname, pg_temp.acl(nspacl), obj_description(oid, 'pg_namespace')) FROM pg_namespace
         WHERE nspname = 'qsessions'"
            .to_owned(),
        // The members of the extension, and the privileges that pg_dump takes for a part of it.
        format!(
            "SELECT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend AS d
             JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'qsessions' AND d.deptype = 'e'
             LEFT JOIN pg_description AS c ON c.classoid = d.classid AND c.objoid = d.objid AND c.objsubid = 0
             WHERE coalesce(c.description, '') !{IS_LEFT_OVER}
               -- From PostgreSQL 17, the array types of row types are members too.
               AND pg_describe_object(d.classid, d.objid, 0) !~ '^type qsessions[.]_former_' ORDER BY 1"
        ),
        format!(
            "SELECT concat_ws(' | ', p.oid::regprocedure, pg_temp.acl(coalesce(i.initprivs, acldefault('f', p.proowner))))
             FROM pg_proc AS p LEFT JOIN pg_init_privs AS i ON i.objoid = p.oid AND i.classoid = 'pg_proc'::regclass
             WHERE p.pronamespace = 'qsessions'::regnamespace
               AND coalesce(obj_description(p.oid, 'pg_proc'), '') !{IS_LEFT_OVER} ORDER BY 1"
        ),
        "SELECT concat_ws(' | ', i.objoid::regclass, i.objsubid, pg_temp.acl(i.initprivs)) FROM pg_init_privs AS i
         WHERE i.objoid = to_regclass('qsessions.session') UNION ALL SELECT 'no more'"
            .to_owned(),
        "SELECT concat_ws(' | ', extname, extversion, extowner::regrole, extconfig::regclass[], extcondition) FROM pg_extension
         WHERE extname = 'qsessions'"
            .to_owned(),
    ] {
        let found = texts(client, &query).await;
        assert!(!found.is_empty(), "{query}");
        lines.extend(found.into_iter().map(|line| line.replace(role, "app")));
    }
    lines
}

/// Asserts that two installations are the same, and names the first objects that differ.
pub(super) fn assert_same(one: &[String], other: &[String]) {
    for (one, other) in one.iter().zip(other) {
        assert_eq!(one, other);
    }
    assert_eq!(one.len(), other.len());
}

#[tokio::test]
async fn an_updated_installation_equals_a_new_one() {
    let database = old().await;
    let client = database.connect().await;
    let role = new_role(&database, &client, "app").await;
    let grant = format!("SELECT qsessions.grant_access('{role}')");
    client.batch_execute(&grant).await.unwrap();
    client.batch_execute(UPGRADE).await.unwrap();
    let rewrite = "SELECT qsessions.update_session_table(rewrite => true)";
    client.batch_execute(rewrite).await.unwrap();
    let new = Database::new().await;
    let admin = new.connect().await;
    // What the update makes of earlier grants, and what a repeated grant makes of the update.
    for _ in 0..2 {
        admin.batch_execute(&grant).await.unwrap();
        assert_same(
            &description(&client, &role).await,
            &description(&admin, &role).await,
        );
        client.batch_execute(&grant).await.unwrap();
    }
    let revoke = format!("SELECT qsessions.revoke_access('{role}')");
    client.batch_execute(&revoke).await.unwrap();
    admin.batch_execute(&revoke).await.unwrap();
    assert_same(
        &description(&client, &role).await,
        &description(&admin, &role).await,
    );
    let columns = "SELECT attname::text FROM pg_attribute
                   WHERE attrelid = 'qsessions.session'::regclass AND NOT attisdropped ORDER BY attnum";
    assert_eq!(texts(&client, columns).await, texts(&admin, columns).await);
    let left_over = format!(
        "SELECT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend AS d
         JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'qsessions' AND d.deptype = 'e'
         WHERE obj_description(d.objid, d.classid::regclass::text) {IS_LEFT_OVER} ORDER BY 1"
    );
    assert_eq!(texts(&client, &left_over).await, LEFT_OVER);
    assert!(texts(&admin, &left_over).await.is_empty());
}

/// A change of the SQL without a step in the update differs in one of these.
#[tokio::test]
async fn the_comparison_sees_every_kind_of_difference() {
    let database = Database::new().await;
    let client = database.connect().await;
    let same = description(&client, "app").await;
    for change in [
        "CREATE FUNCTION qsessions.one_more() RETURNS integer RETURN 1",
        "ALTER EXTENSION qsessions DROP FUNCTION qsessions.logout; DROP FUNCTION qsessions.logout",
        "ALTER FUNCTION qsessions.logout VOLATILE COST 7",
        "ALTER FUNCTION qsessions.logout RESET ALL",
        "ALTER FUNCTION qsessions.device(text) PARALLEL UNSAFE",
        "ALTER EXTENSION qsessions DROP FUNCTION qsessions.logout(text)",
        "CREATE OR REPLACE FUNCTION qsessions.logout(key text) RETURNS boolean
             LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS 'BEGIN RETURN true; END'",
        "COMMENT ON FUNCTION qsessions.logout IS 'Ends a session'",
        "GRANT EXECUTE ON FUNCTION qsessions.metrics TO PUBLIC",
        "REVOKE EXECUTE ON FUNCTION qsessions.logout FROM PUBLIC",
        "ALTER TYPE qsessions.session_info ADD ATTRIBUTE tenant text",
        "ALTER TYPE qsessions.session_info ALTER ATTRIBUTE device TYPE varchar",
        "COMMENT ON COLUMN qsessions.cacheable_session.is_standby IS NULL",
        "COMMENT ON TYPE qsessions.new_login IS NULL",
        "ALTER TABLE qsessions.session ADD COLUMN tenant text",
        "ALTER TABLE qsessions.session ALTER COLUMN data DROP DEFAULT",
        "ALTER TABLE qsessions.session SET (fillfactor = 90)",
        "ALTER TABLE qsessions.session DROP CONSTRAINT session_user_id_fkey",
        "ALTER TABLE qsessions.session DISABLE TRIGGER session_announce_row",
        "CREATE INDEX ON qsessions.session (ip)",
        "DROP INDEX qsessions.session_created_at_id_idx",
        "GRANT SELECT (id) ON qsessions.session TO PUBLIC",
        "COMMENT ON COLUMN qsessions.session.former_digest IS NULL",
        "ALTER DOMAIN qsessions.user_key OWNER TO pg_monitor",
        "REVOKE USAGE ON SCHEMA qsessions FROM PUBLIC",
    ] {
        let batch = format!("BEGIN; {change}");
        client.batch_execute(&batch).await.unwrap();
        let other = description(&client, "app").await;
        assert_ne!(same, other, "{change}");
        client.batch_execute("ROLLBACK").await.unwrap();
    }
    assert_same(&same, &description(&client, "app").await);
}
