//! An update of a database as applications have it: with users, sessions, roles, a scheduled purge,
//! and objects of the user's own that depend on the extension.

use super::UPGRADE;
use super::catalogue::{assert_same, description};
use super::dump::copy;
use super::load::update_under_load;
use crate::common::roles::new_role;
use crate::common::{add_expired, begin, failure, is_missing, row, texts};
use crate::purge_schedule::{jobs, turn};
use qsessions_testkit::{Database, Users};
use tokio_postgres::Client;

/// The key of users: its type, and the key of user n; and how many sessions they have.
struct Keys {
    sql_type: &'static str,
    key: &'static str,
    sessions: i32,
}

/// These users work during the update. The sessions of the others must not change.
const AT_WORK: i32 = 6;

/// Fills a database by the functions of whatever version it has.
async fn fill(client: &Client, role: &str, keys: &Keys) {
    let (sql_type, key, sessions) = (keys.sql_type, keys.key, keys.sessions);
    let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                 Version/17.1 Mobile/15E148 Safari/604.1";
    client
        .batch_execute(&format!(
            "CREATE TABLE users (id {sql_type} PRIMARY KEY, name text);
             INSERT INTO users SELECT {key}, 'User ' || n FROM generate_series(1, 1000) AS n;
             SELECT qsessions.create_session_table('users');
             SELECT qsessions.grant_access('{role}');
             ALTER TABLE qsessions.session ADD COLUMN tenant text NOT NULL DEFAULT 'main';

             INSERT INTO qsessions.session (id, digest, user_id, data, ip, user_agent, expires_at)
             SELECT gen_random_uuid(), sha256(n::text::bytea),
                    CASE WHEN n % 3 > 0 THEN (SELECT {key} FROM (VALUES ({AT_WORK} + 1 + n % 900)) AS u (n)) END,
                    jsonb_build_object('cart', n), '192.0.2.1', (ARRAY['{phone}', 'curl/8.1', NULL])[n % 3 + 1],
                    now() + make_interval(hours => n % 400 - 200)
             FROM generate_series(1, {sessions}) AS n;
             SELECT key FROM qsessions.create_session({user}, '{{\"cart\": 1}}', user_agent => '{phone}', key => '12345678');

             CREATE INDEX session_device_idx ON qsessions.session (qsessions.device(user_agent));
             CREATE VIEW current AS SELECT l.user_id, l.data FROM qsessions.load_session('12345678') AS l;
             CREATE VIEW devices AS
                 SELECT s.id, (qsessions.parse_user_agent(s.user_agent)).os, u.name
                 FROM qsessions.session AS s JOIN users AS u ON u.id = s.user_id;
             CREATE MATERIALIZED VIEW agents AS
                 SELECT qsessions.device(user_agent) AS device, count(*) FROM qsessions.session GROUP BY 1;
             CREATE FUNCTION sessions_of(member {sql_type}) RETURNS bigint LANGUAGE plpgsql AS
                 'BEGIN RETURN (SELECT count(*) FROM qsessions.user_sessions(member)); END';
             CREATE FUNCTION log_in(member {sql_type}) RETURNS text LANGUAGE plpgsql AS
                 'DECLARE made qsessions.new_session; BEGIN made := qsessions.login(NULL, member); RETURN made.key; END';
             CREATE TABLE saves (session uuid);
             CREATE FUNCTION note_save() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
                 'BEGIN INSERT INTO public.saves VALUES (NEW.id); RETURN NULL; END';
             CREATE TRIGGER note_save AFTER UPDATE OF data ON qsessions.session
                 FOR EACH ROW WHEN (OLD.data IS DISTINCT FROM NEW.data) EXECUTE FUNCTION note_save();
             ALTER TABLE qsessions.session ENABLE ROW LEVEL SECURITY;
             CREATE POLICY of_tenant ON qsessions.session TO {role}
                 USING (tenant = 'main' AND coalesce(qsessions.device(user_agent), '') <> 'none');",
            user = keys.key.replace('n', &(AT_WORK + 1).to_string()),
        ))
        .await
        .unwrap();
}

/// What the users that are not at work have.
async fn kept(client: &Client, keys: &Keys) -> Vec<String> {
    let at_work = format!(
        "(SELECT {} FROM generate_series(1, {AT_WORK}) AS n)",
        keys.key
    );
    texts(
        client,
        &format!(
            "SELECT count(*) || md5(string_agg(concat_ws('|', id, digest, user_id, data, ip, user_agent, created_at,
                        authenticated_at, updated_at, last_seen_at, expires_at, idle_timeout, deadline, version,
                        expires_hour, tenant), ',' ORDER BY id))
             FROM qsessions.session
             WHERE expires_at > now() AND (user_id <> ALL ({at_work}) OR user_id IS NULL AND ip = '192.0.2.1')"
        ),
    )
    .await
}

async fn number(client: &Client, query: &str) -> i64 {
    row(client, query, &[]).await.get(0)
}

