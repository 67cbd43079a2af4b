//! The handler without a network, for a profiler.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use axum::body::Body;
use axum::extract::connect_info::ConnectInfo;
use axum::http::Request;
use axum::http::header::{COOKIE, HOST, USER_AGENT};
use tower::ServiceExt;

use crate::{Result, layers, setting};

/// Calls the handler with each cookie of a file in turn, and prints what a call of each pass takes.
pub(crate) async fn call(layer: &str, cookies: &Path, passes: u32) -> Result<()> {
    // As a server does, so that a call makes no routes.
    let app = layers::app(layer).await?.with_state(());
    let agent = setting("BENCH_USER_AGENT")?;
    let cookies = fs::read_to_string(cookies)?;
    let cookies: Vec<&str> = cookies.lines().collect();
    for pass in 1..=passes {
        let began = Instant::now();
        for cookie in &cookies {
            let request = Request::get("/")
                .header(HOST, "localhost")
                .header(USER_AGENT, &agent)
                .header(COOKIE, format!("{}={cookie}", layers::COOKIE))
                .extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1024))))
                .body(Body::empty())?;
            let response = app.clone().oneshot(request).await?;
            assert!(response.status().is_success(), "{}", response.status());
        }
        let nanos = began.elapsed().as_nanos() / cookies.len() as u128;
        println!("pass {pass}: {nanos} ns");
    }
    Ok(())
}
