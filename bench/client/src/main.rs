//! Measures the client; `bench/run client` starts what it needs and says where that is in the
//! environment.

mod cached;
mod environment;
mod misses;
mod report;
mod revoke;
mod statements;
mod turns;
mod visits;

use std::error::Error;
use std::process::ExitCode;

use tokio::runtime::Builder;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let part = std::env::args().nth(1).unwrap_or_default();
    match run(&part) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("{part}: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether everything is as fast as wanted.
fn run(part: &str) -> Result<bool> {
    let many_threads = Builder::new_multi_thread().enable_all().build()?;
    match part {
        "misses" => many_threads.block_on(misses::measure()),
        "statements" => many_threads.block_on(statements::measure()),
        // One core, that is, one thread for everything in this process.
        "cached" => Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(cached::measure()),
        "revoke" => many_threads.block_on(revoke::measure()),
        "visits" => many_threads.block_on(visits::measure()),
        "watch" => many_threads.block_on(revoke::watch()).map(|()| true),
        other => Err(format!(
            "{other:?} is none of statements, misses, cached, revoke, visits, watch"
        )
        .into()),
    }
}
