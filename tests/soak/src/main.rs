//! `qsessions-soak SECONDS SEED ring|notify` performs a run and prints a report. It starts itself
//! again for each process of the run. `qsessions-soak rows SECONDS SEED ring|notify` is the run over
//! the session table.

use std::process::ExitCode;
use std::time::Duration;

use qsessions_soak::{Error, Result, rows, run, worker};

fn main() -> ExitCode {
    match begin() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn begin() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    match arguments[..] {
        ["worker", options] => runtime.block_on(worker::run(serde_json::from_str(options)?)),
        [seconds, seed, mode @ ("ring" | "notify")] => {
            let options = run::Options {
                program: std::env::current_exe()?,
                seed: seed.parse()?,
                duration: Duration::from_secs(seconds.parse()?),
                is_preloaded: mode == "ring",
            };
            let report = runtime.block_on(run::run(options))?;
            println!("{report}");
            Ok(())
        }
        ["rows", seconds, seed, mode @ ("ring" | "notify")] => {
            let options = rows::Options {
                seed: seed.parse()?,
                duration: Duration::from_secs(seconds.parse()?),
                is_preloaded: mode == "ring",
                is_disturbed: true,
                fault: None,
            };
            println!("{}", runtime.block_on(rows::run(options))?);
            Ok(())
        }
        _ => Err(Error::from(
            "usage: qsessions-soak [rows] SECONDS SEED ring|notify",
        )),
    }
}
