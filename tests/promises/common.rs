//! What several test files use.

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row};
use uuid::Uuid;

/// Arguments of a statement.
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

/// The row of a statement that gives one.
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
        Ok(rows) => panic!("{statement} gave {} rows, no error", rows.len()),
        Err(error) => Failure::of(&error),
    }
}

/// What a client learns of an error.
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
            .unwrap_or_else(|| panic!("not from the server: {error}"));
        let text = |part: Option<&str>| part.unwrap_or_default().to_owned();
        Self {
            code: error.code().code().to_owned(),
            message: error.message().to_owned(),
            detail: text(error.detail()),
            hint: text(error.hint()),
        }
    }
}
