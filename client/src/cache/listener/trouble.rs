//! What can go wrong with listening.

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
    pub(super) fn of_the_pool(error: crate::Error) -> Self {
        let Self {
            message,
            is_hopeless,
        } = match error {
            crate::Error::Database(error) => error.into(),
            other => Self::passing(other.to_string()),
        };
        Self {
            message: format!("the pool can't announce: {message}"),
            is_hopeless,
        }
    }
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        // What the server says of a statement it will say again, but not that it is starting, stopping, or has too many
        // connections.
        let is_hopeless = error.code().is_some_and(|code| {
            let class = &code.code()[..2];
            !matches!(class, "08" | "53" | "57" | "58" | "XX" | "40" | "25")
        });
        Self {
            message: crate::Error::from(error).to_string(),
            is_hopeless,
        }
    }
}
