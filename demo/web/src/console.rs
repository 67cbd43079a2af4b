//! The console, behind the login of the shop.

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use qsessions::deadpool_postgres::Pool;
use qsessions_axum::CurrentUser;
use qsessions_console::Options;

use crate::{pages, people};

pub(crate) fn routes(pool: Pool) -> Router {
    qsessions_console::router(pool, Options::new().secure_cookie(false))
        .layer(middleware::from_fn(require_administrator))
}

/// Visitors who are not signed in are sent to the sign-in page, which leads back to the console.
async fn require_administrator(
    CurrentUser(user): CurrentUser<i64>,
    request: Request,
    next: Next,
) -> Response {
    match people::by_id(user).is_some_and(|account| account.is_administrator) {
        true => next.run(request).await,
        false => (StatusCode::FORBIDDEN, pages::not_an_administrator()).into_response(),
    }
}
