//! The overview: numbers, and plots of what has happened.

use crate::data::live::Live;
use crate::data::overview::{self, Overview, Panel, Shares};
use crate::data::timeline::{Range, Step};
use crate::pairs::Pairs;
use crate::plot;
use crate::problem::Problem;
use crate::site::{Base, Frame, Site};
use crate::words::{Moment, bytes, counted, number};
use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use std::sync::Arc;
use std::time::SystemTime;

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage<'a> {
    frame: &'a Frame,
    at: Moment,
    numbers: Vec<(&'static str, &'static str, String)>,
    counters: Option<Vec<(&'static str, &'static str, String)>>,
    size: String,
    ranges: Vec<(&'static str, &'static str, bool)>,
    timeline: Result<Timeline, &'a Problem>,
    shares: Vec<SharesPanel<'a>>,
}

struct Timeline {
    words: &'static str,
    step_words: &'static str,
    sign_ins: String,
    sign_ins_plot: String,
    signed_in_plot: Option<String>,
    is_partial: bool,
    steps: Vec<Step>,
}

struct SharesPanel<'a> {
    title: &'static str,
    column: &'static str,
    content: Result<SharesShown<'a>, &'a Problem>,
}

struct SharesShown<'a> {
    plot: String,
    read: String,
    /// Nothing is known of any session.
    is_unknown: bool,
    shares: &'a Shares,
}

pub(super) async fn show(
    State(site): State<Arc<Site>>,
    base: Base,
    headers: HeaderMap,
    query: Pairs,
) -> Response {
    let frame = Frame::new(&site, base, &headers, "overview");
    let range = match query.get("range") {
        "" => Some(Range::Day),
        name => Range::from_name(name),
    };
    let range = match range {
        Some(range) => range,
        None => {
            return frame.problem(&Problem::new(
                StatusCode::BAD_REQUEST,
                "There is no such time",
                "The overview shows 24 hours, 7 days or 30 days. Open it from the navigation.",
            ));
        }
    };
    let read = async {
        let read = overview::read(&site.database, range, site.options.sample);
        read.await.map(Arc::new)
    };
    let overview = match site.overview(range).get(read).await {
        Ok(overview) => overview,
        Err(problem) => return frame.problem(&problem),
    };
    // Without the counters, the rest of the page is still shown.
    let live = site
        .live
        .get(crate::data::live::read(&site.database))
        .await
        .ok();
    let page = page(&frame, &overview, live);
    frame.page(StatusCode::OK, &page)
}

fn page<'a>(frame: &'a Frame, overview: &'a Overview, live: Option<Live>) -> OverviewPage<'a> {
    let stats = &overview.stats;
    let now = live.clone().unwrap_or(Live {
        active: stats.active,
        expired: stats.expired,
        anonymous: stats.anonymous,
        authenticated: stats.authenticated,
        users: stats.users,
        counters: None,
    });
    OverviewPage {
        frame,
        at: Moment::new(overview.at, SystemTime::now()),
        numbers: vec![
            ("active", "Active", number(now.active)),
            ("users", "Users with a session", number(now.users)),
            ("authenticated", "With a user", number(now.authenticated)),
            ("anonymous", "Anonymous", number(now.anonymous)),
            ("expired", "Expired, not purged yet", number(now.expired)),
        ],
        counters: now.counters.map(|counters| {
            vec![
                ("logins", "Sign-ins", number(counters.logins)),
                ("created", "Sessions created", number(counters.created)),
                ("saves", "Saves", number(counters.saves)),
                ("logouts", "Sign-outs", number(counters.logouts)),
                ("revoked", "Revoked", number(counters.revoked)),
                ("purged", "Purged", number(counters.purged)),
                ("conflicts", "Version conflicts", number(counters.conflicts)),
                (
                    "nothing",
                    "Keys without a session",
                    number(counters.nothing),
                ),
            ]
        }),
        size: bytes(stats.table_bytes + stats.index_bytes),
        ranges: Range::ALL
            .into_iter()
            .map(|range| (range.name(), range.words(), range == overview.range))
            .collect(),
        timeline: match &overview.timeline {
            Ok(steps) => Ok(timeline(overview.range, steps)),
            Err(problem) => Err(problem),
        },
        shares: vec![
            shares("Kinds of devices", "Kind", &overview.kinds),
            shares(
                "Browsers and systems",
                "Browser and system",
                &overview.devices,
            ),
            shares("Countries", "Country", &overview.countries),
        ],
    }
}

fn timeline(range: Range, steps: &[Step]) -> Timeline {
    let labels: Vec<_> = steps.iter().map(|step| step.label.clone()).collect();
    let sign_ins: Vec<_> = steps
        .iter()
        .map(|step| (step.sign_ins, step.from_new_devices))
        .collect();
    let signed_in: Vec<_> = steps
        .iter()
        .enumerate()
        .filter_map(|(place, step)| Some((place + 1, step.signed_in?)))
        .collect();
    let total: u64 = sign_ins.iter().map(|(all, _)| all).sum();
    let new: u64 = sign_ins.iter().map(|(_, new)| new).sum();
    let total = format!(
        "{} in the last {}, {} from a device that was new to the user",
        counted(total, "sign-in"),
        range.words(),
        number(new)
    );
    Timeline {
        words: range.words(),
        step_words: range.step_words(),
        sign_ins_plot: plot::bars(&total, &labels, &sign_ins),
        signed_in_plot: (signed_in.len() > 1).then(|| {
            let title = format!("Signed-in sessions in the last {}", range.words());
            plot::line(&title, &labels, &signed_in)
        }),
        is_partial: signed_in.len() < steps.len(),
        sign_ins: total,
        steps: steps.to_vec(),
    }
}

fn shares<'a>(
    title: &'static str,
    column: &'static str,
    panel: &'a Panel<Shares>,
) -> SharesPanel<'a> {
    SharesPanel {
        title,
        column,
        content: panel.as_ref().map(|shares| SharesShown {
            plot: plot::shares(title, &shares.rows),
            read: counted(shares.read, "active session"),
            is_unknown: shares.rows.iter().all(|(name, _)| name == "Unknown"),
            shares,
        }),
    }
}
