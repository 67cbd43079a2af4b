//! Loads that a cache cannot answer, against those of a store without a cache, through the same
//! pool.

use std::sync::Arc;

use qsessions::{CacheConfig, CachedStore, Key, Store};

use crate::report::{Ratio, median};
use crate::turns::Tasks;
use crate::{Result, environment};

const WANTED: f64 = 0.95;
const TASKS: [usize; 2] = [1, 16];
const SESSIONS: usize = 100_000;
/// So few of them that a load seldom finds its session.
const CAPACITY: u64 = 1_000;

struct Bench {
    cached: CachedStore,
    plain: Store,
    keys: Vec<Key>,
}

pub(crate) async fn measure() -> Result<bool> {
    let pool = environment::pool(TASKS[1])?;
    let config = CacheConfig::new().capacity(CAPACITY);
    let bench = Arc::new(Bench {
        keys: environment::keys(&pool, SESSIONS).await?,
        plain: Store::new(pool.clone()),
        cached: environment::cached_store(pool, config).await?,
    });
    println!(
        "load, {CAPACITY} of {SESSIONS} sessions cached\n\n{:>5} {:>12} {:>10} {}",
        "tasks",
        "with cache/s",
        "without/s",
        Ratio::HEAD
    );
    let rounds = environment::rounds()?;
    let mut good = true;
    for count in TASKS {
        let tasks = Tasks {
            count,
            end: bench.keys.len(),
            turn: environment::turn()?,
        };
        let speeds = bench.compare(tasks, rounds).await;
        let ratio = Ratio::new(speeds.iter().map(|[cached, plain]| cached / plain));
        println!(
            "{count:>5} {:>12.0} {:>10.0} {}",
            median(speeds.iter().map(|[cached, _]| *cached)),
            median(speeds.iter().map(|[_, plain]| *plain)),
            ratio.columns(WANTED)
        );
        good &= ratio.median >= WANTED;
    }
    if !bench.cached.health().serving {
        return Err("the cache has not answered".into());
    }
    Ok(good)
}

impl Bench {
    async fn compare(self: &Arc<Self>, tasks: Tasks, rounds: usize) -> Vec<[f64; 2]> {
        let (cached, plain) = (Arc::clone(self), Arc::clone(self));
        let from_cache = move |at: usize| {
            let bench = Arc::clone(&cached);
            async move {
                let session = bench.cached.load(&bench.keys[at]).await;
                assert!(session.expect("a load").is_some());
            }
        };
        let from_database = move |at: usize| {
            let bench = Arc::clone(&plain);
            async move {
                let session = bench.plain.load(&bench.keys[at]).await;
                assert!(session.expect("a load").is_some());
            }
        };
        tasks.compare(rounds, from_cache, from_database).await
    }
}
