//! The run over the session table in short, and whether it finds what is broken on purpose.

use qsessions_soak::rows::fault::Fault;
use qsessions_soak::rows::{Options, run, run_once};
use std::time::Duration;

fn options(seconds: u64) -> Options {
    Options {
        seed: fastrand::u64(..1 << 32),
        duration: Duration::from_secs(seconds),
        is_preloaded: true,
        is_disturbed: true,
        fault: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_live_row_is_lost_and_none_that_is_dead_returns() {
    match run(options(12)).await {
        Ok(report) => println!("{report}"),
        Err(error) => panic!("{error}"),
    }
}

/// The run finds this fault, and describes it by this text.
async fn finds(fault: Fault, text: &str) {
    let options = Options {
        is_disturbed: false,
        fault: Some(fault),
        ..options(4)
    };
    let report = run_once(options).await.unwrap();
    let is_found = |violation: &String| violation.contains(text);
    assert!(report.violations.iter().any(is_found), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_that_comes_too_early_is_found() {
    finds(Fault::EarlyPurge, "was lost while it was alive").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_is_undone_is_found() {
    finds(Fault::Revival, "was found alive after its end").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_save_that_is_lost_is_found() {
    finds(Fault::LostSave, "but was left with").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_that_leaves_expired_rows_is_found() {
    finds(Fault::KeptRows, "which had expired").await;
}
