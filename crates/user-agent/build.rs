//! Turns the file of rules into static tables, so that nothing is read or built at run time.

#[path = "build/read.rs"]
mod read;
#[path = "build/write.rs"]
mod write;

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

const RULES: &str = "rules/user-agents.rules";

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed={RULES}");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=src/bucket.rs");
    let Ok(text) = fs::read_to_string(RULES) else {
        println!("cargo::error={RULES} cannot be read");
        return ExitCode::FAILURE;
    };
    let rules = match read::rules(&text) {
        Ok(rules) => rules,
        Err(errors) => {
            for error in errors {
                println!("cargo::error={RULES}:{}: {}", error.line, error.message);
            }
            return ExitCode::FAILURE;
        }
    };
    let folder = env::var_os("OUT_DIR").expect("cargo says where to write");
    match fs::write(Path::new(&folder).join("rules.rs"), write::tables(&rules)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error=the tables cannot be written: {error}");
            ExitCode::FAILURE
        }
    }
}
