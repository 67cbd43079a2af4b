//! A long random test of the rows of the session table.
//!
//! Writers create, change and end sessions, others record visits in batches and purge, while
//! backends are killed and the server is restarted. A [`book`] of the test's own knows what each
//! writer was told. A run fails if a live row is lost, or has lost what was saved; if a session
//! that has ended or expired is found alive; and if a last purge leaves a row that has expired.

pub mod book;
pub mod chaos;
pub mod fault;
mod others;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use fastrand::Rng;
use qsessions_testkit::Server;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::Result;
use crate::chaos::DATABASE;
use book::{Book, Counts, Fact};
use chaos::Mishaps;
use fault::Fault;

/// The number of writers. Each has a user, and sessions of its own.
pub const WRITERS: usize = 8;
/// The number of processes that purge.
pub const PURGES: usize = 2;
/// The number of tasks that record visits.
pub const VISITORS: usize = 2;

/// The number of violations that are printed.
const SHOWN: usize = 10;
/// The number of attempts until a run is long enough to prove something.
const ROUNDS: u64 = 3;

/// The parameters of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The seed of all random choices.
    pub seed: u64,
    /// The duration.
    pub duration: Duration,
    /// Whether the server preloads the library.
    pub is_preloaded: bool,
    /// Whether backends are killed and the server is restarted.
    pub is_disturbed: bool,
    /// What is broken on purpose, to see that it is found.
    pub fault: Option<Fault>,
}

/// The result of a run.
#[derive(Debug)]
pub struct Report {
    /// The parameters of the run.
    pub options: Options,
    /// What was found wrong.
    pub violations: Vec<String>,
    /// What has happened.
    pub counts: Counts,
    /// The faults that were injected.
    pub mishaps: Mishaps,
    /// The rows that were left, all of which were compared with the book.
    pub rows: usize,
}

impl Report {
    /// The reasons why the run proves nothing.
    #[must_use]
    pub fn shortcomings(&self) -> Vec<&'static str> {
        let counts = &self.counts;
        let mishaps = &self.mishaps;
        let is_disturbed = self.options.is_disturbed;
        [
            ("sessions", counts.created < 50),
            ("changes", counts.changed < 100),
            ("ended sessions", counts.ended < 10),
            ("looks at dead sessions", counts.looked_at_dead < 10),
            ("purged rows", counts.purged < 10),
            ("recorded visits", counts.visits < 10),
            ("rows left", self.rows < 10),
            (
                "changes of unknown outcome",
                is_disturbed && counts.unknown == 0,
            ),
            ("kills", is_disturbed && mishaps.kills == 0),
            ("restarts", is_disturbed && mishaps.restarts == 0),
        ]
        .into_iter()
        .filter_map(|(what, is_few)| is_few.then_some(what))
        .collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            created,
            changed,
            ended,
            unknown,
            refused,
            looked_at_dead,
            visits,
            purged,
        } = self.counts;
        let Mishaps { kills, restarts } = self.mishaps;
        let seconds = self.options.duration.as_secs();
        write!(
            formatter,
            "{seconds} s: {created} sessions created, {changed} changes, {ended} ended, \
             {unknown} changes of unknown outcome, {refused} calls refused, \
             {looked_at_dead} looks at dead sessions, {visits} visits recorded, {purged} rows purged; \
             {kills} backends killed, {restarts} restarts; {} rows left; {} violations",
            self.rows,
            self.violations.len()
        )?;
        for violation in self.violations.iter().take(SHOWN) {
            write!(formatter, "\n  {violation}")?;
        }
        Ok(())
    }
}

