//! A run: a server, processes, injected faults, and the check of the history.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use qsessions_testkit::{Proxy, Server};

use crate::chaos::{self, DATABASE, Ways};
use crate::report::Report;
use crate::worker::{self, CROWDS, Counts, READY, USERS};
use crate::{Result, checker, history};

/// The number of processes.
pub const PROCESSES: usize = 8;

/// How many of them are processes of Django, if there is one.
const DJANGO_PROCESSES: usize = 2;

/// The number of attempts until a run is long enough to prove something.
const ROUNDS: u64 = 3;

/// Longer than any call of a worker.
const PATIENCE: Duration = Duration::from_secs(60);

/// The parameters of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The path of this program, which the processes run.
    pub program: PathBuf,
    /// The seed of all random choices.
    pub seed: u64,
    /// The duration.
    pub duration: Duration,
    /// Whether the server preloads the library, so that notifications go through the ring.
    pub is_preloaded: bool,
}

/// The `max_staleness` of a process. It differs between processes, so that they do not act in step.
#[must_use]
pub fn max_staleness(process: usize) -> Duration {
    Duration::from_millis([300, 600, 1500][process % 3])
}

/// The capacity of a process's cache. Some are smaller than the number of sessions.
fn capacity(process: usize) -> u64 {
    if process % 4 == 3 { 40 } else { 10_000 }
}

/// Performs a run, and repeats it with the next seed if too little has happened, because neither a
/// slow machine nor a seed without a fault of some kind is an error of the caches. The history is
/// kept if it contains a violation.
///
/// # Errors
///
/// If the run cannot be performed, if a load violates the guarantee, or if too little has happened
/// in every attempt. The error contains the seed.
pub async fn run(options: Options) -> Result<Report> {
    for round in 1.. {
        let attempt = Options {
            seed: options.seed.wrapping_add(round - 1),
            ..options.clone()
        };
        let seed = attempt.seed;
        let report = run_once(&attempt).await?;
        let shortcomings = report.shortcomings().join(", ");
        if shortcomings.is_empty() {
            return Ok(report);
        }
        let useless = format!("{report}\nthis proves nothing: {shortcomings}\nSEED={seed}");
        if round == ROUNDS {
            return Err(useless.into());
        }
        println!("{useless}");
    }
    unreachable!("the last round has returned")
}

async fn run_once(options: &Options) -> Result<Report> {
    let folder = tempfile::Builder::new()
        .prefix("qsessions-soak-")
        .tempdir()?;
    let why = match record(options, folder.path()).await {
        Ok(report) if report.violations.is_empty() => return Ok(report),
        Ok(report) => format!("{report}\n{}", report.explain()),
        Err(error) => error.to_string(),
    };
    let kept = folder.keep();
    // The keys are dead without their server, but they are keys.
    let _ = fs::remove_file(kept.join("keys"));
    let (seed, kept) = (options.seed, kept.display());
    Err(format!("{why}\nSEED={seed}, history in {kept}").into())
}

async fn record(options: &Options, folder: &Path) -> Result<Report> {
    let mut server = start_server(options.is_preloaded).await?;
    let mut ways = Vec::new();
    let mut workers = Vec::new();
    for process in 0..PROCESSES {
        let way = Ways {
            pool: Arc::new(Proxy::to(&server).await?),
            listener: Arc::new(Proxy::to(&server).await?),
        };
        workers.push(Worker::start(options, folder, process, &way)?);
        ways.push(way);
    }
    let until = tokio::task::block_in_place(|| Worker::set_off(&mut workers, options.duration))?;
    let rng = Rng::with_seed(options.seed);
    let mishaps = chaos::disturb(&mut server, &ways, rng, until).await?;
    for worker in &mut workers {
        worker.ended().await?;
    }
    let history = history::read(folder, PROCESSES)?;
    let max_staleness: Vec<_> = (0..PROCESSES).map(max_staleness).collect();
    let violations = checker::check(&history, &max_staleness);
    let counts = (0..PROCESSES).map(|process| read_counts(folder, process));
    Ok(Report {
        options: options.clone(),
        violations,
        history,
        mishaps,
        counts: counts.collect::<Result<_>>()?,
    })
}

fn read_counts(folder: &Path, process: usize) -> Result<Counts> {
    let file = fs::File::open(worker::counts_path(folder, process))?;
    Ok(serde_json::from_reader(file)?)
}

async fn start_server(is_preloaded: bool) -> Result<Server> {
    let libraries = if is_preloaded {
        "pg_cron,qsessions"
    } else {
        "pg_cron"
    };
    let server = Server::builder()
        .durable()
        .setting("shared_preload_libraries", libraries)
        // Nearly each visit is due.
        .setting("qsessions.touch_interval", "100ms")
        // Locks of a stalled client must not stop all others.
        .setting("idle_in_transaction_session_timeout", "2s")
        .setting("lock_timeout", "1s")
        .setting("max_prepared_transactions", "20")
        .start()
        .await?;
    let client = server.connect(DATABASE).await?;
    client
        .batch_execute(&format!(
            "CREATE EXTENSION qsessions; CREATE TABLE users (id bigint PRIMARY KEY);
             INSERT INTO users SELECT generate_series(1, {USERS});
             INSERT INTO users SELECT generate_series({CROWDS}, {CROWDS} + {PROCESSES} - 1);
             SELECT qsessions.create_session_table('users')"
        ))
        .await?;
    Ok(server)
}

/// A Python with qsessions-django, whose cache is then tested beside those of the Rust client.
/// `integrations/django/tests/run` makes one.
fn django() -> Option<PathBuf> {
    std::env::var_os("QSESSIONS_SOAK_DJANGO").map(PathBuf::from)
}

fn django_worker(python: &Path) -> Command {
    let script = "../../integrations/django/tests/soak_worker.py";
    let mut command = Command::new(python);
    command
        .arg("-B")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script));
    command
}

/// A process, which is killed when this is dropped.
struct Worker {
    process: usize,
    child: Child,
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The process has usually exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Worker {
    fn start(options: &Options, folder: &Path, process: usize, way: &Ways) -> Result<Self> {
        let told = worker::Options {
            process,
            folder: folder.to_owned(),
            seed: options.seed,
            pool_port: way.pool.port(),
            listener_port: way.listener.port(),
            max_staleness: max_staleness(process),
            capacity: capacity(process),
            can_prepare: options.is_preloaded,
        };
        let mut command = match django() {
            Some(python) if process + DJANGO_PROCESSES >= PROCESSES => django_worker(&python),
            _ => {
                let mut command = Command::new(&options.program);
                command.arg("worker");
                command
            }
        };
        command
            .arg(serde_json::to_string(&told)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let child = qsessions_testkit::spawn(command, false)?;
        Ok(Self { process, child })
    }

    /// Waits until all processes are ready, and sends them the end of the run.
    fn set_off(workers: &mut [Self], duration: Duration) -> Result<history::Nanos> {
        for worker in &mut *workers {
            let stdout = worker.child.stdout.as_mut().ok_or("no standard output")?;
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line)?;
            if line.trim() != READY {
                return Err(format!("process {} did not begin", worker.process).into());
            }
        }
        let until = history::now() + duration.as_nanos() as history::Nanos;
        for worker in workers {
            let stdin = worker.child.stdin.as_mut().ok_or("no standard input")?;
            writeln!(stdin, "{until}")?;
        }
        Ok(until)
    }

    async fn ended(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let process = self.process;
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("process {process} ended with {status}").into()),
                None if Instant::now() > deadline => {
                    return Err(format!("process {process} does not end").into());
                }
                // Polls, because SIGCHLD belongs to the test harness.
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}
