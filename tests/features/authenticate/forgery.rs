//! A role that does not know a key cannot become anybody, whatever SQL it runs.

use super::{id, run, user};
use crate::common::roles::{grant, new_role};
use crate::common::{begin, row};
use qsessions_testkit::Database;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Attempts, each on a connection of its own. Statements may fail; `ID` is the id of a session of
/// user 2, and `ROLE` the role.
const ATTEMPTS: &[&[&str]] = &[
    // Settings.
    &[
        "SET qsessions.current_user_id = '2'",
        "SET qsessions.current_session_id = 'ID'",
        "SET qsessions.user_id = '2'",
        "SET qsessions.session_id = 'ID'",
        "SET app.user_id = '2'",
        "SET request.jwt.claims = '{\"sub\": \"2\", \"user_id\": \"2\"}'",
        "SET LOCAL app.user_id = '2'",
        "SELECT set_config('qsessions.current_user_id', '2', false)",
        "SELECT set_config('qsessions.current_user_id', '2', true)",
        "SET SESSION \"qsessions.current_user\" = '2'",
        "SET application_name = '2'",
        "RESET ALL",
        "DISCARD ALL",
        "LOAD 'qsessions'",
    ],
    &[
        "BEGIN",
        "SELECT set_config('qsessions.current_user_id', '2', true)",
        "SELECT set_config('role', 'ROLE', true)",
        "SET LOCAL qsessions.user_id = '2'",
        "COMMIT",
    ],
    // Objects of the same name.
    &[
        "CREATE SCHEMA forged",
        "CREATE FUNCTION forged.current_user_id() RETURNS text LANGUAGE sql RETURN '2'",
        "CREATE FUNCTION forged.resume_session(text, inet, text, jsonb) RETURNS SETOF qsessions.session_data
         LANGUAGE sql AS 'SELECT (qsessions.generate_key()::text, ''2'')::qsessions.session_data'",
        "CREATE OR REPLACE FUNCTION qsessions.current_user_id() RETURNS text LANGUAGE sql RETURN '2'",
        "CREATE FUNCTION qsessions.current_user_id(int DEFAULT 1) RETURNS text LANGUAGE sql RETURN '2'",
        "CREATE FUNCTION qsessions._key_opens(text, uuid, bytea, bytea, timestamptz, timestamptz)
         RETURNS boolean LANGUAGE sql RETURN true",
        "ALTER FUNCTION qsessions.current_user_id() RENAME TO gone",
        "ALTER FUNCTION qsessions.current_user_id() SET search_path = forged",
        "SET search_path = forged, qsessions, pg_catalog",
        "SELECT FROM qsessions.authenticate('a key without a session')",
        "SELECT FROM qsessions.authenticate(NULL)",
        "DROP EXTENSION qsessions CASCADE",
    ],
    &[
        "CREATE TEMP TABLE session AS SELECT 'ID'::uuid AS id, '2'::text AS user_id, ''::bytea AS digest,
         'infinity'::timestamptz AS expires_at",
        "CREATE FUNCTION pg_temp.current_user_id() RETURNS text LANGUAGE sql RETURN '2'",
        "CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE sql RETURN ''",
        "CREATE FUNCTION pg_temp.equal(bytea, bytea) RETURNS boolean LANGUAGE sql RETURN true",
        "CREATE OPERATOR pg_temp.= (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = pg_temp.equal)",
        "CREATE OPERATOR public.= (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = pg_temp.equal)",
        "CREATE DOMAIN pg_temp.user_key AS text",
        "SET search_path = pg_temp, public, qsessions, pg_catalog",
        "SELECT FROM qsessions.authenticate('a key without a session')",
        "SELECT FROM qsessions.authenticate('ID')",
    ],
    // Statements that are kept, and the ends of transactions.
    &[
        "PREPARE who AS SELECT qsessions.current_user_id()",
        "EXECUTE who",
        "PREPARE enter (text) AS SELECT FROM qsessions.authenticate($1)",
        "EXECUTE enter ('ID')",
        "BEGIN",
        "SAVEPOINT a",
        "EXECUTE enter (NULL)",
        "RELEASE a",
        "SAVEPOINT b",
        "SELECT 1 / 0",
        "ROLLBACK TO b",
        "DECLARE held CURSOR WITH HOLD FOR SELECT FROM qsessions.authenticate('ID')",
        "COMMIT",
        "FETCH held",
        "DEALLOCATE ALL",
        "DISCARD PLANS",
        "DISCARD TEMP",
    ],
    &[
        "DO $$ BEGIN PERFORM set_config('qsessions.user_id', '2', false); COMMIT; END $$",
        "DO $$ BEGIN PERFORM FROM qsessions.authenticate('ID'); COMMIT; END $$",
        "DO $$ BEGIN PERFORM 1 / 0; EXCEPTION WHEN OTHERS THEN PERFORM FROM qsessions.authenticate('ID'); END $$",
        "CREATE PROCEDURE public.forge() LANGUAGE plpgsql AS 'BEGIN COMMIT; ROLLBACK; COMMIT AND CHAIN; END'",
        "CALL public.forge()",
        "BEGIN",
        "PREPARE TRANSACTION 'forged'",
        "COMMIT PREPARED 'forged'",
    ],
    // Roles.
    &[
        "SET ROLE postgres",
        "SET ROLE \"2\"",
        "SET SESSION AUTHORIZATION postgres",
        "SET SESSION AUTHORIZATION DEFAULT",
        "RESET ROLE",
        "ALTER ROLE ROLE SET qsessions.user_id = '2'",
        "CREATE ROLE \"2\"",
    ],
    // The functions that authenticate and the trigger are made of.
    &[
        "CREATE FUNCTION public.forged(text) RETURNS SETOF qsessions.session_data LANGUAGE c
         AS '$libdir/qsessions', 'authenticate_wrapper'",
        "CREATE FUNCTION public.forged() RETURNS text LANGUAGE internal AS 'current_user_id_wrapper'",
        "CREATE TABLE public.mine (id uuid, user_id text, digest bytea)",
        "CREATE TRIGGER forged AFTER INSERT OR UPDATE OR DELETE ON public.mine
         FOR EACH ROW EXECUTE FUNCTION qsessions._announce()",
        "INSERT INTO public.mine VALUES ('ID', '2', '')",
        "UPDATE public.mine SET user_id = '3'",
        "DELETE FROM public.mine",
        "SELECT qsessions.invalidate('ID')",
        "SELECT FROM qsessions.get_session('ID')",
    ],
    // Policies and views of its own.
    &[
        "CREATE TABLE public.own (owner text)",
        "ALTER TABLE public.own ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY forged ON public.own USING (set_config('qsessions.user_id', '2', false) IS NOT NULL)",
        "CREATE POLICY loose ON public.note USING (true)",
        "ALTER TABLE public.note DISABLE ROW LEVEL SECURITY",
        "SET row_security = off",
        "CREATE VIEW public.peek AS SELECT * FROM public.note",
        "SELECT * FROM public.peek",
    ],
];