/// Performs a run, and repeats it with the next seed if too little has happened.
///
/// # Errors
///
/// If the run cannot be performed, if something is wrong, or if too little has happened in every
/// attempt. The error contains the seed.
pub async fn run(options: Options) -> Result<Report> {
    for round in 1.. {
        let attempt = Options {
            seed: options.seed.wrapping_add(round - 1),
            ..options.clone()
        };
        let seed = attempt.seed;
        let report = run_once(attempt)
            .await
            .map_err(|error| format!("{error}\nSEED={seed}"))?;
        if !report.violations.is_empty() {
            return Err(format!("{report}\nSEED={seed}").into());
        }
        let shortcomings = report.shortcomings().join(", ");
        if shortcomings.is_empty() {
            return Ok(report);
        }
        let useless = format!("{report}\nthis proves nothing: too few {shortcomings}\nSEED={seed}");
        if round == ROUNDS {
            return Err(useless.into());
        }
        println!("{useless}");
    }
    unreachable!("the last round has returned")
}

/// Performs a run once.
///
/// # Errors
///
/// If it cannot be performed.
pub async fn run_once(options: Options) -> Result<Report> {
    let mut server = start_server(&options).await?;
    let book = Arc::new(Book::default());
    let until = Instant::now() + options.duration;
    let config = server.config(DATABASE);
    let mut tasks = tokio::task::JoinSet::new();
    let rng = |number: usize| Rng::with_seed(options.seed ^ ((number as u64 + 1) << 16));
    for number in 0..WRITERS {
        tasks.spawn(writer::run(
            number,
            config.clone(),
            Arc::clone(&book),
            rng(number),
            until,
        ));
    }
    for number in 0..PURGES {
        let rng = rng(100 + number);
        tasks.spawn(others::purge(config.clone(), Arc::clone(&book), rng, until));
    }
    for number in 0..VISITORS {
        let rng = rng(200 + number);
        tasks.spawn(others::visit(config.clone(), Arc::clone(&book), rng, until));
    }
    let mishaps = if options.is_disturbed {
        chaos::disturb(&mut server, rng(300), until).await?
    } else {
        Mishaps::default()
    };
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let client = others::connect(&server.config(DATABASE), Instant::now() + PATIENCE)
        .await
        .ok_or("the server does not accept connections at the end")?;
    let rows = check_rows(&client, &book).await?;
    Ok(Report {
        violations: book.violations(),
        counts: book.counts(),
        options,
        mishaps,
        rows,
    })
}

/// Longer than a recovery takes.
const PATIENCE: Duration = Duration::from_secs(60);

async fn start_server(options: &Options) -> Result<Server> {
    let libraries = if options.is_preloaded {
        "pg_cron,qsessions"
    } else {
        "pg_cron"
    };
    let server = Server::builder()
        .durable()
        .setting("shared_preload_libraries", libraries)
        .setting("qsessions.touch_interval", "20 ms")
        .setting("lock_timeout", "2s")
        .start()
        .await?;
    let client = server.connect(DATABASE).await?;
    client
        .batch_execute(&format!(
            "CREATE EXTENSION qsessions; CREATE TABLE users (id bigint PRIMARY KEY);
             INSERT INTO users SELECT generate_series(0, {WRITERS} - 1);
             SELECT qsessions.create_session_table('users')"
        ))
        .await?;
    if let Some(fault) = options.fault {
        fault.plant(&client).await?;
    }
    Ok(server)
}

/// Purges, and compares all rows that are left with the book. Nothing else uses the table any more.
/// Returns their number.
async fn check_rows(client: &Client, book: &Book) -> Result<usize> {
    let before_purge = SystemTime::now();
    client.batch_execute("CALL qsessions.purge()").await?;
    let rows = client
        .query(
            "SELECT id, version, (data->>'token')::bigint, expires_at FROM qsessions.session",
            &[],
        )
        .await?;
    let after_read = SystemTime::now();
    let mut found = std::collections::HashSet::new();
    for row in &rows {
        let id: Uuid = row.get(0);
        let expires_at: SystemTime = row.get(3);
        found.insert(id);
        if expires_at <= before_purge {
            book.violation(format!("the last purge has left {id}, which had expired"));
        }
        let fact = Fact {
            version: row.get(1),
            token: row.get(2),
        };
        book.left(id, fact, expires_at, before_purge);
    }
    book.missing(&found, after_read);
    Ok(rows.len())
}
