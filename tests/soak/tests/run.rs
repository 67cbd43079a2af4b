//! The randomised run in short; `make soak` is the long one.

use qsessions_soak::run::{Options, run};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::Mutex;

/// One after the other: each fills the machine.
static TURN: Mutex<()> = Mutex::const_new(());

async fn no_load_is_too_old(seconds: u64, is_preloaded: bool) {
    let _turn = TURN.lock().await;
    let options = Options {
        program: PathBuf::from(env!("CARGO_BIN_EXE_qsessions-soak")),
        seed: fastrand::u64(..1 << 32),
        duration: Duration::from_secs(seconds),
        is_preloaded,
    };
    match run(options).await {
        Ok(report) => println!("{report}"),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_load_is_too_old_with_the_ring() {
    no_load_is_too_old(20, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_load_is_too_old_without_the_ring() {
    no_load_is_too_old(10, false).await;
}
