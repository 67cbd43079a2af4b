//! The style sheet and the script.

use axum::Router;
use axum::http::header;
use axum::routing::get;

pub(crate) fn routes() -> Router {
    Router::new()
        .route(
            "/assets/console.css",
            get(async || {
                (
                    [
                        (header::CONTENT_TYPE, "text/css; charset=utf-8"),
                        (header::CACHE_CONTROL, "max-age=300"),
                    ],
                    include_str!("../assets/console.css"),
                )
            }),
        )
        .route(
            "/assets/live.js",
            get(async || {
                (
                    [
                        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
                        (header::CACHE_CONTROL, "max-age=300"),
                    ],
                    include_str!("../assets/live.js"),
                )
            }),
        )
}
