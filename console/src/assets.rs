//! The style sheet, the script and the icon.

use axum::Router;
use axum::http::header;
use axum::routing::{MethodRouter, get};

const STYLE: &str = "/assets/console.css";
const SCRIPT: &str = "/assets/live.js";
const ICON: &str = "/assets/icon.svg";
/// Where the files are.
pub(crate) const PATHS: [&str; 3] = [STYLE, SCRIPT, ICON];

pub(crate) fn routes() -> Router {
    let style = include_str!("../assets/console.css");
    let script = include_str!("../assets/live.js");
    let icon = include_str!("../assets/icon.svg");
    Router::new()
        .route(STYLE, file("text/css; charset=utf-8", style))
        .route(SCRIPT, file("text/javascript; charset=utf-8", script))
        .route(ICON, file("image/svg+xml", icon))
}

fn file(kind: &'static str, content: &'static str) -> MethodRouter {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "max-age=300"),
    ];
    get(async move || (headers, content))
}
