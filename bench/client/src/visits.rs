//! Resumes that the cache answers, with the visit of each session due in each turn, and with none.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use qsessions::deadpool_postgres::tokio_postgres::NoTls;
use qsessions::deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use qsessions::{CacheConfig, CachedStore, Key};

use crate::report::{Ratio, median, quantile, sorted};
use crate::turns::Random;
use crate::{Result, environment};

const WANTED: f64 = 0.9;
const TASKS: usize = 16;
const SESSIONS: [usize; 2] = [1_000, 10_000];
/// For the fixed rate. Less than the machine can do, so that the latency is not that of a queue.
const RATE: f64 = 40_000.0;
/// Longer than the time for which the store gathers visits.
const SHORTEST_TURN: Duration = Duration::from_secs(2);
const NEVER: &str = "1 day";

/// A store whose sessions are due, and one whose sessions are not.
struct Sides {
    due: CachedStore,
    quiet: CachedStore,
    keys: Arc<Vec<Key>>,
    turn: Duration,
}

/// What a side has done in a turn.
struct Done {
    per_second: f64,
    p99: f64,
    longest: f64,
}

pub(crate) async fn measure() -> Result<bool> {
    let turn = environment::turn()?.max(SHORTEST_TURN);
    let rounds = (environment::rounds()? / 4).max(3);
    let mut good = true;
    for sessions in SESSIONS {
        let keys = environment::keys(&environment::pool(1)?, sessions).await?;
        let sides = Sides {
            // Each is due once in a turn: the next visit within the turn comes too early.
            due: store(&format!("{} ms", turn.as_millis())).await?,
            quiet: store(NEVER).await?,
            keys: Arc::new(keys),
            turn,
        };
        for key in sides.keys.iter() {
            for store in [&sides.due, &sides.quiet] {
                store.load(key).await?.ok_or("a session has gone")?;
            }
        }
        for rate in [None, Some(RATE)] {
            good &= sides.compare(rounds, rate).await?;
        }
        if !sides.due.health().serving || !sides.quiet.health().serving {
            return Err("the cache has not answered".into());
        }
    }
    Ok(good)
}

async fn store(touch_interval: &str) -> Result<CachedStore> {
    let mut config = environment::postgres()?;
    config.options(format!(
        "-c qsessions.touch_interval={}",
        touch_interval.replace(' ', "\\ ")
    ));
    let trusting = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = Manager::from_config(config, NoTls, trusting);
    let pool = Pool::builder(manager).max_size(4).build()?;
    let config = CacheConfig::new().capacity(2 * SESSIONS[1] as u64);
    environment::cached_store(pool, config).await
}

impl Sides {
    async fn compare(&self, rounds: usize, rate: Option<f64>) -> Result<bool> {
        let mut turns = Vec::with_capacity(rounds);
        let mut written = 0;
        for round in 0..=rounds {
            let begin = server_time().await?;
            let pair = if round % 2 == 0 {
                let due = self.turn(&self.due, rate).await?;
                [due, self.turn(&self.quiet, rate).await?]
            } else {
                let quiet = self.turn(&self.quiet, rate).await?;
                [self.turn(&self.due, rate).await?, quiet]
            };
            // The first round fills the caches.
            if round > 0 {
                written += written_since(begin, &self.keys).await?;
                turns.push(pair);
            }
        }
        let pace = match rate {
            Some(rate) => format!("{rate:.0} resumes/s"),
            None => "as fast as they can".to_owned(),
        };
        let sessions = self.keys.len();
        println!(
            "{TASKS} tasks resume {sessions} cached sessions, {pace}; {:.0} % of the sessions written in each turn\n",
            100.0 * written as f64 / (rounds * sessions) as f64
        );
        println!(
            "{:<16} {:>10} {:>9} {:>11}",
            "", "resumes/s", "p99 us", "longest ms"
        );
        for (side, name) in ["visits due", "none due"].into_iter().enumerate() {
            let of = |value: fn(&Done) -> f64| median(turns.iter().map(|turn| value(&turn[side])));
            let (speed, p99) = (of(|done| done.per_second), of(|done| done.p99));
            let longest = of(|done| done.longest);
            println!(
                "{name:<16} {speed:>10.0} {:>9.1} {:>11.1}",
                p99 * 1e6,
                longest * 1e3
            );
        }
        let speed = Ratio::new(
            turns
                .iter()
                .map(|[due, quiet]| due.per_second / quiet.per_second),
        );
        let p99 = Ratio::new(turns.iter().map(|[due, quiet]| quiet.p99 / due.p99));
        println!("\n{:<31} {}", "due against none due", Ratio::HEAD);
        println!("{:<31} {}", "throughput", speed.columns(WANTED));
        println!(
            "{:<31} {}\n",
            "p99, none due against due",
            p99.columns(WANTED)
        );
        Ok(speed.median >= WANTED && p99.median >= WANTED)
    }

    /// What is still pending at the end is written before the other side has its turn.
    async fn turn(&self, store: &CachedStore, rate: Option<f64>) -> Result<Done> {
        let begin = Instant::now();
        let pause = rate.map(|rate| Duration::from_secs_f64(TASKS as f64 / rate));
        let tasks: Vec<_> = (0..TASKS)
            .map(|number| {
                let (store, keys, turn) = (store.clone(), Arc::clone(&self.keys), self.turn);
                tokio::spawn(resume(store, keys, turn, pause, number))
            })
            .collect();
        let mut times = vec![];
        for task in tasks {
            times.extend(task.await?);
        }
        let per_second = times.len() as f64 / begin.elapsed().as_secs_f64();
        store.flush_visits().await?;
        let times = sorted(times);
        Ok(Done {
            per_second,
            p99: quantile(&times, 0.99),
            longest: quantile(&times, 1.0),
        })
    }
}

/// The seconds that each resume has taken.
async fn resume(
    store: CachedStore,
    keys: Arc<Vec<Key>>,
    turn: Duration,
    pause: Option<Duration>,
    number: usize,
) -> Vec<f64> {
    let begin = Instant::now();
    let mut random = Random::new(number as u64 + 1);
    let mut times = vec![];
    let mut next = begin;
    while begin.elapsed() < turn {
        if let Some(pause) = pause {
            // Timers have the grain of a millisecond, so that several resumes follow each other.
            if next > Instant::now() {
                tokio::time::sleep_until(next.into()).await;
            }
            next += pause;
        }
        let called = Instant::now();
        let session = store.resume(&keys[random.below(keys.len())]).await;
        times.push(called.elapsed().as_secs_f64());
        assert!(black_box(session).is_ok_and(|session| session.is_some()));
    }
    times
}

/// The time of the server's clock.
async fn server_time() -> Result<SystemTime> {
    let client = environment::pool(1)?.get().await?;
    Ok(client.query_one("SELECT now()", &[]).await?.get(0))
}

/// How many of these sessions have a visit in the table that was later than this.
async fn written_since(begin: SystemTime, keys: &[Key]) -> Result<i64> {
    let ids: Vec<_> = keys.iter().filter_map(Key::id).collect();
    let client = environment::pool(1)?.get().await?;
    let sql = "SELECT count(*) FROM qsessions.session WHERE id = ANY($1) AND last_seen_at >= $2";
    Ok(client.query_one(sql, &[&ids, &begin]).await?.get(0))
}
