//! The numbers and samples of the overview.

use crate::data::timeline::{self, Range, Step};
use crate::database::{Database, Rights, count, rights};
use crate::problem::Problem;
use qsessions::Stats;
use qsessions::deadpool_postgres::Transaction;
use std::time::SystemTime;
use tokio_postgres::types::Type;

/// How many rows a list of devices or countries has.
const LONGEST: usize = 8;

/// A part of the page. One that cannot be shown says why, and the others are shown.
pub(crate) type Panel<T> = Result<T, Problem>;

#[derive(Clone, Debug)]
pub(crate) struct Overview {
    pub(crate) at: SystemTime,
    pub(crate) range: Range,
    pub(crate) stats: Stats,
    pub(crate) timeline: Panel<Vec<Step>>,
    pub(crate) kinds: Panel<Shares>,
    pub(crate) devices: Panel<Shares>,
    pub(crate) countries: Panel<Shares>,
}

/// How many live sessions have which property.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shares {
    pub(crate) rows: Vec<(String, u64)>,
    /// The number of sessions that were read.
    pub(crate) read: u64,
    /// Whether these are a sample.
    pub(crate) is_sample: bool,
}

impl Shares {
    fn new(mut rows: Vec<(String, u64)>, is_sample: bool) -> Self {
        rows.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        let read = rows.iter().map(|(_, count)| count).sum();
        if rows.len() > LONGEST {
            let others = rows.drain(LONGEST - 1..).map(|(_, count)| count).sum();
            rows.push(("Others".to_owned(), others));
        }
        Self {
            rows,
            read,
            is_sample,
        }
    }
}

/// Each part is read in a transaction of its own, so that one that takes too long leaves the others
/// as they are.
pub(crate) async fn read(
    database: &Database,
    range: Range,
    sample: u32,
) -> Result<Overview, Problem> {
    let at = SystemTime::now();
    let mut client = database.client().await?;
    let (rights, stats) = {
        let transaction = database.read(&mut client).await?;
        let rights = rights(&transaction).await?;
        let stats = database.store.on(&transaction).stats().exact(false).await?;
        (rights, stats)
    };
    let timeline = {
        let transaction = database.read(&mut client).await?;
        timeline_or_reason(&transaction, rights, range, at, stats.authenticated).await
    };
    let percent = sample_percent(stats.total, sample);
    let agents = {
        let transaction = database.read(&mut client).await?;
        agents(&transaction, percent).await
    };
    let countries = {
        let transaction = database.read(&mut client).await?;
        countries(&transaction, percent).await
    };
    let (kinds, devices) = match agents {
        Ok((kinds, devices)) => (Ok(kinds), Ok(devices)),
        Err(problem) => (Err(problem.clone()), Err(problem)),
    };
    Ok(Overview {
        at,
        range,
        stats,
        timeline,
        kinds,
        devices,
        countries,
    })
}

async fn timeline_or_reason(
    transaction: &Transaction<'_>,
    rights: Rights,
    range: Range,
    now: SystemTime,
    signed_in: u64,
) -> Panel<Vec<Step>> {
    if !rights.has_events {
        return Err(Problem::no_events());
    }
    if !rights.can_read_events {
        return Err(Problem::events_denied());
    }
    timeline::read(transaction, range, now, signed_in).await
}

/// The part of the table's pages to read for a sample of this size.
fn sample_percent(total: u64, sample: u32) -> f32 {
    if total <= u64::from(sample) {
        return 100.0;
    }
    (100.0 * f64::from(sample) / total as f64) as f32
}

/// Applications have few different User-Agents, so that they are counted before they are parsed.
async fn agents(transaction: &Transaction<'_>, percent: f32) -> Result<(Shares, Shares), Problem> {
    let rows = transaction
        .query_typed(
            "SELECT coalesce(a.category, 'unknown'), coalesce(a.browser, 'Other'), coalesce(a.os, 'Other'),
                    sum(u.sessions)::bigint
             FROM (SELECT s.user_agent, s.client_hints, count(*) AS sessions
                   FROM qsessions.session AS s TABLESAMPLE SYSTEM ($1::real)
                   WHERE s.expires_at > now() GROUP BY 1, 2) AS u
             CROSS JOIN LATERAL qsessions.parse_user_agent(u.user_agent, u.client_hints) AS a
             GROUP BY 1, 2, 3",
            &[(&percent, Type::FLOAT4)],
        )
        .await?;
    let mut kinds = std::collections::BTreeMap::<String, u64>::new();
    let mut devices = Vec::new();
    for row in &rows {
        let (kind, browser, os): (String, String, String) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let sessions = count(row, 3)?;
        let name = match (kind.as_str(), browser.as_str(), os.as_str()) {
            ("unknown", "Other", "Other") => "Unknown".to_owned(),
            (_, browser, "Other") => browser.to_owned(),
            (_, browser, os) => format!("{browser} on {os}"),
        };
        devices.push((name, sessions));
        *kinds.entry(kind_in_words(&kind)).or_default() += sessions;
    }
    let is_sample = percent < 100.0;
    Ok((
        Shares::new(kinds.into_iter().collect(), is_sample),
        Shares::new(devices, is_sample),
    ))
}

fn kind_in_words(kind: &str) -> String {
    match kind {
        "desktop" => "Computer",
        "mobile" => "Phone",
        "tablet" => "Tablet",
        "bot" => "Bot",
        "tool" => "Program",
        "tv" => "Television",
        "console" => "Game console",
        "other" => "Other",
        _ => "Unknown",
    }
    .to_owned()
}

async fn countries(transaction: &Transaction<'_>, percent: f32) -> Result<Shares, Problem> {
    let rows = transaction
        .query_typed(
            "SELECT coalesce((min(c.info)::jsonb ->> 'country_name') || ' (' || c.code || ')', c.code, 'Unknown'),
                    sum(c.sessions)::bigint
             FROM (SELECT u.sessions, qsessions.country_code(u.ip) AS code,
                          qsessions.location_info(u.ip)::text AS info
                   FROM (SELECT s.ip, count(*) AS sessions
                         FROM qsessions.session AS s TABLESAMPLE SYSTEM ($1::real)
                         WHERE s.expires_at > now() GROUP BY 1) AS u) AS c
             GROUP BY c.code",
            &[(&percent, Type::FLOAT4)],
        )
        .await?;
    let shares: Result<Vec<_>, Problem> = rows
        .iter()
        .map(|row| Ok((row.try_get(0)?, count(row, 1)?)))
        .collect();
    Ok(Shares::new(shares?, percent < 100.0))
}
