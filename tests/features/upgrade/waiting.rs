//! Calls that have begun before an update, and wait for it: each continues with what it has found.

use super::{UPGRADE, old};
use crate::common::roles::new_role;
use crate::common::waiting::{backend, blocked};
use crate::common::{Failure, begin, row};
use futures_util::future::{join, join_all};
use tokio_postgres::{Client, Statement};

/// A call of 0.1.0 on the session with the key `$1`, and the SQLSTATE that it ends with.
const CALLS: &[(&str, &str)] = &[
    (
        "SELECT key, id FROM qsessions.create_session(user_id => length($1))",
        "",
    ),
    (
        "SELECT key, id FROM qsessions.create_session(key => 'new ' || $1::text)",
        "",
    ),
    (
        "SELECT key FROM qsessions.create_session(key => $1)",
        "23505",
    ),
    ("SELECT id, data FROM qsessions.load_session($1)", ""),
    ("SELECT * FROM qsessions.load_session($1)", ""),
    ("SELECT id, data FROM current WHERE key = $1", ""),
    (
        "SELECT * FROM qsessions.resume_session($1, '192.0.2.9')",
        "",
    ),
    (
        "SELECT id, is_standby FROM qsessions.load_for_cache($1)",
        "",
    ),
    ("SELECT qsessions.session_exists($1)", ""),
    ("SELECT qsessions.save_session($1, '{\"a\": 1}')", ""),
    (
        "SELECT qsessions.save_session($1, '{}', ttl => '1 hour')",
        "",
    ),
    (
        "SELECT qsessions.save_session($1, '{}', expected_version => 99)",
        "QS002",
    ),
    (
        "SELECT qsessions.save_session('gone ' || $1::text, '{}')",
        "QS001",
    ),
    (
        "SELECT qsessions.save_session($1, to_jsonb(repeat('x', 2000000)))",
        "QS004",
    ),
    ("SELECT qsessions.save_session($1, NULL)", "22004"),
    (
        "SELECT qsessions.patch_session($1, '{\"b\": 2}', '{a}')",
        "",
    ),
    (
        "SELECT qsessions.set_expiry($1, idle_timeout => '1 hour', max_age => '1 day')",
        "",
    ),
    ("SELECT qsessions.rotate_key($1)", ""),
    ("SELECT qsessions.rotate_key('gone ' || $1::text)", "QS001"),
    (
        "SELECT key, id FROM qsessions.login($1, (SELECT user_id FROM qsessions.load_session($1)))",
        "",
    ),
    (
        "SELECT key, id FROM qsessions.login($1, 1, max_sessions => 50, ttl => '1 hour')",
        "",
    ),
    (
        "SELECT key, id FROM qsessions.login('gone ' || $1::text, 2::bigint)",
        "",
    ),
    ("SELECT log_in($1)", ""),
    ("SELECT qsessions.logout($1)", ""),
    (
        "SELECT qsessions.revoke_session(qsessions.session_id($1))",
        "",
    ),
    (
        "SELECT qsessions.revoke_session(qsessions.session_id($1), (SELECT user_id FROM qsessions.load_session($1)))",
        "",
    ),
    (
        "SELECT qsessions.revoke_user_sessions((SELECT user_id FROM qsessions.load_session($1)))",
        "",
    ),
    ("SELECT qsessions.revoke_user_sessions(3, $1)", ""),
    ("SELECT id, device FROM qsessions.user_sessions(4, $1)", ""),
    (
        "SELECT id, device FROM qsessions.user_sessions('4', $1)",
        "",
    ),
    (
        "SELECT id FROM qsessions.list_sessions(5, after => qsessions.session_id($1))",
        "",
    ),
    (
        "SELECT id FROM qsessions.get_session(qsessions.session_id($1))",
        "",
    ),
    ("SELECT total FROM qsessions.stats() WHERE $1 <> ''", ""),
    ("SELECT qsessions.purge_expired(length($1))", ""),
    ("CALL qsessions.purge(length($1))", ""),
];

/// A connection that makes one of the calls.
struct Caller {
    client: Client,
    call: &'static str,
    expected: &'static str,
    key: String,
    /// The statement, if it was prepared and executed before the update.
    prepared: Option<Statement>,
    backend: i32,
}

impl Caller {
    async fn call(&self, key: &str) -> String {
        let result = match &self.prepared {
            Some(statement) => self.client.query(statement, &[&key]).await,
            None => self.client.query(self.call, &[&key]).await,
        };
        result.err().map_or_else(String::new, |error| {
            let failure = Failure::of(&error);
            match failure.code == self.expected {
                true => failure.code,
                false => format!("{failure:?}"),
            }
        })
    }
}

#[tokio::test]
async fn calls_that_wait_for_an_update_end_as_they_would_have_without_it() {
    let database = old().await;
    let admin = database.connect().await;
    let role = new_role(&database, &admin, "app").await;
    admin
        .batch_execute(&format!(
            "INSERT INTO users SELECT generate_series(10, 1000);
             SELECT qsessions.grant_access('{role}');
             CREATE VIEW current AS SELECT l.*, k.key FROM (VALUES ('')) AS k (key), qsessions.load_session(k.key) AS l;
             CREATE FUNCTION log_in(key text) RETURNS text LANGUAGE plpgsql AS
                 'DECLARE made qsessions.new_session; BEGIN made := qsessions.login(key, 6); RETURN made.key; END';
             GRANT SELECT ON current TO {role}"
        ))
        .await
        .unwrap();
    let mut callers = Vec::new();
    for (number, (call, expected)) in CALLS.iter().enumerate() {
        for is_warm in [false, true] {
            let client = database.connect_as(&role).await;
            let user = 100 + 2 * number + usize::from(is_warm);
            let new = format!("user_id => {user}");
            let mut caller = Caller {
                backend: backend(&client).await,
                key: begin(&admin, &new).await.key,
                client,
                call,
                expected,
                prepared: None,
            };
            if is_warm {
                caller.prepared = Some(caller.client.prepare(call).await.unwrap());
                let key = begin(&admin, &format!("user_id => {}", 500 + user))
                    .await
                    .key;
                assert_eq!(caller.call(&key).await, *expected, "{call}");
            }
            callers.push(caller);
        }
    }

    let busy = database.connect().await;
    let key = begin(&busy, "").await.key;
    busy.batch_execute("BEGIN").await.unwrap();
    row(&busy, "SELECT qsessions.save_session($1, '{}')", &[&key]).await;
    let pid = backend(&admin).await;
    let observer = database.connect().await;
    let (updated, results) = {
        let calls = async {
            blocked(&observer, pid).await;
            let all_wait = async {
                for caller in &callers {
                    blocked(&observer, caller.backend).await;
                }
                busy.batch_execute("COMMIT").await.unwrap();
            };
            let calls = join_all(callers.iter().map(|caller| caller.call(&caller.key)));
            join(calls, all_wait).await.0
        };
        join(admin.batch_execute(UPGRADE), calls).await
    };
    updated.unwrap();
    let mut failures = Vec::new();
    for (caller, result) in callers.iter().zip(results) {
        if result != caller.expected {
            let how = if caller.prepared.is_some() {
                "prepared"
            } else {
                "parsed"
            };
            failures.push(format!("{} ({how}): {result}", caller.call));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
