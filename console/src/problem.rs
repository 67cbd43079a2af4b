//! What can go wrong, said so that an administrator knows what to do.

use axum::http::StatusCode;
use qsessions::deadpool_postgres::PoolError;

/// Why a page, or a part of it, cannot be shown.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) title: &'static str,
    /// What has happened, and what to do.
    pub(crate) sentences: String,
    /// SQL that mends it.
    pub(crate) sql: Option<&'static str>,
    /// What the server says, with its SQLSTATE.
    pub(crate) reported: Option<String>,
    pub(crate) sqlstate: Option<Box<str>>,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        title: &'static str,
        sentences: impl Into<String>,
    ) -> Self {
        Self {
            status,
            title,
            sentences: sentences.into(),
            sql: None,
            reported: None,
            sqlstate: None,
        }
    }

    pub(crate) fn with_sql(mut self, sql: &'static str) -> Self {
        self.sql = Some(sql);
        self
    }

    pub(crate) fn no_extension() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The extension is missing",
            "The extension qsessions is not installed in this database. Connect the console to the \
             database that has the sessions, or have a superuser create the extension:",
        )
        .with_sql("CREATE EXTENSION qsessions;")
    }

    pub(crate) fn no_table() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The session table is missing",
            "The extension qsessions is installed, but there is no session table yet. Have the role \
             that is to own the table create it, for your table of users:",
        )
        .with_sql("SELECT qsessions.create_session_table('users');")
    }

    pub(crate) fn no_events() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "There is no table of events",
            "What has happened to sessions is recorded in the table of events, which this database does \
             not have. To record sign-ins and ends of sessions from now on, have the owner of the \
             session table create it:",
        )
        .with_sql("SELECT qsessions.create_event_table();")
    }

    pub(crate) fn events_denied() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "The role may not read events",
            "The role that the console connects as may not read the table of events. Its owner can \
             allow it, with the name of the role in place of shop_console:",
        )
        .with_sql("GRANT SELECT, INSERT ON qsessions.session_event TO shop_console;")
    }

    pub(crate) fn standby() -> Self {
        Self::of_sqlstate("25006")
    }

    pub(crate) fn end_denied() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "The role may not end sessions",
            "The role that the console connects as may read sessions, but not delete them. The owner of \
             the session table can allow it, with the name of the role in place of shop_console:",
        )
        .with_sql("GRANT DELETE, UPDATE (last_seen_at) ON qsessions.session TO shop_console;")
    }

    pub(crate) fn locations_denied() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "The role may not look up locations",
            "The role that the console connects as may not look up locations.",
        )
    }

    pub(crate) fn invalid(sentences: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "The search is not valid",
            sentences,
        )
    }

    /// Whether the person who asked can mend it.
    pub(crate) fn is_invalid(&self) -> bool {
        self.status == StatusCode::BAD_REQUEST
    }

    fn no_connection(reported: String) -> Self {
        Self {
            reported: Some(reported),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "The database does not answer",
                "The console has no connection to PostgreSQL. Check that the server is running and \
                 accepts connections, then load this page again.",
            )
        }
    }

    fn of_server(error: &tokio_postgres::Error) -> Self {
        let Some(server) = error.as_db_error() else {
            return Self::no_connection(cause(error));
        };
        let code = server.code().code();
        let problem = Self::of_sqlstate(code);
        let hint = server.hint().map(|hint| format!(" {hint}"));
        // The detail is left out: it can quote rows.
        Self {
            reported: Some(format!(
                "{} (SQLSTATE {code}).{}",
                server.message(),
                hint.unwrap_or_default()
            )),
            sqlstate: Some(code.into()),
            ..problem
        }
    }

    fn of_sqlstate(code: &str) -> Self {
        let (status, title, sentences) = match code {
            "42501" => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "The role lacks a privilege",
                "The role that the console connects as may not do this. Its documentation lists the \
                 privileges that it needs.",
            ),
            "57014" => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The query took too long",
                "The console has cancelled the query, so that it does not burden the server. Narrow \
                 the search by a user, a network or active sessions, or try again later.",
            ),
            "55P03" => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The sessions are locked",
                "Another transaction has locked a session for so long that the console has given up. \
                 Try again.",
            ),
            "25006" => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The database is read-only",
                "This server is a standby, or the transactions of the role are read-only. To end \
                 sessions, connect the console to the primary.",
            ),
            "3D000" | "28000" | "28P01" => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The database refuses the console",
                "The server has refused the database, the role or its password. Check how the console \
                 connects.",
            ),
            "53300" => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The database has no connection left",
                "The server has as many connections as it allows. Try again later.",
            ),
            "3F000" | "42883" | "42704" | "42P01" | "42703" => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "The extension does not fit",
                "The extension qsessions is missing in this database, or is older than the console. \
                 Update it with ALTER EXTENSION qsessions UPDATE.",
            ),
            _ => match code.get(..2).unwrap_or_default() {
                "40" => (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "Another transaction was in the way",
                    "The server has cancelled the transaction in favor of another one. Try again.",
                ),
                "08" | "53" | "57" | "58" => (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "The database cannot answer now",
                    "The server is starting, stopping or short of resources. Try again later.",
                ),
                _ => (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "The database reports an error",
                    "The server has refused what the console has asked for. Its log has the details.",
                ),
            },
        };
        Self::new(status, title, sentences)
    }
}

impl From<tokio_postgres::Error> for Problem {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::of_server(&error)
    }
}

impl From<PoolError> for Problem {
    fn from(error: PoolError) -> Self {
        Self::of_pool(&error)
    }
}

impl Problem {
    fn of_pool(error: &PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::of_server(error),
            PoolError::Timeout(_) => Self::no_connection(
                "All connections of the console are in use, or the server does not answer in time."
                    .to_owned(),
            ),
            error => Self::no_connection(error.to_string()),
        }
    }
}

impl From<qsessions::Error> for Problem {
    fn from(error: qsessions::Error) -> Self {
        match &error {
            qsessions::Error::InvalidArgument { message, hint } => Self::invalid(match hint {
                Some(hint) => format!("{message}. {hint}"),
                None => format!("{message}."),
            }),
            qsessions::Error::Pool(error) => Self::of_pool(error),
            qsessions::Error::Database(error) => Self::of_server(error),
            error => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The database reports an error",
                error.to_string(),
            ),
        }
    }
}

/// The innermost cause says what has happened.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sqlstate_says_what_to_do() {
        for (code, status, part) in [
            ("42501", 500, "privilege"),
            ("57014", 503, "Narrow the search"),
            ("55P03", 503, "Try again"),
            ("25006", 503, "primary"),
            ("28P01", 503, "password"),
            ("53300", 503, "connections"),
            ("42883", 500, "ALTER EXTENSION"),
            ("40P01", 503, "Try again"),
            ("57P03", 503, "starting"),
            ("XX000", 500, "log"),
        ] {
            let problem = Problem::of_sqlstate(code);
            assert_eq!(problem.status.as_u16(), status, "{code}");
            assert!(problem.sentences.contains(part), "{code}");
        }
    }
}
