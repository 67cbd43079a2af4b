//! Turns the file of rules into static tables, so that nothing is read or built at run time.

#[path = "build/models.rs"]
mod models;
#[path = "build/read.rs"]
mod read;
#[path = "build/write.rs"]
mod write;

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

const RULES: &str = "rules/user-agents.rules";

/// The lists that others have made, then the folder of our own.
const LISTS: [&str; 3] = [
    "data/google-play.models",
    "data/google-play-2025.models",
    "data/apple.models",
];
const MODELS: &str = "data/models";
/// Names of makers: our own list, which comes last, so that it counts.
const MAKERS: [&str; 2] = ["data/makers-listed.tsv", "data/makers.tsv"];
/// Words that tell no maker.
const WORDS: &str = "data/not-models.txt";

fn main() -> ExitCode {
    for path in [RULES, "build", "src/bucket.rs", "src/model_key.rs", "data"] {
        println!("cargo::rerun-if-changed={path}");
    }
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
    let Some(models) = models() else {
        return ExitCode::FAILURE;
    };
    let folder = env::var_os("OUT_DIR").expect("cargo says where to write");
    let write = |name: &str, bytes: &[u8]| fs::write(Path::new(&folder).join(name), bytes);
    let (automaton, tables) = models.tables();
    let written = write("rules.rs", write::tables(&rules).as_bytes())
        .and_then(|()| write("models.fst", &automaton))
        .and_then(|()| write("models.rs", tables.as_bytes()));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error=the tables cannot be written: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The models of all files. Prints errors.
fn models() -> Option<models::Models> {
    let mut models = models::Models::default();
    let mut paths: Vec<_> = LISTS.iter().map(|path| (path.into(), false)).collect();
    let mut own: Vec<_> = fs::read_dir(MODELS)
        .into_iter()
        .flatten()
        .filter_map(|file| Some(file.ok()?.path()))
        .collect();
    own.sort();
    paths.extend(own.into_iter().map(|path| (path, true)));
    let mut is_good = true;
    for (path, is_own) in paths {
        let errors = match fs::read_to_string(&path) {
            Ok(text) => models.read(&text, is_own).err().unwrap_or_default(),
            Err(error) => vec![read::Error {
                line: 1,
                message: error.to_string(),
            }],
        };
        for error in errors {
            is_good = false;
            let path = path.display();
            println!("cargo::error={path}:{}: {}", error.line, error.message);
        }
    }
    for path in MAKERS {
        models.read_makers(&fs::read_to_string(path).unwrap_or_default());
    }
    match fs::read_to_string(WORDS) {
        Ok(text) => models.read_words(&text),
        Err(error) => {
            is_good = false;
            println!("cargo::error={WORDS} cannot be read: {error}");
        }
    }
    is_good.then_some(models)
}
