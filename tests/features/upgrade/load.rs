//! An update while an application works with the old version.

use super::{UPGRADE, old};
use crate::common::{Arguments, Failure, failure};
use futures_util::future::{join, join_all};
use qsessions_testkit::Database;
use serde_json::json;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;
use tokio_postgres::{Client, Row, Statement};
use uuid::Uuid;

/// How a connection sends its calls.
#[derive(Clone, Copy, PartialEq)]
enum Sends {
    /// It prepares each statement once, as pools of connections do.
    Prepared,
    /// Each call is parsed anew.
    Parsed,
}

/// A connection of the application. It sends the statements that the client of 0.1.0 sends.
struct Worker {
    client: Client,
    sends: Sends,
    prepared: HashMap<&'static str, Statement>,
    failures: Vec<String>,
}

impl Worker {
    async fn call(&mut self, sql: &'static str, arguments: Arguments<'_>) -> Option<Vec<Row>> {
        let result = match (self.sends, self.prepared.get(sql)) {
            (Sends::Parsed, _) => self.client.query(sql, arguments).await,
            (Sends::Prepared, Some(statement)) => self.client.query(statement, arguments).await,
            (Sends::Prepared, None) => match self.client.prepare(sql).await {
                Ok(statement) => {
                    self.prepared.insert(sql, statement.clone());
                    self.client.query(&statement, arguments).await
                }
                Err(error) => Err(error),
            },
        };
        match result {
            Ok(rows) => Some(rows),
            Err(error) => {
                self.failures
                    .push(format!("{sql}: {:?}", Failure::of(&error)));
                None
            }
        }
    }

    async fn value<T>(&mut self, sql: &'static str, arguments: Arguments<'_>) -> Option<T>
    where
        T: for<'a> tokio_postgres::types::FromSql<'a>,
    {
        let rows = self.call(sql, arguments).await?;
        rows.first()?.try_get(0).ok()
    }

    /// What happens to one visitor: from the first visit over a login to the logout.
    async fn visit(&mut self, user: &str) -> Option<()> {
        let address = IpAddr::from([192, 0, 2, 7]);
        let key: String = self
            .value(
                "SELECT (made).key, (made).id, (made).expires_at FROM (SELECT \
                 qsessions.create_session(user_id => $1::text, data => $2::jsonb, ip => $3::inet, \
                 user_agent => $4::text, ttl => $5::text::interval, idle_timeout => $6::text::interval, \
                 max_age => $7::text::interval, key => $8::text) AS made) AS call",
                &[
                    &None::<String>,
                    &json!({ "cart": [1] }),
                    &address,
                    &"Mozilla/5.0",
                    &None::<String>,
                    &Some("1 hour"),
                    &None::<String>,
                    &None::<String>,
                ],
            )
            .await?;
        self.call(
            "SELECT id, user_id, data FROM qsessions.load_session(key => $1::text)",
            &[&key],
        )
        .await?;
        self.call(
            "SELECT id, version FROM qsessions.resume_session(key => $1::text, ip => $2::inet, user_agent => $3::text)",
            &[&key, &IpAddr::from([192, 0, 2, 8]), &None::<String>],
        )
        .await?;
        let version: i64 = self
            .value(
                "SELECT qsessions.save_session(key => $1::text, data => $2::jsonb, \
                 expected_version => $3::bigint, ttl => $4::text::interval)",
                &[&key, &json!({ "cart": [1, 2] }), &1_i64, &None::<String>],
            )
            .await?;
        self.call(
            "SELECT qsessions.patch_session(key => $1::text, changes => $2::jsonb, remove => $3::text[])",
            &[&key, &json!({ "theme": version }), &Vec::<String>::new()],
        )
        .await?;
        let rows = self
            .call(
                "SELECT key, id, expires_at FROM qsessions.login(key => $1::text, user_id => $2::text, \
                 ip => $3::inet, user_agent => $4::text, data => $5::jsonb, \
                 max_sessions => $6::integer, ttl => $7::text::interval, idle_timeout => $8::text::interval, \
                 max_age => $9::text::interval)",
                &[
                    &key,
                    &user,
                    &address,
                    &"Mozilla/5.0",
                    &None::<serde_json::Value>,
                    &Some(5),
                    &None::<String>,
                    &None::<String>,
                    &None::<String>,
                ],
            )
            .await?;
        let (key, id): (String, Uuid) = (rows[0].get(0), rows[0].get(1));
        self.call(
            "SELECT id, visit_due_at, is_standby FROM qsessions.load_for_cache(key => $1::text)",
            &[&key],
        )
        .await?;
        let key: String = self
            .value("SELECT qsessions.rotate_key(key => $1::text)", &[&key])
            .await?;
        self.call(
            "SELECT qsessions.set_expiry(key => $1::text, ttl => $2::text::interval, \
             idle_timeout => $3::text::interval, max_age => $4::text::interval)",
            &[&key, &Some("1 day"), &None::<String>, &None::<String>],
        )
        .await?;
        let rows = self
            .call(
                "SELECT id, location, device FROM qsessions.user_sessions(user_id => $1::text, current_key => $2::text)",
                &[&user, &key],
            )
            .await?;
        assert!(rows.iter().any(|row| row.get::<_, Uuid>(0) == id));
        self.call(
            "SELECT id FROM qsessions.list_sessions(user_id => $1::text, active => $2::boolean, \
             ip => $3::text::inet, after => $4::uuid, max_rows => $5::integer)",
            &[&user, &Some(true), &None::<String>, &None::<Uuid>, &10],
        )
        .await?;
        self.call("SELECT qsessions.purge_expired()", &[]).await?;
        let exists: bool = self
            .value("SELECT qsessions.session_exists(key => $1::text)", &[&key])
            .await?;
        assert!(exists);
        let ended: bool = if version % 2 == 0 {
            self.value("SELECT qsessions.logout(key => $1::text)", &[&key])
                .await?
        } else {
            self.value(
                "SELECT qsessions.revoke_session(id => $1::uuid, user_id => $2::text)",
                &[&id, &user],
            )
            .await?
        };
        assert!(ended);
        self.call(
            "SELECT qsessions.revoke_user_sessions(user_id => $1::text, except_key => $2::text)",
            &[&user, &None::<String>],
        )
        .await?;
        Some(())
    }

