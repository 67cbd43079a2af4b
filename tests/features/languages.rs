//! Languages: the API called from Python and Node, with the types that are usual there.

use qsessions_testkit::{Database, Users};
use std::path::{Path, PathBuf};
use std::process::Command;

const BIGINTS: (&str, &[&str]) = ("bigint", &["9007199254740993", "1"]);
const INTEGERS: (&str, &[&str]) = ("integer", &["2147483647", "1"]);
const UUIDS: (&str, &[&str]) = (
    "uuid",
    &[
        "7d444840-9dc0-4ef0-8f2b-1d4d0e3c5a11",
        "7d444840-9dc0-4ef0-8f2b-1d4d0e3c5a12",
    ],
);
const TEXTS: (&str, &[&str]) = ("text", &["42", "ann@example.com"]);

/// A path relative to the folder of this crate.
fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The path in a variable of scripts/env, or the one that scripts/setup creates.
fn from_environment(variable: &str, made: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| here(made), PathBuf::from)
}

pub(crate) fn python() -> Command {
    let mut interpreter = from_environment("QSESSIONS_PYTHON", "../.build/venv/bin/python");
    if !interpreter.exists() {
        interpreter = "python3".into();
    }
    let mut command = Command::new(interpreter);
    // Python must not write to the repository.
    command.arg("-B");
    command
}

fn node() -> Command {
    let mut command = Command::new("node");
    let modules = from_environment("NODE_PATH", "../.build/node/node_modules");
    command.env("NODE_PATH", modules);
    command
}

/// Fails with a clear message if the driver cannot be loaded.
pub(crate) fn require(mut interpreter: Command, load: [&str; 2], what: &str) {
    let output = interpreter.args(load).output();
    assert!(
        output.is_ok_and(|output| output.status.success()),
        "this test needs {what}: run `scripts/setup test`, which installs it, and `. scripts/env`, which names it \
         (tried: {interpreter:?})"
    );
}

/// Runs a script that connects to a database.
pub(crate) fn run(mut interpreter: Command, script: &str, database: &Database, arguments: &[&str]) {
    // Variables of the environment must not decide where the script connects.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            interpreter.env_remove(name);
        }
    }
    interpreter
        .env("PGHOST", database.server().folder())
        .env("PGDATABASE", database.name())
        .env("PGUSER", "postgres")
        // A statement that hangs must become an error.
        .env("PGOPTIONS", "-c statement_timeout=60s")
        .arg(here(script))
        .args(arguments);
    let output = interpreter.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && printed.ends_with("done\n"),
        "{script} failed ({}):\n{printed}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs a script on a database with this users table, and passes it the ids of the users.
async fn run_with_users(
    interpreter: Command,
    script: &str,
    (key_type, users): (&'static str, &'static [&'static str]),
) {
    let database = Database::with(Users::Keyed(key_type, users)).await;
    let arguments = [&[key_type], users].concat();
    run(interpreter, script, &database, &arguments);
}

async fn run_python(users: (&'static str, &'static [&'static str])) {
    require(
        python(),
        ["-c", "import asyncpg, psycopg"],
        "Python with psycopg 3 and asyncpg",
    );
    run_with_users(python(), "python/contract.py", users).await;
    run_with_users(python(), "python/visitors.py", users).await;
    run_with_users(python(), "python/asynchronous.py", users).await;
}

async fn run_node(users: (&'static str, &'static [&'static str])) {
    require(node(), ["-e", "require('pg')"], "Node with the module pg");
    run_with_users(node(), "node/contract.mjs", users).await;
    run_with_users(node(), "node/visitors.mjs", users).await;
}

#[tokio::test]
async fn python_calls_the_api_with_bigint_users() {
    run_python(BIGINTS).await;
}

#[tokio::test]
async fn python_calls_the_api_with_integer_users() {
    run_python(INTEGERS).await;
}

#[tokio::test]
async fn python_calls_the_api_with_uuid_users() {
    run_python(UUIDS).await;
}

#[tokio::test]
async fn python_calls_the_api_with_text_users() {
    run_python(TEXTS).await;
}

#[tokio::test]
async fn node_calls_the_api_with_bigint_users() {
    run_node(BIGINTS).await;
}

#[tokio::test]
async fn node_calls_the_api_with_integer_users() {
    run_node(INTEGERS).await;
}

#[tokio::test]
async fn node_calls_the_api_with_uuid_users() {
    run_node(UUIDS).await;
}

#[tokio::test]
async fn node_calls_the_api_with_text_users() {
    run_node(TEXTS).await;
}
