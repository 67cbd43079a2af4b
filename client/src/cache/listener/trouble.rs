//! What can go wrong with listening.

use crate::Error;

/// Why nothing is heard any more.
pub(super) struct Trouble {
    pub(super) message: String,
    /// Whether it will be the same the next time.
    pub(super) is_hopeless: bool,
}

impl Trouble {
    pub(super) fn passing(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            is_hopeless: false,
        }
    }

    pub(super) fn lasting(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            is_hopeless: true,
        }
    }
}

impl Trouble {
    pub(super) fn of_the_pool(error: &Error) -> Self {
        Self {
            message: format!("the pool can't announce: {error}"),
            is_hopeless: matches!(error, Error::Database(error) if is_hopeless(error)),
        }
    }
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        Self {
            is_hopeless: is_hopeless(&error),
            message: Error::from(error).to_string(),
        }
    }
}

/// What the server says of a statement it will say again, but not that it is starting, stopping, or has too many connections.
fn is_hopeless(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| {
        let class = code.code().get(..2).unwrap_or_default();
        !matches!(class, "08" | "53" | "57" | "58" | "XX" | "40" | "25")
    })
}
