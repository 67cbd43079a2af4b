//! Django: the session engine in the documentation works with Django over HTTP.

use crate::languages::{python, require, run};
use qsessions_testkit::{Database, Users};
use std::path::Path;

#[tokio::test]
async fn the_session_engine_in_the_documentation_works_with_django() {
    require(
        python(),
        ["-c", "import django, psycopg"],
        "Python with Django and psycopg 3",
    );
    let database = Database::with(Users::Nothing).await;
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/other-languages.md");
    let page = page.canonicalize().unwrap().display().to_string();
    run(python(), "python/engine.py", &database, &[&page]);
}
