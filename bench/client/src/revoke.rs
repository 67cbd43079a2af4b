//! How soon another process no longer has a session that was revoked.

use std::io::{BufRead, Write};
use std::process::Stdio;
use std::time::Duration;

use qsessions::{CacheConfig, CachedStore, Key, Store};
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::report::{quantile, sorted};
use crate::{Result, environment};

const P99_WANTED_MILLIS: f64 = 50.0;
/// How often the other process looks. It would take a processor from the writers if it never
/// rested.
const LOOK_EVERY: Duration = Duration::from_micros(100);
/// Between two revocations, so that they do not keep step with other work.
const PAUSE: Duration = Duration::from_millis(7);
const LOADED: &str = "loaded";

/// The other process, which is asked to load a session until it is gone.
struct Watcher {
    _process: Child,
    keys: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

pub(crate) async fn measure() -> Result<bool> {
    let count: usize = environment::number("BENCH_REVOKES")?;
    let store = Store::new(environment::pool(1)?);
    let data = environment::data()?;
    let mut watcher = Watcher::start()?;
    let (mut from_call, mut from_return) = (vec![], vec![]);
    for _ in 0..count {
        let session = store.create().data(&data).await?;
        watcher.has_loaded(&session.key).await?;
        tokio::time::sleep(PAUSE).await;
        let called = millis();
        if !store.revoke(session.id).await? {
            return Err("a session was not there to be revoked".into());
        }
        let returned = millis();
        let gone = watcher.gone_at().await?;
        from_call.push(gone - called);
        from_return.push(gone - returned);
    }
    Ok(report(from_call, from_return))
}

fn report(from_call: Vec<f64>, from_return: Vec<f64>) -> bool {
    let count = from_call.len();
    println!(
        "{count} revocations, ms until another process's cache has none\n\n{:<15} {:>7} {:>7} {:>7}   wanted",
        "", "p50", "p99", "highest"
    );
    let mut p99 = 0.0;
    for (name, times) in [
        ("from the call", from_call),
        ("from its return", from_return),
    ] {
        let times = sorted(times);
        p99 = quantile(&times, 0.99);
        print!(
            "{name:<15} {:>7.2} {p99:>7.2} {:>7.2}",
            quantile(&times, 0.5),
            quantile(&times, 1.0)
        );
        let verdict = if p99 < P99_WANTED_MILLIS {
            "ok"
        } else {
            "short"
        };
        println!("   p99 < {P99_WANTED_MILLIS}  {verdict}");
    }
    p99 < P99_WANTED_MILLIS
}

impl Watcher {
    fn start() -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("watch")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let keys = process.stdin.take().ok_or("no pipe")?;
        let answers = BufReader::new(process.stdout.take().ok_or("no pipe")?).lines();
        Ok(Self {
            _process: process,
            keys,
            answers,
        })
    }

    async fn answer(&mut self) -> Result<String> {
        let line = self.answers.next_line().await?;
        line.ok_or_else(|| "the other process has ended".into())
    }

    /// Returns when the other process has this session in its cache.
    async fn has_loaded(&mut self, key: &Key) -> Result<()> {
        let line = format!("{}\n", key.expose());
        self.keys.write_all(line.as_bytes()).await?;
        match self.answer().await?.as_str() {
            LOADED => Ok(()),
            other => Err(format!("the other process says {other:?}").into()),
        }
    }

    async fn gone_at(&mut self) -> Result<f64> {
        Ok(self.answer().await?.parse()?)
    }
}

/// The other process: reads keys, and says when it has loaded their session and when that is gone.
pub(crate) async fn watch() -> Result<()> {
    let store = environment::cached_store(environment::pool(1)?, CacheConfig::default()).await?;
    let mut out = std::io::stdout();
    for key in std::io::stdin().lock().lines() {
        let key = Key::new(key?);
        keep(&store, &key).await?;
        writeln!(out, "{LOADED}")?;
        // This thread serves no other task, so that it may sleep.
        while store.load(&key).await?.is_some() {
            std::thread::sleep(LOOK_EVERY);
        }
        writeln!(out, "{}", millis())?;
    }
    Ok(())
}

/// Has the cache keep the session of this key.
async fn keep(store: &CachedStore, key: &Key) -> Result<()> {
    let before = store.load(key).await?.ok_or("there is no session")?;
    let again = store
        .load(key)
        .await?
        .ok_or("there is no session any more")?;
    if store.health().serving && std::ptr::eq(&*before, &*again) {
        Ok(())
    } else {
        Err("the cache has not kept the session".into())
    }
}

/// By the one clock of this machine that all processes read alike (CLOCK_MONOTONIC).
fn millis() -> f64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as f64 * 1e3 + now.tv_nsec as f64 / 1e6
}