    async fn visit_in_a_transaction(&mut self, user: &str) {
        self.client.batch_execute("BEGIN").await.unwrap();
        self.visit(user).await;
        self.client.batch_execute("COMMIT").await.unwrap();
    }
}

/// Runs the update while these users log in and out, and returns the calls that have failed.
pub(super) async fn update_under_load(
    database: &Database,
    role: &str,
    users: &[String],
) -> Vec<String> {
    let is_over = AtomicBool::new(false);
    let (visits, mut seen) = watch::channel(0_usize);
    let workers = users.iter().enumerate().map(|(number, user)| {
        let (is_over, visits) = (&is_over, &visits);
        async move {
            let mut worker = Worker {
                client: database.connect_as(role).await,
                sends: if number % 2 == 0 {
                    Sends::Prepared
                } else {
                    Sends::Parsed
                },
                prepared: HashMap::new(),
                failures: Vec::new(),
            };
            while !is_over.load(Ordering::Relaxed) {
                worker.visit(user).await;
                worker.visit_in_a_transaction(user).await;
                visits.send_modify(|visits| *visits += 1);
            }
            worker.failures
        }
    });
    let update = async {
        let admin = database.connect().await;
        let some = 3 * users.len();
        seen.wait_for(|visits| *visits >= some).await.unwrap();
        admin.batch_execute(UPGRADE).await.unwrap();
        let more = *seen.borrow() + some;
        seen.wait_for(|visits| *visits >= more).await.unwrap();
        is_over.store(true, Ordering::Relaxed);
    };
    let (failures, ()) = join(join_all(workers), update).await;
    failures.concat()
}

/// Which statements of an application of 0.1.0 fail after the update: docs/upgrading.md lists them.
#[tokio::test]
async fn statements_with_all_columns_of_a_changed_row_must_be_prepared_again() {
    let database = old().await;
    let admin = database.connect().await;
    let app = database.connect().await;
    let mut statements = Vec::new();
    for (all, named) in [
        (
            "SELECT * FROM qsessions.login(NULL, '1')",
            "SELECT key, id, expires_at FROM qsessions.login(NULL, '1')",
        ),
        (
            "SELECT qsessions.login(NULL, '1')",
            "SELECT (qsessions.login(NULL, '1')).key",
        ),
        (
            "SELECT * FROM qsessions.load_for_cache('12345678')",
            "SELECT id, is_standby FROM qsessions.load_for_cache('12345678')",
        ),
    ] {
        let prepared = (
            app.prepare(all).await.unwrap(),
            app.prepare(named).await.unwrap(),
        );
        app.query(&prepared.0, &[]).await.unwrap();
        app.query(&prepared.1, &[]).await.unwrap();
        statements.push((all, prepared));
    }
    admin.batch_execute(UPGRADE).await.unwrap();
    for (all, prepared) in &statements {
        let error = Failure::of(&app.query(&prepared.0, &[]).await.unwrap_err());
        assert_eq!(error.code, "0A000", "{all}: {error:?}");
        app.query(&prepared.1, &[]).await.unwrap();
        app.query(*all, &[]).await.unwrap();
    }
    let own = "CREATE FUNCTION log_in() RETURNS qsessions.new_session LANGUAGE sql AS $$ SELECT * FROM qsessions.login(NULL, '1') $$";
    assert_eq!(failure(&admin, own, &[]).await.code, "42P13");
}
