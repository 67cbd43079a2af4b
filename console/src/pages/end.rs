//! Ending all sessions that a search finds: first a page with their number, then the form.

use crate::data::sessions::{self, MOST};
use crate::database::rights;
use crate::filter::{Filter, Form};
use crate::pairs::Pairs;
use crate::problem::Problem;
use crate::site::{Base, Frame, Site};
use crate::words::{counted, number};
use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[derive(Template)]
#[template(path = "end.html")]
struct EndPage<'a> {
    frame: &'a Frame,
    form: &'a Form,
    sentence: String,
    /// `None`: the search finds nothing.
    count: Option<String>,
    is_all: bool,
    most: String,
    counted_at: String,
    back: String,
}

#[derive(Template)]
#[template(path = "ended.html")]
struct EndedPage<'a> {
    frame: &'a Frame,
    title: String,
    sentences: Vec<String>,
}

/// Refuses a form that was not sent from a page of this console.
pub(super) fn check(site: &Site, headers: &HeaderMap, pairs: &Pairs) -> Result<(), Problem> {
    if site.csrf.accepts(headers, pairs.get("csrf")) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "The form was refused",
        "The form does not come from a page that this console has shown to this browser, or the console \
         was started again since. Nothing was changed. Go back, load the page again and repeat what \
         you have done. If it is refused again, the browser does not keep the cookie of the console, \
         for example because the page has no TLS and the cookie is Secure.",
    ))
}

/// The browser loads the page with the result, so that loading it again ends nothing.
pub(super) fn see(base: &str, target: &str) -> Response {
    (
        StatusCode::SEE_OTHER,
        [(header::LOCATION, format!("{base}{target}"))],
    )
        .into_response()
}

pub(super) async fn confirm(
    State(site): State<Arc<Site>>,
    base: Base,
    headers: HeaderMap,
    query: Pairs,
) -> Response {
    let frame = Frame::new(&site, base, &headers, "sessions");
    let form = Form::new(&query);
    match prepare(&site, &frame, &form).await {
        Ok(page) => frame.page(StatusCode::OK, &page),
        Err(problem) => frame.problem(&problem),
    }
}

async fn prepare<'a>(
    site: &Site,
    frame: &'a Frame,
    form: &'a Form,
) -> Result<EndPage<'a>, Problem> {
    let filter = filter(form)?;
    let mut client = site.database.client().await?;
    let transaction = site.database.count(&mut client).await?;
    rights(&transaction).await?.check_end()?;
    let found = sessions::find(&transaction, &filter, None).await?;
    let counted_at = found
        .at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Ok(EndPage {
        frame,
        form,
        sentence: filter.sentence(),
        count: (!found.ids.is_empty()).then(|| counted(found.ids.len() as u64, "session")),
        is_all: found.is_all,
        most: number(MOST as u64),
        counted_at: counted_at.as_micros().to_string(),
        back: form.query(None),
    })
}

/// A search that finds all sessions is refused: it is more likely a mistake.
fn filter(form: &Form) -> Result<Filter, Problem> {
    let filter = form.filter().map_err(|mistakes| {
        let sentences: Vec<_> = mistakes
            .into_iter()
            .map(|mistake| mistake.sentence)
            .collect();
        Problem::invalid(sentences.join(" "))
    })?;
    if filter.is_empty() {
        return Err(Problem::invalid(
            "This would end all sessions that there are. Search for some of them first. To end all, \
             call qsessions.revoke_sessions(created_before => 'infinity') in psql.",
        ));
    }
    Ok(filter)
}

pub(super) async fn carry_out(
    State(site): State<Arc<Site>>,
    base: Base,
    headers: HeaderMap,
    body: String,
) -> Response {
    let pairs = Pairs::parse(&body);
    let frame = Frame::new(&site, base, &headers, "sessions");
    if let Err(problem) = check(&site, &headers, &pairs) {
        return frame.problem(&problem);
    }
    // The work goes on when the browser is closed, so that it does not stop between two batches.
    let work = tokio::spawn({
        let site = Arc::clone(&site);
        async move { end(&site, &pairs).await }
    });
    match work.await {
        Ok(Ok((ended, is_all))) => see(
            &frame.base,
            &format!("ended?count={ended}{}", if is_all { "" } else { "&more=1" }),
        ),
        Ok(Err((ended, mut problem))) => {
            if ended > 0 {
                problem.sentences = format!(
                    "{} had been ended before that. {}",
                    counted(ended, "session"),
                    problem.sentences
                );
            }
            frame.problem(&problem)
        }
        Err(_) => frame.problem(&Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The console has failed",
            "Count the sessions again to see how many are left.",
        )),
    }
}

/// Returns how many sessions have ended, and whether they were all.
async fn end(site: &Site, pairs: &Pairs) -> Result<(u64, bool), (u64, Problem)> {
    let none = |problem| (0, problem);
    let filter = filter(&Form::new(pairs)).map_err(none)?;
    let before = pairs.get("counted_at").parse().map_err(|_| {
        none(Problem::invalid(
            "The form lacks the time at which the sessions were counted.",
        ))
    })?;
    let before = SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(before));
    let found = {
        let mut client = site.database.client().await.map_err(none)?;
        let transaction = site.database.count(&mut client).await.map_err(none)?;
        rights(&transaction)
            .await
            .and_then(|rights| rights.check_end())
            .map_err(none)?;
        sessions::find(&transaction, &filter, before)
            .await
            .map_err(none)?
    };
    let ended = sessions::end(&site.database, &found.ids).await?;
    Ok((ended, found.is_all))
}

pub(super) async fn result(
    State(site): State<Arc<Site>>,
    base: Base,
    headers: HeaderMap,
    query: Pairs,
) -> Response {
    let frame = Frame::new(&site, base, &headers, "sessions");
    let count = query.get("count").parse::<u64>().unwrap_or(0);
    let mut sentences = vec![match count {
        0 => "No active session was left to end.".to_owned(),
        1 => "Its next request finds no session.".to_owned(),
        _ => "Their next requests find no session.".to_owned(),
    }];
    if !query.get("more").is_empty() {
        sentences.push(format!(
            "One form ends at most {} sessions. Search again to end the others.",
            number(MOST as u64)
        ));
    }
    let verb = if count == 1 { "has" } else { "have" };
    let page = EndedPage {
        frame: &frame,
        title: format!("{} {verb} ended", counted(count, "session")),
        sentences,
    };
    frame.page(StatusCode::OK, &page)
}
