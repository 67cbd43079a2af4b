//! A working session store to look at: `make demo`.
//!
//! Starts a PostgreSQL of its own with pg_cron, and shows everything that happens to sessions. With
//! `KEEP=1` the server keeps running, so that you can look around.

mod print;
mod server;
mod steps;
mod wait;

use std::env;
use std::process::ExitCode;

use print::{Headings, say, title};
use qsessions_testkit::Result;
use server::DemoServer;
use steps::Demo;

#[tokio::main]
async fn main() -> ExitCode {
    let result = tokio::select! {
        result = demo() => result,
        // The server is stopped when it is dropped, but not when this process is killed.
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe demo has failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> Result {
    let keep = env::var("KEEP").is_ok_and(|keep| keep == "1");
    title("qsessions: web sessions inside PostgreSQL");
    let mut headings = Headings::default();

    headings.next("A private PostgreSQL");
    let server = DemoServer::start(keep).await?;
    let mut demo = Demo::set_up(&server).await?;
    server.configure_geoip().await?;

    headings.next("Three users log in");
    demo.log_everybody_in().await?;
    demo.show_everybody().await?;

    headings.next("Two connections change one session at the same time");
    demo.change_from_two_connections().await?;

    headings.next("A key is rotated");
    demo.rotate_a_key().await?;

    headings.next("One session is revoked");
    demo.revoke_one_session().await?;

    headings.next("Log out everywhere else");
    demo.log_out_everywhere_else().await?;

    headings.next("A user is deleted");
    demo.delete_a_user().await?;

    headings.next("Sessions expire, and pg_cron purges them");
    demo.let_sessions_expire().await?;
    demo.wait_for_the_purge(&server).await?;

    headings.next("The remaining sessions");
    demo.show_what_is_left().await?;

    drop(demo);
    if keep {
        headings.next("Look around");
        server.keep()?;
    } else {
        headings.next("The end");
        server.stop()?;
        say(
            "The server is stopped and its files are removed. `make demo KEEP=1` leaves it running.",
        );
    }
    Ok(())
}
