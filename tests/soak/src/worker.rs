//! A process of the run. It loads and changes sessions at random until the end of the run, and
//! records the results.

mod attempt;
mod counting;
mod crowd;
mod keyring;
mod keys;
mod login;
mod sessions;
mod sliding;
mod sql;

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use fastrand::Rng;
use qsessions::{CacheConfig, CachedStore, Store};
use serde::{Deserialize, Serialize};
use tokio_postgres::{Config, NoTls};

use crate::Result;
use crate::history::{Effect, Log, Nanos, Outcome, now};

use attempt::{Attempt, Call};
use keyring::{Keyring, Known};

pub use counting::Counts;
pub(crate) use counting::path as counts_path;

/// The number of shared users. Each process also has its own user, for sessions that end all at
/// once.
pub const USERS: i64 = 24;
/// A process's own user is this number plus the number of the process.
pub const CROWDS: i64 = 100;
/// The line that a worker prints when its cache answers.
pub const READY: &str = "ready";
/// The operation of a purge in the history.
pub const PURGE: &str = "purge";
/// The operation of a transaction that is prepared first.
pub const TWO_PHASES: &str = "transaction in two phases";

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const TASKS: u64 = 6;
const CONNECTIONS: usize = 5;

/// The parameters of a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// Its number, counted from zero.
    pub process: usize,
    /// The folder of histories and keys.
    pub folder: PathBuf,
    /// The seed for the choice of operations.
    pub seed: u64,
    /// The port of its pool's proxy.
    pub pool_port: u16,
    /// The port of its listener's proxy.
    pub listener_port: u16,
    /// Of its cache.
    pub max_staleness: Duration,
    /// Of its cache.
    pub capacity: u64,
    /// Whether the server can prepare transactions.
    pub can_prepare: bool,
}

pub(crate) struct Worker {
    process: usize,
    store: CachedStore,
    pool: Pool,
    keyring: Keyring,
    log: Log,
    tokens: AtomicU64,
    can_prepare: bool,
}

/// Runs a worker. It prints a line to standard output when it is ready, and reads the end of the
/// run from standard input.
///
/// # Errors
///
/// If it cannot begin, or cannot write its history.
pub async fn run(options: Options) -> Result<()> {
    let counting = counting::install()?;
    let worker = Arc::new(Worker::new(&options)?);
    tokio::time::timeout(PATIENCE, worker.ready()).await?;
    println!("{READY}");
    std::io::stdout().flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let until: Nanos = line.trim().parse()?;
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let rng = Rng::with_seed(options.seed ^ ((options.process as u64 + 1) << 8) ^ task);
            tokio::spawn(Arc::clone(&worker).work(rng, until))
        })
        .collect();
    let rng = Rng::with_seed(options.seed ^ (options.process as u64 + 1));
    let visitor = tokio::spawn(Arc::clone(&worker).keep_alive(rng, until));
    for task in tasks {
        task.await?;
    }
    visitor.await?;
    worker.log.finish()?;
    let file = std::fs::File::create(counts_path(&options.folder, options.process))?;
    serde_json::to_writer(file, &counting.counts())?;
    Ok(())
}

impl Worker {
    fn new(options: &Options) -> Result<Self> {
        let config = |port| {
            let mut config = Config::new();
            config
                .host("127.0.0.1")
                .port(port)
                .user("postgres")
                .dbname(crate::chaos::DATABASE);
            config
        };
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(config(options.pool_port), NoTls, recycling);
        let pool = Pool::builder(manager).max_size(CONNECTIONS).build()?;
        let cache = CacheConfig::new()
            .max_staleness(options.max_staleness)
            .capacity(options.capacity);
        let store = Store::builder(pool.clone())
            .cached(config(options.listener_port), NoTls)
            .config(cache)
            .build()?;
        Ok(Self {
            process: options.process,
            store,
            pool,
            keyring: Keyring::open(&options.folder)?,
            log: Log::create(&options.folder, options.process)?,
            tokens: AtomicU64::new(0),
            can_prepare: options.can_prepare,
        })
    }

    /// A slow probe does not end the wait.
    async fn ready(&self) {
        while self.store.ready().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn work(self: Arc<Self>, mut rng: Rng, until: Nanos) {
        while now() < until {
            self.operation(&mut rng).await;
            // Leaves the processor to other processes.
            tokio::time::sleep(Duration::from_micros(rng.u64(0..5_000))).await;
        }
    }

    async fn operation(&self, rng: &mut Rng) {
        let Some(known) = self.keyring.pick(rng) else {
            return self.create(rng).await;
        };
        match rng.u32(0..10_000) {
            0..8_200 => self.load_often(rng, &known).await,
            8_200..8_300 => self.purge(rng).await,
            8_300..8_940 => self.resume(rng, &known).await,
            8_940..9_000 => self.record_visits(rng, &known).await,
            9_000..9_130 => self.save(rng, &known).await,
            9_130..9_150 => self.save_user(rng, &known).await,
            9_150..9_220 => self.save_expecting(rng, &known).await,
            9_220..9_330 => self.patch(rng, &known).await,
            9_330..9_440 => self.rotate(rng, &known).await,
            9_440..9_490 => self.log_in(rng, &known).await,
            9_490..9_590 => self.create(rng).await,
            9_590..9_620 => self.create_with_key(rng).await,
            9_620..9_660 => self.log_out(rng, &known).await,
            9_660..9_690 => self.revoke(rng, &known).await,
            9_690..9_710 => self.revoke_user(rng, &known).await,
            9_710..9_720 => self.revoke_by_filter(rng, &known).await,
            9_720..9_790 => self.set_expiry(rng, &known).await,
            9_790..9_810 => self.delete_by_sql(rng, &known).await,
            9_810..9_830 => self.delete_user(rng).await,
            9_830..9_880 => self.update_by_sql(rng, &known).await,
            9_880..9_910 => self.shorten_by_sql(rng, &known).await,
            9_910..9_985 => self.transaction(rng, &known).await,
            9_985..9_998 => self.crowd(rng).await,
            _ if rng.u32(0..4) == 0 => self.truncate(rng).await,
            _ => {}
        }
    }

    /// A unique number for the data of a change, which JSON represents exactly.
    fn token(&self) -> u64 {
        let count = self.tokens.fetch_add(1, Ordering::Relaxed);
        ((self.process as u64) << 40) | count
    }

    fn call(&self, operation: &'static str) -> Call<'_> {
        Call::begin(self.process, &self.log, operation)
    }

    /// Waits until the cache knows of all commits, up to a limit.
    async fn catch_up(&self, rng: &mut Rng) -> Option<Nanos> {
        let caught_up = attempt::patiently(rng, self.store.catch_up()).await;
        caught_up.map(|()| now())
    }

    /// Loads the session that was just changed, because a cache is most likely to be wrong there.
    async fn look_again(&self, rng: &mut Rng, known: &[&Known]) {
        if rng.u32(0..3) > 0 {
            for known in known {
                self.load(rng, known).await;
            }
        }
    }

    /// Records a call of a method that updates the cache by itself.
    fn note<T>(&self, call: Call<'_>, attempt: &Attempt<T>, effects: Vec<Effect>) {
        match attempt {
            Attempt::Done(_) => {
                let end = now();
                call.changed(Outcome::Done, end, Some(end), effects);
            }
            Attempt::Refused(_) => call.refused(vec![]),
            Attempt::Unknown => call.changed(Outcome::Unknown, now(), None, effects),
        }
    }
}
