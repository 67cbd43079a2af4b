//! The link to a server that notifies the cache of changes.

use std::time::SystemTime;

/// One database of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// When the server was started. This tells servers apart.
    pub(crate) started_at: SystemTime,
    pub(crate) database: String,
}

/// The state of the link, and with it whether the cache may take in and give out sessions.
///
/// The numbers that each load reads are atomics beside it:
/// [`Freshness`](super::freshness::Freshness) says up to when changes are known, and is nothing
/// unless the link is serving.
#[derive(Debug, Clone)]
pub(crate) enum Link {
    /// Changes are not heard. Nothing that is read is kept.
    Down {
        error: String,
        /// Another attempt will fail in the same way.
        permanent: bool,
    },
    /// Changes are heard, and what is read is kept. No probe has shown yet that they are the
    /// changes of the pool's database.
    Listening { origin: Origin, error: String },
    /// Probes come back. While the last one is recent enough, loads are answered from memory.
    Serving {
        origin: Origin,
        error: Option<String>,
    },
}

impl Link {
    pub(crate) fn connecting() -> Self {
        Self::Down {
            error: "the listener is connecting".to_owned(),
            permanent: false,
        }
    }

    /// Whether changes are heard.
    pub(crate) fn is_up(&self) -> bool {
        !matches!(self, Self::Down { .. })
    }

    /// Whether another attempt will fail too.
    pub(crate) fn is_permanently_down(&self) -> bool {
        matches!(
            self,
            Self::Down {
                permanent: true,
                ..
            }
        )
    }

    pub(crate) fn is_serving(&self) -> bool {
        matches!(self, Self::Serving { .. })
    }

    /// Where changes are heard from.
    pub(crate) fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Down { .. } => None,
            Self::Listening { origin, .. } | Self::Serving { origin, .. } => Some(origin),
        }
    }

    pub(crate) fn error(&self) -> Option<&str> {
        match self {
            Self::Down { error, .. } | Self::Listening { error, .. } => Some(error),
            Self::Serving { error, .. } => error.as_deref(),
        }
    }

    /// Something went wrong that does not end the link.
    pub(crate) fn set_error(&mut self, message: String) {
        match self {
            Self::Down { error, .. } | Self::Listening { error, .. } => *error = message,
            Self::Serving { error, .. } => *error = Some(message),
        }
    }

    /// The first probe has come back, or another one after an error.
    pub(crate) fn serve(&mut self) {
        match self {
            Self::Listening { origin, .. } => {
                *self = Self::Serving {
                    origin: origin.clone(),
                    error: None,
                };
            }
            Self::Serving { error, .. } => *error = None,
            Self::Down { .. } => {}
        }
    }
}
