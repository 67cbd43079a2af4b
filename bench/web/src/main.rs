//! One handler that reads the session, behind each of several layers. `bench/web.py` starts it.

mod call;
mod fill;
mod layers;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The member of the data that the handler answers with.
const MEMBER: &str = "theme";

const USAGE: &str =
    "usage: qsessions-web-bench fill FOLDER | serve LAYER | call LAYER COOKIES PASSES";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = Builder::new_multi_thread()
        .worker_threads(setting("BENCH_WORKERS")?.parse()?)
        .enable_all()
        .build()?;
    match arguments[..] {
        ["fill", folder] => runtime.block_on(fill::fill(Path::new(folder))),
        ["serve", layer] => runtime.block_on(serve(layer)),
        ["call", layer, cookies, passes] => {
            runtime.block_on(call::call(layer, Path::new(cookies), passes.parse()?))
        }
        _ => Err(USAGE.into()),
    }
}

fn setting(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| format!("{name} is not set").into())
}

/// Prints the port on which it listens.
async fn serve(layer: &str) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let app = Router::new()
        .route("/count", get(count))
        .merge(layers::app(layer).await?);
    println!("{}", listener.local_addr()?.port());
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .await?;
    Ok(())
}

static READ: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);

/// How many requests had the right answer, and how many had none.
async fn count() -> String {
    format!(
        "{} {}",
        READ.load(Ordering::Relaxed),
        FAILED.load(Ordering::Relaxed)
    )
}

/// The same answer of all handlers.
fn answer(member: Option<String>) -> std::result::Result<String, StatusCode> {
    match member {
        Some(member) => {
            READ.fetch_add(1, Ordering::Relaxed);
            Ok(member)
        }
        None => {
            FAILED.fetch_add(1, Ordering::Relaxed);
            Err(StatusCode::UNAUTHORIZED)
        }
    }
}
