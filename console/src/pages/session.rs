//! One session.

use super::end::{check, see};
use crate::data::session::{self, Event, Session, Whose};
use crate::data::sessions;
use crate::database::{Rights, rights};
use crate::pairs::Pairs;
use crate::problem::Problem;
use crate::site::{Base, Frame, Site};
use crate::words::Moment;
use askama::Template;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use qsessions::Uuid;
use std::sync::Arc;
use std::time::SystemTime;

#[derive(Template)]
#[template(path = "session.html")]
struct SessionPage<'a> {
    frame: &'a Frame,
    id: String,
    session: Option<Shown>,
    can_end: bool,
    history: Result<Vec<Happened>, Problem>,
}

struct Shown {
    session: Session,
    created: Option<Moment>,
    authenticated: Option<Moment>,
    updated: Option<Moment>,
    last_seen: Option<Moment>,
    expires: Option<Moment>,
    deadline: Option<Moment>,
}

/// An event on a page.
pub(super) struct Happened {
    pub(super) at: Option<Moment>,
    pub(super) words: String,
    pub(super) session: String,
    pub(super) ip: Option<String>,
    pub(super) location: Option<String>,
    pub(super) device: Option<String>,
    pub(super) is_new_device: bool,
    pub(super) is_new_place: bool,
}

impl Happened {
    pub(super) fn new(event: Event, now: SystemTime) -> Self {
        Self {
            at: event.at.map(|at| Moment::new(at, now)),
            words: event.words(),
            session: event.session.to_string(),
            ip: event.ip.map(|ip| ip.to_string()),
            location: event.location,
            device: event.device,
            is_new_device: event.is_new_device,
            is_new_place: event.is_new_place,
        }
    }
}

pub(super) async fn show(
    State(site): State<Arc<Site>>,
    base: Base,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let frame = Frame::new(&site, base, &headers, "sessions");
    match parsed(&id) {
        Ok(id) => match page(&site, &frame, id).await {
            Ok(page) => {
                let status = match page.session {
                    Some(_) => StatusCode::OK,
                    None => StatusCode::NOT_FOUND,
                };
                frame.page(status, &page)
            }
            Err(problem) => frame.problem(&problem),
        },
        Err(problem) => frame.problem(&problem),
    }
}

/// Does not repeat what is no id: it may be a key.
fn parsed(id: &str) -> Result<Uuid, Problem> {
    id.parse().map_err(|_| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "This is not the id of a session",
            "An id is a UUID. If what you have is a key, qsessions.session_id(key) returns its id.",
        )
    })
}

async fn page<'a>(site: &Site, frame: &'a Frame, id: Uuid) -> Result<SessionPage<'a>, Problem> {
    let mut client = site.database.client().await?;
    let (rights, session) = {
        let transaction = site.database.read(&mut client).await?;
        let rights = rights(&transaction).await?;
        (rights, session::read(&transaction, id).await?)
    };
    let now = SystemTime::now();
    let transaction = site.database.read(&mut client).await?;
    let whose = Whose::Session {
        id,
        user: session.as_ref().and_then(|session| session.user.as_deref()),
        since: session
            .as_ref()
            .map_or_else(|| session::id_time(id), |session| session.created_at),
    };
    let history = history(&transaction, rights, whose, now).await;
    let moment = |at: Option<SystemTime>| at.map(|at| Moment::new(at, now));
    Ok(SessionPage {
        frame,
        id: id.to_string(),
        can_end: rights.can_end,
        history,
        session: session.map(|session| Shown {
            created: moment(session.created_at),
            authenticated: moment(session.authenticated_at),
            updated: moment(session.updated_at),
            last_seen: moment(session.last_seen_at),
            expires: moment(session.expires_at),
            deadline: moment(session.deadline),
            session,
        }),
    })
}

/// The events, or why they cannot be shown.
pub(super) async fn history(
    transaction: &qsessions::deadpool_postgres::Transaction<'_>,
    rights: Rights,
    whose: Whose<'_>,
    now: SystemTime,
) -> Result<Vec<Happened>, Problem> {
    let events = session::events(transaction, rights, whose).await?;
    Ok(events
        .into_iter()
        .map(|event| Happened::new(event, now))
        .collect())
}

pub(super) async fn end(
    State(site): State<Arc<Site>>,
    base: Base,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: String,
) -> Response {
    let frame = Frame::new(&site, base, &headers, "sessions");
    let checked = check(&site, &headers, &Pairs::parse(&body)).and_then(|()| parsed(&id));
    match checked {
        Ok(id) => match sessions::end_one(&site.database, id).await {
            Ok(ended) => see(&frame.base, &format!("ended?count={}", u8::from(ended))),
            Err(problem) => frame.problem(&problem),
        },
        Err(problem) => frame.problem(&problem),
    }
}
