//! What can go wrong with the session of a request.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use qsessions::ErrorKind;

/// What can go wrong with the session of a request.
///
/// As a response it has the status that [`status`](Self::status) says, and a short text without
/// details. With the feature `tracing`, the details are logged.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The session was ended while the request ran, by a logout or a revocation, or another request
    /// has given it a new key. Nothing was saved.
    #[error("the session has ended while the request ran")]
    Interrupted,

    /// The key of the session would change, or a session would begin, after the head of the
    /// response was sent. No cookie can be set then, so nothing was done.
    #[error("the head of the response is sent already, so that no cookie can be set")]
    HeadSent,

    /// No [`SessionLayer`](crate::SessionLayer) is around the handler.
    #[error("there is no session layer around this handler")]
    NoLayer,

    /// A member of the data is not of the type asked for, or cannot be written as JSON.
    #[error("a member of the session is not of the type asked for, or cannot be written as JSON")]
    Data(#[source] Arc<serde_json::Error>),

    /// The id of the user is not of the type asked for.
    #[error("the id of the user is not of the type asked for")]
    UserId,

    /// The database has failed, or refuses a value.
    #[error(transparent)]
    Store(#[from] qsessions::Error),
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Data(Arc::new(error))
    }
}

impl Error {
    /// The status of the response: 401 if the session has ended, 503 if the database cannot answer
    /// now, otherwise 500.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Interrupted => StatusCode::UNAUTHORIZED,
            Self::Store(error) if error.kind() == ErrorKind::Unavailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

#[cfg(feature = "tracing")]
impl Error {
    /// What the log needs to know beside the error. The details of an error of PostgreSQL may quote
    /// the row, and so the data of the session; its message does not.
    fn cause(&self) -> Option<String> {
        match self {
            Self::Store(qsessions::Error::Pool(error)) => Some(error.to_string()),
            Self::Store(qsessions::Error::Database(error)) => Some(match error.as_db_error() {
                Some(error) => error.message().to_owned(),
                None => error.to_string(),
            }),
            _ => None,
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = self.status();
        let text = match &self {
            Self::Interrupted => "Your session has ended. Please sign in again.",
            _ if status == StatusCode::SERVICE_UNAVAILABLE => "Please try again in a moment.",
            _ => "Something went wrong on our side.",
        };
        #[cfg(feature = "tracing")]
        if status.is_server_error() {
            tracing::error!(error = %self, cause = self.cause(), "session");
        }
        let mut response = (status, text).into_response();
        if matches!(self, Self::Interrupted) {
            response.extensions_mut().insert(Interrupted);
        }
        response
    }
}

/// An extension of a response: the session has ended while the request ran, and nothing was saved.
/// A layer around the [`SessionLayer`](crate::SessionLayer) can answer such a response in its own
/// way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interrupted;

/// A layer cannot be built with these settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BuildError {
    message: String,
}

impl BuildError {
    pub(crate) fn new(message: String) -> Self {
        Self { message }
    }
}
