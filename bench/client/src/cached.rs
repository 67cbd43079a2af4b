//! A load that the cache answers, on one thread, beside what others need for the same.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use qsessions::{CacheConfig, CachedStore, Key, SessionData};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use time::OffsetDateTime;
use tower_sessions::session::{Id, Record};
use tower_sessions::{CachingSessionStore, SessionStore};
use tower_sessions_moka_store::MokaStore;
use tower_sessions_sqlx_store::PostgresStore;
use tower_sessions_sqlx_store::sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use uuid::Uuid;

use crate::report::{Ratio, median};
use crate::turns::Random;
use crate::{Result, environment};

const MOKA_WANTED: f64 = 0.4;
const TOWER_WANTED: f64 = 1.5;
const SESSIONS: usize = 10_000;
/// How many of them are loaded, in no order. One alone stays in the processor's own caches, so that
/// what is computed counts; of many, what is fetched from memory.
const LOADED: [usize; 3] = [1, 1_000, SESSIONS];
/// Twice the number of sessions, so that no cache drops any.
const CAPACITY: u64 = 2 * SESSIONS as u64;
/// Loads between two looks at the clock, after which others may use the thread, as after a request:
/// the store's listener, for one.
const BATCH: usize = 256;

type Tower = CachingSessionStore<MokaStore, PostgresStore>;

/// The same sessions in four caches, by the same number in each.
struct Caches {
    store: CachedStore,
    keys: Vec<Key>,
    moka: moka::sync::Cache<Uuid, Arc<SessionData>>,
    ids: Vec<Uuid>,
    tower: Tower,
    tower_ids: Vec<Id>,
    redis: Option<MultiplexedConnection>,
    redis_keys: Vec<String>,
    /// How many of them are loaded.
    end: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Store,
    Moka,
    Tower,
    Redis,
}

impl Side {
    const ALL: [Self; 4] = [Self::Store, Self::Moka, Self::Tower, Self::Redis];

    fn name(self) -> &'static str {
        match self {
            Self::Store => "store with cache",
            Self::Moka => "bare moka get",
            Self::Tower => "tower-sessions",
            Self::Redis => "redis GET",
        }
    }
}

pub(crate) async fn measure() -> Result<bool> {
    let mut caches = Caches::fill().await?;
    let (rounds, turn) = (environment::rounds()?, environment::turn()?);
    let mut good = true;
    for end in LOADED {
        caches.end = end;
        good &= report(end, &caches.take_turns(rounds, turn).await);
    }
    if !caches.store.health().serving {
        return Err("the cache has not answered".into());
    }
    Ok(good)
}

fn report(end: usize, speeds: &[[f64; 4]]) -> bool {
    println!(
        "one thread, {SESSIONS} sessions cached, {end} loaded\n\n{:<16} {:>9} {:>12}",
        "", "loads/s", "ns per load"
    );
    for side in Side::ALL {
        let speed = median(speeds.iter().map(|speed| speed[side as usize]));
        if speed > 0.0 {
            println!("{:<16} {speed:>9.0} {:>12.0}", side.name(), 1e9 / speed);
        }
    }
    println!("\n{:<31} {}", "store with cache against", Ratio::HEAD);
    let mut good = true;
    for (side, wanted) in [(Side::Moka, MOKA_WANTED), (Side::Tower, TOWER_WANTED)] {
        let ratio = Ratio::new(speeds.iter().map(|speed| speed[0] / speed[side as usize]));
        println!("{:<31} {}", side.name(), ratio.columns(wanted));
        good &= ratio.median >= wanted;
    }
    let tower = Ratio::new(speeds.iter().map(|speed| speed[2] / speed[1]));
    println!("tower-sessions is at {:.2} of moka\n", tower.median);
    good
}

impl Caches {
    async fn fill() -> Result<Self> {
        let pool = environment::pool(1)?;
        let keys = environment::keys(&pool, SESSIONS).await?;
        let config = CacheConfig::new().capacity(CAPACITY);
        let store = environment::cached_store(pool, config).await?;
        let moka = moka::sync::Cache::new(CAPACITY);
        let data = environment::data()?;
        let tower = tower().await?;
        let mut redis = redis().await?;
        let (mut ids, mut tower_ids, mut redis_keys) = (vec![], vec![], vec![]);
        for key in &keys {
            let session = store.load(key).await?.ok_or("a session has gone")?;
            // A copy, or the two would share a count of references.
            moka.insert(session.id, Arc::new(SessionData::clone(&session)));
            ids.push(session.id);
            tower_ids.push(put_into_tower(&tower, &data).await?);
            let name = session.id.to_string();
            if let Some(redis) = &mut redis {
                let () = redis.set(&name, data.to_string()).await?;
            }
            redis_keys.push(name);
        }
        Ok(Self {
            store,
            keys,
            moka,
            ids,
            tower,
            tower_ids,
            redis,
            redis_keys,
            end: SESSIONS,
        })
    }

