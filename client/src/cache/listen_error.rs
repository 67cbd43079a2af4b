//! Why the listener does not hear of changes any more.

use crate::error::{Error, ErrorKind};

#[derive(Debug, Clone)]
pub(crate) struct ListenError {
    pub(crate) message: String,
    /// Another attempt will fail in the same way.
    pub(crate) permanent: bool,
}

impl ListenError {
    pub(crate) fn transient(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            permanent: false,
        }
    }

    pub(crate) fn permanent(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            permanent: true,
        }
    }

    pub(crate) fn other_origin(permanent: bool) -> Self {
        Self {
            message: "the pool leads to another server or database than the listener: \
                      LISTEN needs a connection to the same server and database"
                .to_owned(),
            permanent,
        }
    }

    pub(crate) fn not_in_cluster(permanent: bool) -> Self {
        Self {
            message:
                "the pool's server does not know this server: give each listener the address of a \
                      server that Citus has added, and the same database"
                    .to_owned(),
            permanent,
        }
    }

    pub(crate) fn deaf() -> Self {
        Self::permanent(
            "the listener does not hear what the pool announces: LISTEN needs a connection of its \
             own to the same server and database, and not through a pooler in transaction mode \
             (give the listener the server's own address)",
        )
    }

    pub(crate) fn of_the_pool(error: &Error) -> Self {
        Self {
            message: format!("the pool cannot announce: {}", error.with_cause()),
            // The pool may be waiting for a server that is not there yet.
            permanent: matches!(error, Error::Database(_)) && is_permanent(error),
        }
    }
}

impl From<tokio_postgres::Error> for ListenError {
    fn from(error: tokio_postgres::Error) -> Self {
        let error = Error::from(error);
        Self {
            permanent: is_permanent(&error),
            message: error.with_cause(),
        }
    }
}

/// The server will refuse the statement again. It may not while it starts, stops, or has too many
/// connections.
fn is_permanent(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Caller | ErrorKind::Setup)
}