#[tokio::test]
async fn a_role_without_a_key_stays_nobody() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let victim = begin(&admin, "user_id => 2").await;
    run(
        &admin,
        &format!(
            "CREATE TABLE note (owner bigint); INSERT INTO note VALUES (2);
             ALTER TABLE note ENABLE ROW LEVEL SECURITY;
             CREATE POLICY own ON note USING (owner = qsessions.current_user_id()::bigint);
             GRANT SELECT, INSERT, UPDATE, DELETE ON note TO PUBLIC;
             GRANT CREATE ON SCHEMA public TO PUBLIC;
             GRANT CREATE, TEMPORARY ON DATABASE {} TO PUBLIC",
            database.name()
        ),
    )
    .await;
    for (name, has_access) in [("stranger", false), ("trusted", true)] {
        let role = new_role(&database, &admin, name).await;
        if has_access {
            grant(&admin, &role).await;
        }
        for attempt in ATTEMPTS {
            let client = database.connect_as(&role).await;
            for statement in *attempt {
                let statement = statement
                    .replace("ROLE ROLE", &format!("ROLE {role}"))
                    .replace("'ROLE'", &format!("'{role}'"))
                    .replace("ID", &victim.id.to_string());
                // Whether it is refused does not matter.
                let _ = client.batch_execute(&statement).await;
                is_nobody(&client, &statement).await;
            }
            let _ = client.batch_execute("ROLLBACK").await;
            is_nobody(&client, "the end").await;
            run(
                &admin,
                &format!("DROP OWNED BY {role}; {}", granted_again(&role, has_access)),
            )
            .await;
        }
    }
    // It was there all the time.
    run(&admin, "BEGIN").await;
    assert_eq!(super::authenticate(&admin, &victim.key).await, 1);
    assert_eq!(user(&admin).await.as_deref(), Some("2"));
}

/// DROP OWNED also revokes.
fn granted_again(role: &str, has_access: bool) -> String {
    match has_access {
        true => format!("SELECT qsessions.grant_access('{role}')"),
        false => String::new(),
    }
}

async fn is_nobody(client: &Client, after: &str) {
    let asked =
        "SELECT qsessions.current_user_id() IS NULL AND qsessions.current_session_id() IS NULL,
                        (SELECT count(*) FROM public.note)";
    match client.query_one(asked, &[]).await {
        Ok(row) => {
            assert!(row.get::<_, bool>(0), "a user is current after {after}");
            assert_eq!(row.get::<_, i64>(1), 0, "rows after {after}");
        }
        Err(error) => {
            let code = error.code();
            let expected = [
                &SqlState::IN_FAILED_SQL_TRANSACTION,
                // SET row_security = off: the policy may not be left out.
                &SqlState::INSUFFICIENT_PRIVILEGE,
            ];
            assert!(
                code.is_some_and(|code| expected.contains(&code)),
                "{after}: {error:?}"
            );
        }
    }
}

#[tokio::test]
async fn within_a_transaction_of_one_user_nobody_becomes_another() {
    let database = Database::new().await;
    let admin = database.connect().await;
    let own = begin(&admin, "user_id => 1").await;
    let victim = begin(&admin, "user_id => 2").await;
    let role = new_role(&database, &admin, "injected").await;
    run(
        &admin,
        "CREATE FUNCTION enter(key text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
         SET search_path = pg_catalog, pg_temp
         AS 'BEGIN PERFORM FROM qsessions.authenticate(key); RETURN FOUND; END'",
    )
    .await;
    let client = database.connect_as(&role).await;
    for attempt in ATTEMPTS {
        run(&client, "BEGIN").await;
        row(&client, "SELECT public.enter($1)", &[&own.key]).await;
        for statement in *attempt {
            let statement = statement
                .replace("ROLE ROLE", &format!("ROLE {role}"))
                .replace("'ROLE'", &format!("'{role}'"))
                .replace("ID", &victim.id.to_string());
            let _ = client
                .batch_execute(&format!("SAVEPOINT attempt; {statement}"))
                .await;
            let _ = client.batch_execute("ROLLBACK TO attempt").await;
            let who = client
                .query_one("SELECT qsessions.current_user_id()", &[])
                .await;
            if let Ok(who) = who {
                let who: Option<String> = who.get(0);
                assert_ne!(who.as_deref(), Some("2"), "{statement}");
            }
        }
        let _ = client.batch_execute("ROLLBACK").await;
        assert_eq!(id(&client).await, None);
    }
}
