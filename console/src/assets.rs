//! The style sheet, the script and the icon.

use axum::Router;
use axum::http::header;
use axum::routing::{MethodRouter, get};

pub(crate) fn routes() -> Router {
    let style = include_str!("../assets/console.css");
    let script = include_str!("../assets/live.js");
    let icon = include_str!("../assets/icon.svg");
    Router::new()
        .route(
            "/assets/console.css",
            file("text/css; charset=utf-8", style),
        )
        .route(
            "/assets/live.js",
            file("text/javascript; charset=utf-8", script),
        )
        .route("/assets/icon.svg", file("image/svg+xml", icon))
}

fn file(kind: &'static str, content: &'static str) -> MethodRouter {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "max-age=300"),
    ];
    get(async move || (headers, content))
}
