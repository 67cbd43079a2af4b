//! The pages.

mod end;
mod health;
mod live;
mod overview;
mod session;
mod sessions;
mod user;

use crate::problem::Problem;
use crate::site::{Base, Frame, Site};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<Site>> {
    Router::new()
        .route("/", get(overview::show))
        .route("/live", get(live::stream))
        .route("/sessions", get(sessions::show))
        .route("/end", get(end::confirm).post(end::carry_out))
        .route("/ended", get(end::result))
        .route("/session/{id}", get(session::show))
        .route("/session/{id}/end", post(session::end))
        .route("/user", get(user::show))
        .route("/user/end", post(user::end))
        .route("/health", get(health::show))
        .fallback(not_found)
}

async fn not_found(State(site): State<Arc<Site>>, base: Base, headers: HeaderMap) -> Response {
    Frame::new(&site, base, &headers, "").problem(&Problem::new(
        StatusCode::NOT_FOUND,
        "There is no such page",
        "The address does not lead to a page of the console.",
    ))
}