    /// The speeds of all sides in each round, each side coming after each other one now and then.
    async fn take_turns(&mut self, rounds: usize, turn: Duration) -> Vec<[f64; 4]> {
        for side in Side::ALL {
            self.speed(side, turn).await;
        }
        let mut speeds = Vec::with_capacity(rounds);
        for round in 0..rounds {
            let mut speed = [0.0; 4];
            for number in 0..4 {
                let step = if round % 2 == 0 { 1 } else { 3 };
                let at = (number * step + round / 2) % 4;
                speed[at] = self.speed(Side::ALL[at], turn).await;
            }
            speeds.push(speed);
        }
        speeds
    }

    /// Loads per second of the thread's processor time, which other processes cannot take away.
    /// Redis works in another process and has the thread wait, so that only the clock on the wall
    /// tells.
    async fn speed(&mut self, side: Side, turn: Duration) -> f64 {
        if side == Side::Redis && self.redis.is_none() {
            return 0.0;
        }
        let (begin, worked) = (Instant::now(), processor_seconds());
        let mut random = Random::new(begin.elapsed().as_nanos() as u64);
        let mut done = 0;
        while begin.elapsed() < turn {
            match side {
                Side::Store => self.load_from_store(&mut random).await,
                Side::Moka => self.get_from_moka(&mut random),
                Side::Tower => self.load_from_tower(&mut random).await,
                Side::Redis => self.get_from_redis(&mut random).await,
            }
            done += BATCH;
            tokio::task::yield_now().await;
        }
        let taken = match side {
            Side::Redis => begin.elapsed().as_secs_f64(),
            _ => processor_seconds() - worked,
        };
        done as f64 / taken
    }

    async fn load_from_store(&self, random: &mut Random) {
        for _ in 0..BATCH {
            let session = self.store.load(&self.keys[random.below(self.end)]).await;
            assert!(black_box(session).is_ok_and(|session| session.is_some()));
        }
    }

    fn get_from_moka(&self, random: &mut Random) {
        for _ in 0..BATCH {
            let session = self.moka.get(&self.ids[random.below(self.end)]);
            assert!(black_box(session).is_some());
        }
    }

    async fn load_from_tower(&self, random: &mut Random) {
        for _ in 0..BATCH {
            let record = self
                .tower
                .load(&self.tower_ids[random.below(self.end)])
                .await;
            assert!(black_box(record).is_ok_and(|record| record.is_some()));
        }
    }

    async fn get_from_redis(&mut self, random: &mut Random) {
        let Some(redis) = &mut self.redis else { return };
        for _ in 0..BATCH {
            let name = &self.redis_keys[random.below(self.end)];
            let data: redis::RedisResult<Vec<u8>> = redis.get(name).await;
            assert!(black_box(data).is_ok_and(|data| !data.is_empty()));
        }
    }
}

/// How long this thread has had a processor.
fn processor_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

async fn tower() -> Result<Tower> {
    let options = PgConnectOptions::new()
        .socket(environment::text("BENCH_SOCKET_FOLDER")?)
        .username(&environment::text("BENCH_USER")?)
        .database(&environment::text("BENCH_DATABASE")?);
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await?;
    let store = PostgresStore::new(pool);
    store.migrate().await?;
    Ok(CachingSessionStore::new(
        MokaStore::new(Some(CAPACITY)),
        store,
    ))
}

async fn put_into_tower(tower: &Tower, data: &Value) -> Result<Id> {
    let mut record = Record {
        id: Id::default(),
        data: data
            .as_object()
            .ok_or("the data is no object")?
            .clone()
            .into_iter()
            .collect(),
        expiry_date: OffsetDateTime::now_utc() + Duration::from_secs(14 * 24 * 3600),
    };
    tower.create(&mut record).await?;
    Ok(record.id)
}

/// None where there is no redis-server.
async fn redis() -> Result<Option<MultiplexedConnection>> {
    let Ok(url) = environment::text("BENCH_REDIS") else {
        return Ok(None);
    };
    let client = redis::Client::open(url)?;
    Ok(Some(client.get_multiplexed_async_connection().await?))
}
