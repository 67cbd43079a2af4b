//! An update while an application works with the old version.

use super::{UPGRADE, old};
use crate::common::roles::new_role;
use crate::common::{Arguments, Failure};
use futures_util::future::{join, join_all};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
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
    failures: Vec<(&'static str, Failure)>,
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
                self.failures.push((sql, Failure::of(&error)));
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
        let address = std::net::IpAddr::from([192, 0, 2, 7]);
        let key: String = self
            .value(
                "SELECT (made).key, (made).id, (made).expires_at FROM (SELECT \
                 qsessions.create_session(user_id => $1::text, data => $2::jsonb, ip => $3::inet, \
                 user_agent => $4::text, ttl => $5::text::interval, idle_timeout => $6::text::interval, \
                 max_age => $7::text::interval, key => $8::text) AS made) AS call",
                &[
                    &None::<String>,
                    &serde_json::json!({ "cart": [1] }),
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
            &[&key, &std::net::IpAddr::from([192, 0, 2, 8]), &None::<String>],
        )
        .await?;
        let version: i64 = self
            .value(
                "SELECT qsessions.save_session(key => $1::text, data => $2::jsonb, \
                 expected_version => $3::bigint, ttl => $4::text::interval)",
                &[
                    &key,
                    &serde_json::json!({ "cart": [1, 2] }),
                    &1_i64,
                    &None::<String>,
                ],
            )
            .await?;
        self.call(
            "SELECT qsessions.patch_session(key => $1::text, changes => $2::jsonb, remove => $3::text[])",
            &[&key, &serde_json::json!({ "theme": version }), &Vec::<String>::new()],
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
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_continue_during_an_update() {
    let rounds: usize = std::env::var("ROUNDS").map_or(1, |r| r.parse().unwrap());
    let mut all = BTreeMap::new();
    for _ in 0..rounds {
        for (sql, failure) in round().await {
            let key = (
                sql[..60.min(sql.len())].to_owned(),
                failure.code.clone(),
                failure.message.clone(),
            );
            *all.entry(key).or_insert(0) += 1;
        }
    }
    for (what, count) in &all {
        println!("{count} {what:?}");
    }
    assert!(all.is_empty());
}

async fn round() -> Vec<(&'static str, Failure)> {
    let database = old().await;
    let admin = database.connect().await;
    let role = new_role(&database, &admin, "app").await;
    admin
        .batch_execute(&format!("SELECT qsessions.grant_access('{role}')"))
        .await
        .unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let (done, _) = watch::channel(0_u64);
    let workers = (1..=8).map(|user: i32| {
        let (database, role, is_over, done) = (&database, &role, is_over.clone(), done.clone());
        async move {
            let mut worker = Worker {
                client: database.connect_as(role).await,
                sends: if user % 2 == 0 {
                    Sends::Prepared
                } else {
                    Sends::Parsed
                },
                prepared: HashMap::new(),
                failures: Vec::new(),
            };
            while !is_over.load(Ordering::Relaxed) {
                worker.visit(&user.to_string()).await;
                done.send_modify(|done| *done += 1);
            }
            worker.failures
        }
    });
    let update = async {
        let mut progress = done.subscribe();
        progress.wait_for(|done| *done >= 40).await.unwrap();
        let start = std::time::Instant::now();
        admin.batch_execute(UPGRADE).await.unwrap();
        println!("update took {:?}", start.elapsed());
        let before = *progress.borrow();
        progress
            .wait_for(|done| *done >= before + 80)
            .await
            .unwrap();
        is_over.store(true, Ordering::Relaxed);
    };
    let (failures, ()) = join(join_all(workers), update).await;
    failures.into_iter().flatten().collect()
}
