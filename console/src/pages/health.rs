//! Whether everything is as it should be, and what to do where it is not.

use crate::data::health::{self, Health, Invalidation, Job, Table};
use crate::problem::Problem;
use crate::site::{Base, Frame, Site};
use crate::words::{Moment, bytes, number, span};
use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// An expired session that waits longer says that purges do not keep up.
const PURGE_OVERDUE: Duration = Duration::from_secs(2 * 3600);
/// GeoIP files are published each month.
const GEOIP_OLD: Duration = Duration::from_secs(60 * 86_400);
/// Below this size, free space in the table costs nothing.
const SMALL: u64 = 16 * 1024 * 1024;

#[derive(Template)]
#[template(path = "health.html")]
struct HealthPage<'a> {
    frame: &'a Frame,
    health: &'a Health,
    /// Everything that needs attention.
    warnings: Vec<String>,
    purge: Result<PurgeShown<'a>, &'a Problem>,
    geoip: Result<Vec<GeoipShown<'a>>, &'a Problem>,
    table: Result<TableShown, &'a Problem>,
    sizes: [(&'static str, String); 2],
}

struct PurgeShown<'a> {
    jobs: Option<&'a [Job]>,
    oldest: Option<Moment>,
    expired: String,
    purged: Option<String>,
}

struct GeoipShown<'a> {
    path: &'a str,
    kind: &'a str,
    built: Option<Moment>,
    loaded: Option<Moment>,
    size: String,
    error: Option<&'a str>,
}

struct TableShown {
    dead: String,
    live: String,
    vacuumed: Option<Moment>,
    analyzed: Option<Moment>,
    main: String,
    needed: Option<String>,
    events: Option<String>,
}

pub(super) async fn show(
    State(site): State<Arc<Site>>,
    base: Base,
    headers: HeaderMap,
) -> Response {
    let frame = Frame::new(&site, base, &headers, "health");
    match health::read(&site.database).await {
        Ok(health) => frame.page(StatusCode::OK, &page(&frame, &health)),
        Err(problem) => frame.problem(&problem),
    }
}

fn page<'a>(frame: &'a Frame, health: &'a Health) -> HealthPage<'a> {
    let now = SystemTime::now();
    HealthPage {
        frame,
        health,
        warnings: warnings(health, now),
        purge: health.purge.as_ref().map(|purge| PurgeShown {
            jobs: purge.jobs.as_deref(),
            oldest: purge.oldest_expired_at.map(|at| Moment::new(at, now)),
            expired: number(purge.expired),
            purged: purge.purged.map(number),
        }),
        geoip: health.geoip.as_ref().map(|files| {
            let shown = files.iter().map(|file| GeoipShown {
                path: &file.path,
                kind: file.database_type.as_deref().unwrap_or(""),
                built: file.built_at.map(|at| Moment::new(at, now)),
                loaded: file.loaded_at.map(|at| Moment::new(at, now)),
                size: file.bytes.map(bytes).unwrap_or_default(),
                error: file.error.as_deref(),
            });
            shown.collect()
        }),
        table: health.table.as_ref().map(|table| TableShown {
            dead: number(table.dead),
            live: number(table.live),
            vacuumed: table.vacuumed_at.map(|at| Moment::new(at, now)),
            analyzed: table.analyzed_at.map(|at| Moment::new(at, now)),
            main: bytes(table.main_bytes),
            needed: table.needed_bytes.map(bytes),
            events: table.event_bytes.map(bytes),
        }),
        sizes: [
            ("Table", bytes(health.stats.table_bytes)),
            ("Indexes", bytes(health.stats.index_bytes)),
        ],
    }
}

fn warnings(health: &Health, now: SystemTime) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Ok(Invalidation {
        problem: Some(problem),
        ..
    }) = &health.invalidation
    {
        warnings.push(format!(
            "Caches are not notified as they should be: {problem}."
        ));
    }
    if let Ok(purge) = &health.purge
        && let Some(waiting) = purge
            .oldest_expired_at
            .and_then(|at| now.duration_since(at).ok())
        && waiting > PURGE_OVERDUE
    {
        warnings.push(format!(
            "An expired session has been waiting for a purge for {}. Check that the purge is scheduled, \
             and that it keeps up.",
            span(waiting)
        ));
    }
    if let Ok(purge) = &health.purge
        && let Some(jobs) = &purge.jobs
    {
        for job in jobs.iter().filter(|job| !job.is_active) {
            warnings.push(format!(
                "The job of pg_cron that purges ({}) is not active.",
                job.schedule
            ));
        }
    }
    for file in health.geoip.iter().flatten() {
        let age = file.built_at.and_then(|at| now.duration_since(at).ok());
        if let Some(error) = &file.error {
            warnings.push(format!(
                "The GeoIP file {} cannot be used: {error}.",
                file.path
            ));
        } else if let Some(age) = age.filter(|age| *age > GEOIP_OLD) {
            warnings.push(format!(
                "The GeoIP database {} was built {} ago. Get a newer one.",
                file.path,
                span(age)
            ));
        }
    }
    if let Ok(table) = &health.table {
        warnings.extend(bloat(table));
    }
    warnings
}

fn bloat(table: &Table) -> Option<String> {
    if table.main_bytes < SMALL {
        return None;
    }
    if table.dead > table.live {
        return Some(
            "More rows of the session table are dead than live. Check that autovacuum keeps up, and that \
             no transaction has been open for long."
                .to_owned(),
        );
    }
    let needed = table.needed_bytes?;
    (table.main_bytes / 3 > needed).then(|| {
        format!(
            "The session table takes {}, and its rows need about {}. If it does not grow, leave it: new \
             sessions use the space.",
            bytes(table.main_bytes),
            bytes(needed)
        )
    })
}
