//! Helpers for several test files.

pub(crate) mod listener;
pub(crate) mod mmdb;
pub(crate) mod roles;
pub(crate) mod waiting;

use qsessions_testkit::Installation;
use serde_json::Value;
use std::future::poll_fn;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Config, Error, NoTls, Row};
use uuid::Uuid;

/// The arguments of a statement.
pub(crate) type Arguments<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A session that a test has just begun.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    pub(crate) key: String,
    pub(crate) id: Uuid,
}

/// Begins a session with the arguments in `call`, as SQL text: `user_id => 1, ttl => '1 hour'`.
pub(crate) async fn begin(client: &Client, call: &str) -> Begun {
    let statement = format!("SELECT key, id FROM qsessions.create_session({call})");
    begun(&client.query_one(&statement, &[]).await.unwrap())
}

pub(crate) fn begun(row: &Row) -> Begun {
    Begun {
        key: row.get("key"),
        id: row.get("id"),
    }
}

/// Whether the PostgreSQL under test lacks an extension that a test needs. If so, the test has to
/// return, and is counted as skipped.
pub(crate) fn is_missing(extension: &str) -> bool {
    let installation = Installation::find().unwrap();
    let is_missing = !installation.has_extension(extension);
    if is_missing {
        let major = installation.major();
        skipped(&format!(
            "there is no {extension} for PostgreSQL {major} here"
        ));
    }
    is_missing
}

/// Reports that a test was skipped; `scripts/test` counts these lines. They are not captured, unlike
/// what macros print.
pub(crate) fn skipped(reason: &str) {
    let thread = std::thread::current();
    let line = format!("SKIPPED {}: {reason}\n", thread.name().unwrap_or_default());
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// The single row that a statement returns.
pub(crate) async fn row(client: &Client, statement: &str, arguments: Arguments<'_>) -> Row {
    client.query_one(statement, arguments).await.unwrap()
}

/// Whether the key has a live session.
pub(crate) async fn alive(client: &Client, key: &str) -> bool {
    let rows = client
        .query("SELECT FROM qsessions.load_session($1)", &[&key])
        .await
        .unwrap();
    let exists: bool = row(client, "SELECT qsessions.session_exists($1)", &[&key])
        .await
        .get(0);
    assert_eq!(rows.len() == 1, exists);
    exists
}

/// The error of a statement that must fail.
pub(crate) async fn failure(client: &Client, statement: &str, arguments: Arguments<'_>) -> Failure {
    match client.query(statement, arguments).await {
        Ok(rows) => panic!(
            "{statement} returned {} rows instead of an error",
            rows.len()
        ),
        Err(error) => Failure::of(&error),
    }
}

/// An error as a client receives it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) detail: String,
    pub(crate) hint: String,
}

impl Failure {
    pub(crate) fn of(error: &Error) -> Self {
        let error = error
            .as_db_error()
            .unwrap_or_else(|| panic!("the error is not from the server: {error}"));
        let text = |part: Option<&str>| part.unwrap_or_default().to_owned();
        Self {
            code: error.code().code().to_owned(),
            message: error.message().to_owned(),
            detail: text(error.detail()),
            hint: text(error.hint()),
        }
    }
}

/// The first column of the rows of a query, as text.
pub(crate) async fn texts(client: &Client, query: &str) -> Vec<String> {
    let rows = client.query(query, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Adds expired anonymous sessions. The last of them expired an hour ago, the others one after the
/// other before that.
pub(crate) async fn add_expired(client: &Client, count: i32) {
    client
        .execute(
            "INSERT INTO qsessions.session (id, digest, expires_at)
             SELECT pg_catalog.gen_random_uuid(), '', pg_catalog.now() - pg_catalog.make_interval(hours => n)
             FROM pg_catalog.generate_series(1, $1::pg_catalog.int4) AS n",
            &[&count],
        )
        .await
        .unwrap();
}

/// The number of rows in the session table.
pub(crate) async fn sessions(client: &Client) -> i64 {
    row(client, "SELECT count(*) FROM qsessions.session", &[])
        .await
        .get(0)
}

/// A connection that collects notices.
pub(crate) struct Listening {
    pub(crate) client: Client,
    notices: Arc<Mutex<Vec<String>>>,
}

impl Listening {
    pub(crate) async fn to(config: &Config) -> Self {
        let (client, mut connection) = config.connect(NoTls).await.unwrap();
        let notices = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&notices);
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await
            {
                if let AsyncMessage::Notice(notice) = message {
                    heard.lock().unwrap().push(notice.message().to_owned());
                }
            }
        });
        Self { client, notices }
    }

    /// The notices since the last call. The server sends a statement's notices before its result.
    pub(crate) fn notices(&self) -> Vec<String> {
        std::mem::take(&mut *self.notices.lock().unwrap())
    }
}

/// The data of a live session.
pub(crate) async fn data(client: &Client, key: &str) -> Value {
    row(
        client,
        "SELECT data FROM qsessions.load_session($1)",
        &[&key],
    )
    .await
    .get(0)
}
