//! The list of sessions, with its search.

use crate::data::sessions;
use crate::database::rights;
use crate::filter::{Filter, Form, Mistake};
use crate::pairs::Pairs;
use crate::problem::Problem;
use crate::site::{Base, Frame, Site};
use crate::words::{Moment, number};
use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use qsessions::SessionInfo;
use std::sync::Arc;
use std::time::SystemTime;

#[derive(Template)]
#[template(path = "sessions.html")]
struct SessionsPage<'a> {
    frame: &'a Frame,
    form: &'a Form,
    mistakes: Vec<Mistake>,
    found: Option<FoundShown>,
}

impl SessionsPage<'_> {
    /// What is wrong with a field of the form.
    fn mistake(&self, field: &str) -> Option<&str> {
        let mistake = self.mistakes.iter().find(|mistake| mistake.field == field);
        mistake.map(|mistake| mistake.sentence.as_str())
    }
}

struct FoundShown {
    sentence: String,
    rows: Vec<Row>,
    shown: String,
    is_first: bool,
    first: String,
    next: Option<String>,
    /// The query of the page that ends what was found.
    end: Option<String>,
    user: Option<String>,
}

/// A session in a list.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) user: Option<String>,
    pub(super) device: String,
    pub(super) location: Option<String>,
    pub(super) ip: Option<String>,
    pub(super) last_seen: Moment,
    pub(super) created: Moment,
    pub(super) expires: Option<Moment>,
    pub(super) is_active: bool,
}

impl Row {
    pub(super) fn new(session: &SessionInfo, now: SystemTime) -> Self {
        let device = session
            .device
            .as_deref()
            .filter(|device| !device.is_empty());
        Self {
            id: session.id.to_string(),
            user: session.user_id.clone(),
            device: device.unwrap_or("Unknown device").to_owned(),
            location: session.location.clone(),
            ip: session.ip.map(|ip| ip.to_string()),
            last_seen: Moment::new(session.last_seen_at, now),
            created: Moment::new(session.created_at, now),
            expires: session.expires_at.map(|at| Moment::new(at, now)),
            is_active: session.is_active,
        }
    }
}

pub(super) async fn show(
    State(site): State<Arc<Site>>,
    base: Base,
    headers: HeaderMap,
    query: Pairs,
) -> Response {
    let frame = Frame::new(&site, base, &headers, "sessions");
    let form = Form::new(&query);
    let (status, mistakes, found) = match form.filter() {
        Err(mistakes) => (StatusCode::BAD_REQUEST, mistakes, None),
        Ok(filter) => match find(&site, &form, &filter).await {
            Ok(found) => (StatusCode::OK, Vec::new(), Some(found)),
            // What only the database can tell, such as a user id that is no number.
            Err(problem) if problem.is_invalid() => (
                StatusCode::BAD_REQUEST,
                vec![mistake(&problem, &filter)],
                None,
            ),
            Err(problem) => return frame.problem(&problem),
        },
    };
    let page = SessionsPage {
        frame: &frame,
        form: &form,
        mistakes,
        found,
    };
    frame.page(status, &page)
}

/// The fields of the form are checked already, but for the user, whose type the table decides, and
/// the page, whose last session may have ended.
fn mistake(problem: &Problem, filter: &Filter) -> Mistake {
    let field = match &filter.user {
        Some(_) if !problem.sentences.contains("\"after\"") => "user",
        _ => "after",
    };
    Mistake {
        field,
        sentence: problem.sentences.clone(),
    }
}

async fn find(site: &Site, form: &Form, filter: &Filter) -> Result<FoundShown, Problem> {
    let mut client = site.database.client().await?;
    let transaction = site.database.read(&mut client).await?;
    let rights = rights(&transaction).await?;
    let size = site.options.page_size;
    let page = sessions::page(&site.database, &transaction, filter, size).await?;
    let now = SystemTime::now();
    let can_end = rights.can_end && !page.sessions.is_empty() && !filter.is_empty();
    Ok(FoundShown {
        sentence: filter.sentence(),
        shown: number(page.sessions.len() as u64),
        rows: page
            .sessions
            .iter()
            .map(|session| Row::new(session, now))
            .collect(),
        is_first: filter.after.is_none(),
        first: form.query(None),
        next: page.next.map(|id| form.query(Some(id))),
        end: can_end.then(|| form.query(None)),
        user: filter.user.clone(),
    })
}