async fn a_live_database_is_updated(keys: Keys) {
    if is_missing("pg_cron") {
        return;
    }
    let database = Database::with(Users::Nothing).await;
    let admin = database.connect().await;
    let role = new_role(&database, &admin, "app").await;
    admin
        .batch_execute("DROP EXTENSION qsessions; CREATE EXTENSION qsessions VERSION '0.1.0'")
        .await
        .unwrap();
    fill(&admin, &role, &keys).await;
    let turn = turn().await;
    let job = "SELECT qsessions.schedule_purge('0 0 1 1 *', batch_size => 5000)";
    number(&admin, job).await;
    let scheduled = jobs(database.server(), database.name()).await;
    let before = kept(&admin, &keys).await;

    let users = texts(
        &admin,
        &format!(
            "SELECT ({})::text FROM generate_series(1, {AT_WORK}) AS n",
            keys.key
        ),
    )
    .await;
    let failures = update_under_load(&database, &role, &users).await;
    assert!(failures.is_empty(), "{failures:#?}");
    assert_eq!(kept(&admin, &keys).await, before);

    // The job is the same, and a call replaces it.
    assert_eq!(jobs(database.server(), database.name()).await, scheduled);
    number(&admin, job).await;
    assert_eq!(jobs(database.server(), database.name()).await.len(), 1);
    let unscheduled = "SELECT qsessions.unschedule_purge()";
    assert!(row(&admin, unscheduled, &[]).await.get::<_, bool>(0));
    drop(turn);

    assert_works(&admin, &keys, AT_WORK + 2).await;
    let rewrite = "SELECT qsessions.update_session_table(rewrite => true)";
    admin.batch_execute(rewrite).await.unwrap();
    let fresh = Database::with(Users::Nothing).await;
    let new = fresh.connect().await;
    fill(&new, &role, &keys).await;
    let upgraded = description(&admin, &role).await;
    assert_same(&upgraded, &description(&new, &role).await);

    let copy = copy(&database, "0.2.0").await;
    let restored = database.server().connect(&copy).await.unwrap();
    assert_same(&upgraded, &description(&restored, &role).await);
    assert_works(&restored, &keys, AT_WORK + 3).await;
}

/// Uses what depends on the extension, and the new version of it, and removes a user at the end.
async fn assert_works(client: &Client, keys: &Keys, member: i32) {
    let member = keys.key.replace('n', &member.to_string());
    for (query, expected) in [
        (
            "SELECT count(*) FROM current WHERE data = '{\"cart\": 1}'",
            1,
        ),
        (
            "SELECT count(*) FROM devices WHERE os IS NULL AND name IS NULL",
            0,
        ),
    ] {
        assert_eq!(number(client, query).await, expected, "{query}");
    }
    client
        .batch_execute("REFRESH MATERIALIZED VIEW agents")
        .await
        .unwrap();
    let sessions = format!("SELECT sessions_of({member})");
    let count = number(client, &sessions).await;
    let key: String = row(client, &format!("SELECT log_in({member})"), &[])
        .await
        .get(0);
    assert_eq!(number(client, &sessions).await, count + 1);
    let saves = number(client, "SELECT count(*) FROM saves").await;
    let save = "SELECT qsessions.save_session($1, '{\"a\": 1}')";
    row(client, save, &[&key]).await;
    assert_eq!(
        number(client, "SELECT count(*) FROM saves").await,
        saves + 1
    );
    super::uses_the_new_columns(client, &key).await;
    // The index on a function of the extension finds what a scan finds.
    let by_device = "SELECT count(*) FROM qsessions.session WHERE qsessions.device(user_agent) = qsessions.device('curl/8.1')";
    client
        .batch_execute("SET enable_seqscan = off")
        .await
        .unwrap();
    let by_index = number(client, by_device).await;
    client
        .batch_execute(
            "RESET enable_seqscan; SET enable_indexscan = off; SET enable_bitmapscan = off",
        )
        .await
        .unwrap();
    assert_eq!(number(client, by_device).await, by_index);
    client.batch_execute("RESET ALL").await.unwrap();
    add_expired(client, 3).await;
    let expired = "SELECT count(*) FROM qsessions.session WHERE expires_at <= now()";
    assert!(number(client, expired).await >= 3);
    client
        .batch_execute("CALL qsessions.purge(batch_size => 5000)")
        .await
        .unwrap();
    assert_eq!(number(client, expired).await, 0);
    client
        .batch_execute(&format!("DELETE FROM users WHERE id = {member}"))
        .await
        .unwrap();
    assert_eq!(number(client, &sessions).await, 0);
    assert_eq!(failure(client, save, &[&key]).await.code, "QS001");
}

#[tokio::test]
async fn a_live_database_whose_users_have_numbers_is_updated() {
    a_live_database_is_updated(Keys {
        sql_type: "bigint",
        key: "(n)",
        sessions: 20_000,
    })
    .await;
}

#[tokio::test]
async fn a_live_database_whose_users_have_uuids_is_updated() {
    let key = "('00000000-0000-4000-8000-' || lpad((n)::text, 12, '0'))::uuid";
    a_live_database_is_updated(Keys {
        sql_type: "uuid",
        key,
        sessions: 2_000,
    })
    .await;
}

#[tokio::test]
async fn a_live_database_whose_users_have_names_is_updated() {
    a_live_database_is_updated(Keys {
        sql_type: "text",
        key: "('A' || (n))",
        sessions: 2_000,
    })
    .await;
}

#[tokio::test]
async fn an_update_waits_for_a_transaction_that_uses_the_session_table() {
    let database = super::old().await;
    let admin = database.connect().await;
    let app = database.connect().await;
    let key = begin(&app, "user_id => 1").await.key;
    app.batch_execute("BEGIN").await.unwrap();
    row(&app, "SELECT qsessions.save_session($1, '{}')", &[&key]).await;
    admin
        .batch_execute("SET lock_timeout = '50ms'")
        .await
        .unwrap();
    assert_eq!(failure(&admin, UPGRADE, &[]).await.code, "55P03");
    // The update held no lock that this transaction could have waited for.
    row(&app, "SELECT qsessions.load_for_cache($1)", &[&key]).await;
    app.batch_execute("COMMIT").await.unwrap();
    admin.batch_execute("RESET lock_timeout").await.unwrap();
    admin.batch_execute(UPGRADE).await.unwrap();
}
