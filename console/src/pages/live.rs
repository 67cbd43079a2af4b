//! Live counters, as server-sent events.

use crate::data::live;
use crate::site::Site;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How many pages receive live counters at a time.
const MOST: usize = 100;
/// How long a stream lasts. The browser asks again, and is then refused if it may no longer.
const LIFETIME: Duration = Duration::from_secs(300);

static OPEN: AtomicUsize = AtomicUsize::new(0);

/// One of the streams that are open.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        if OPEN.fetch_add(1, Ordering::Relaxed) < MOST {
            return Some(Self);
        }
        OPEN.fetch_sub(1, Ordering::Relaxed);
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sends the counters whenever they have changed.
pub(super) async fn stream(State(site): State<Arc<Site>>) -> Response {
    let Some(place) = Place::take() else {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many pages are open.\n",
        )
            .into_response();
    };
    let ends = Instant::now() + LIFETIME;
    let events =
        futures_util::stream::unfold((site, place, None), move |(site, place, last)| async move {
            let mut is_first = last.is_none();
            loop {
                if !is_first {
                    tokio::time::sleep(site.options.live_interval).await;
                }
                is_first = false;
                if Instant::now() > ends {
                    return None;
                }
                let text = match site.live.get(live::read(&site.database)).await {
                    Ok(live) => serde_json::to_string(&live).ok(),
                    Err(_) => None,
                };
                let text = text.unwrap_or_else(|| "null".to_owned());
                if last.as_ref() != Some(&text) {
                    let event = Ok::<_, std::convert::Infallible>(Event::default().data(&text));
                    return Some((event, (site, place, Some(text))));
                }
            }
        });
    Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response()
}
