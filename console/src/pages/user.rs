//! The sessions of one user, and what has happened to them.

use super::end::{check, see};
use super::session::{Happened, history};
use super::sessions::Row;
use crate::data::session::Whose;
use crate::data::sessions;
use crate::database::rights;
use crate::filter::{Filter, Form};
use crate::pairs::Pairs;
use crate::problem::Problem;
use crate::site::{Base, Frame, Site};
use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use std::sync::Arc;
use std::time::SystemTime;

/// How many sessions the page shows; the search shows the others.
const MOST: u32 = 100;

#[derive(Template)]
#[template(path = "user.html")]
struct UserPage<'a> {
    frame: &'a Frame,
    user: &'a str,
    rows: Vec<Row>,
    /// The query of the search, if there are more sessions.
    more: Option<String>,
    can_end: bool,
    history: Result<Vec<Happened>, Problem>,
}

pub(super) async fn show(
    State(site): State<Arc<Site>>,
    base: Base,
    headers: HeaderMap,
    query: Pairs,
) -> Response {
    let frame = Frame::new(&site, base, &headers, "sessions");
    let user = match named(&query) {
        Ok(user) => user,
        Err(problem) => return frame.problem(&problem),
    };
    match page(&site, &frame, user).await {
        Ok(page) => frame.page(StatusCode::OK, &page),
        Err(problem) => frame.problem(&problem),
    }
}

fn named(pairs: &Pairs) -> Result<&str, Problem> {
    match pairs.get("id") {
        "" => Err(Problem::invalid(
            "The address names no user. Search for the sessions of a user.",
        )),
        user => Ok(user),
    }
}

async fn page<'a>(site: &Site, frame: &'a Frame, user: &'a str) -> Result<UserPage<'a>, Problem> {
    let mut client = site.database.client().await?;
    let filter = Filter {
        user: Some(user.to_owned()),
        ..Filter::default()
    };
    let (rights, found) = {
        let transaction = site.database.read(&mut client).await?;
        let rights = rights(&transaction).await?;
        let found = sessions::page(&site.database, &transaction, &filter, MOST).await?;
        (rights, found)
    };
    let now = SystemTime::now();
    let transaction = site.database.read(&mut client).await?;
    let history = history(&transaction, rights, Whose::User(user), now).await;
    let more = Form {
        user: user.to_owned(),
        ..Form::default()
    }
    .query(None);
    Ok(UserPage {
        frame,
        user,
        rows: found
            .sessions
            .iter()
            .map(|session| Row::new(session, now))
            .collect(),
        more: found.next.map(|_| more),
        can_end: rights.can_end,
        history,
    })
}

pub(super) async fn end(
    State(site): State<Arc<Site>>,
    base: Base,
    headers: HeaderMap,
    body: String,
) -> Response {
    let frame = Frame::new(&site, base, &headers, "sessions");
    let pairs = Pairs::parse(&body);
    let checked = check(&site, &headers, &pairs).and_then(|()| named(&pairs));
    match checked {
        Ok(user) => match sessions::end_user(&site.database, user).await {
            Ok(ended) => see(&frame.base, &format!("ended?count={ended}")),
            Err(problem) => frame.problem(&problem),
        },
        Err(problem) => frame.problem(&problem),
    }
}
