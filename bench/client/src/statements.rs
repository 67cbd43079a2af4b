//! Calls of a store without a cache against the bare prepared statements that they stand for,
//! through the same pool.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use qsessions::deadpool_postgres::tokio_postgres::Row;
use qsessions::deadpool_postgres::tokio_postgres::types::ToSql;
use qsessions::deadpool_postgres::{Client, Pool};
use qsessions::{Key, Store};
use serde_json::Value;
use uuid::Uuid;

use crate::report::{Ratio, median};
use crate::turns::Tasks;
use crate::{Result, environment};

const LOAD_WANTED: f64 = 0.9;
const SAVE_WANTED: f64 = 0.8;
const CREATE_WANTED: f64 = 0.7;
const TASKS: [usize; 2] = [1, 16];
const SESSIONS: usize = 100_000;
const DIGEST: [u8; 32] = [0x2a; 32];

const SELECT: &str = "SELECT id, user_id, data, ip, user_agent, created_at, authenticated_at, \
     updated_at, last_seen_at, expires_at, version FROM qsessions.session WHERE id = $1";
const UPDATE: &str = "UPDATE qsessions.session \
     SET data = $2, version = version + 1, updated_at = now() WHERE id = $1 RETURNING version";
const INSERT: &str = "INSERT INTO qsessions.session \
     (id, digest, user_id, data, ip, user_agent, authenticated_at, expires_at) \
     VALUES ($1, $2, $3, $4, $5, $6, now(), now() + interval '14 days') RETURNING expires_at";

/// What both sides work with.
struct Bench {
    pool: Pool,
    store: Store,
    keys: Vec<Key>,
    ids: Vec<Uuid>,
    data: Value,
    ip: IpAddr,
    user_agent: String,
    users: usize,
    /// Whether there is a ratio that is wanted.
    judged: bool,
}

pub(crate) async fn measure() -> Result<bool> {
    let bench = Arc::new(Bench::new().await?);
    let rounds = environment::rounds()?;
    println!(
        "{:<15} {:>5} {:>10} {:>8} {}",
        "store without",
        "tasks",
        "calls/s",
        "bare/s",
        Ratio::HEAD
    );
    let mut good = true;
    for count in TASKS {
        let tasks = Tasks {
            count,
            end: bench.keys.len(),
            turn: environment::turn()?,
        };
        good &= bench.load(tasks, rounds).await;
        good &= bench.save(tasks, rounds).await;
        good &= bench.create(tasks, rounds).await;
    }
    Ok(good)
}

impl Bench {
    async fn new() -> Result<Self> {
        let pool = environment::pool(TASKS[1])?;
        let store = Store::new(pool.clone());
        let keys = environment::keys(&pool, SESSIONS).await?;
        let mut ids = Vec::with_capacity(keys.len());
        for key in &keys {
            ids.push(key.id().ok_or("a key without an id")?);
        }
        Ok(Self {
            store,
            pool,
            keys,
            ids,
            data: environment::data()?,
            ip: environment::text("BENCH_IP")?.parse()?,
            user_agent: environment::text("BENCH_USER_AGENT")?,
            users: environment::number("BENCH_USERS")?,
            judged: environment::number("BENCH_JUDGED")?,
        })
    }

    async fn bare(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Row {
        let client: Client = self.pool.get().await.expect("a connection");
        let statement = client.prepare_cached(sql).await.expect("a statement");
        client.query_one(&statement, values).await.expect("a row")
    }

    async fn load(self: &Arc<Self>, tasks: Tasks, rounds: usize) -> bool {
        let (ours, theirs) = (Arc::clone(self), Arc::clone(self));
        let load = move |at: usize| {
            let bench = Arc::clone(&ours);
            async move {
                let session = bench.store.load(&bench.keys[at]).await;
                assert!(session.expect("a load").is_some());
            }
        };
        let select = move |at: usize| {
            let bench = Arc::clone(&theirs);
            async move { read(&bench.bare(SELECT, &[&bench.ids[at]]).await) }
        };
        let speeds = tasks.compare(rounds, load, select).await;
        self.report("load", tasks, &speeds, LOAD_WANTED)
    }

    async fn save(self: &Arc<Self>, tasks: Tasks, rounds: usize) -> bool {
        let (ours, theirs) = (Arc::clone(self), Arc::clone(self));
        let save = move |at: usize| {
            let bench = Arc::clone(&ours);
            async move {
                let saved = bench.store.save(&bench.keys[at], &bench.data).await;
                saved.expect("a save");
            }
        };
        let update = move |at: usize| {
            let bench = Arc::clone(&theirs);
            async move {
                let row = bench.bare(UPDATE, &[&bench.ids[at], &bench.data]).await;
                row.get::<_, i64>(0);
            }
        };
        let speeds = tasks.compare(rounds, save, update).await;
        self.report("save", tasks, &speeds, SAVE_WANTED)
    }

    async fn create(self: &Arc<Self>, tasks: Tasks, rounds: usize) -> bool {
        let (ours, theirs) = (Arc::clone(self), Arc::clone(self));
        let create = move |at: usize| {
            let bench = Arc::clone(&ours);
            async move {
                let session = bench.store.create();
                let session = session.user(bench.user(at)).data(&bench.data).ip(bench.ip);
                let created = session.user_agent(bench.user_agent.as_str()).await;
                created.expect("a session");
            }
        };
        let insert = move |at: usize| {
            let bench = Arc::clone(&theirs);
            async move {
                let (id, user) = (Uuid::now_v7(), bench.user(at));
                let values: [&(dyn ToSql + Sync); 6] = [
                    &id,
                    &&DIGEST[..],
                    &user,
                    &bench.data,
                    &bench.ip,
                    &bench.user_agent,
                ];
                bench.bare(INSERT, &values).await.get::<_, SystemTime>(0);
            }
        };
        let speeds = tasks.compare(rounds, create, insert).await;
        self.report("create", tasks, &speeds, CREATE_WANTED)
    }

    fn user(&self, at: usize) -> i64 {
        (at % self.users) as i64 + 1
    }

    fn report(&self, what: &str, tasks: Tasks, speeds: &[[f64; 2]], wanted: f64) -> bool {
        let ratio = Ratio::new(speeds.iter().map(|[ours, bare]| ours / bare));
        let columns = if self.judged {
            ratio.columns(wanted)
        } else {
            ratio.numbers()
        };
        println!(
            "{what:<15} {:>5} {:>10.0} {:>8.0} {columns}",
            tasks.count,
            median(speeds.iter().map(|[ours, _]| *ours)),
            median(speeds.iter().map(|[_, bare]| *bare)),
        );
        !self.judged || ratio.median >= wanted
    }
}

/// Reads the columns that a session has.
fn read(row: &Row) {
    row.get::<_, Uuid>(0);
    row.get::<_, Option<i64>>(1);
    row.get::<_, Value>(2);
    row.get::<_, Option<IpAddr>>(3);
    row.get::<_, Option<String>>(4);
    row.get::<_, SystemTime>(5);
    row.get::<_, Option<SystemTime>>(6);
    row.get::<_, SystemTime>(7);
    row.get::<_, SystemTime>(8);
    row.get::<_, SystemTime>(9);
    row.get::<_, i64>(10);
}
