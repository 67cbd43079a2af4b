//! ASGI: the middleware in the documentation works with Starlette and FastAPI over HTTP.

use crate::languages::{python, require, run};
use qsessions_testkit::{Database, Users};
use std::path::Path;

#[tokio::test]
async fn the_middleware_in_the_documentation_works_with_starlette_and_fastapi() {
    require(
        python(),
        ["-c", "import asyncpg, fastapi, psycopg, starlette, uvicorn"],
        "Python with Starlette, FastAPI, uvicorn, asyncpg and psycopg 3",
    );
    let database = Database::with(Users::Nothing).await;
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/other-languages.md");
    let page = page.canonicalize().unwrap().display().to_string();
    run(python(), "python/asgi.py", &database, &[&page]);
}
