use std::fmt;
use std::sync::Arc;

use deadpool_postgres::PoolError;
use tokio_postgres::error::DbError;

/// What can go wrong in a call, told apart by the SQLSTATE that the database gives.
///
/// It can be cloned, because loads that wait for one statement all get its error.
///
/// No message carries a key or a session's data, in `Display` or in `Debug`. What can quote either
/// (the server's own context, where its administrator turned on that it shows parameters; the value
/// that doesn't fit a type) is only in the [source](std::error::Error::source).
///
/// ```
/// use qsessions::{Error, Key, Store};
///
/// async fn add_to_cart(store: &Store, key: &Key, item: u32) -> Result<&'static str, Error> {
///     match store.patch(key, serde_json::json!({ "last": item }), &[]).await {
///         Ok(_) => Ok("saved"),
///         Err(Error::SessionNotFound) => Ok("log in again"),
///         Err(error) => Err(error),
///     }
/// }
/// ```
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no live session under this key: it never was, expired, or was logged out (QS001).
    #[error("session not found: it has ended or never was")]
    SessionNotFound,

    /// The session was saved by somebody else since it was loaded (QS002). Load it and try again.
    #[error("version conflict: the session was saved since it was loaded")]
    VersionConflict,

    /// No key of a session looks like this (QS003).
    #[error("invalid key: a key has 8 to 512 characters")]
    InvalidKey,

    /// The data is larger than the setting `qsessions.max_data_bytes` allows (QS004).
    #[error("{message}")]
    DataTooLarge {
        /// The server's message.
        message: String,
    },

    /// A new session was to get a key that another session has (23505).
    #[error("key exists: another session has this key")]
    KeyExists,

    /// An argument that PostgreSQL can't take: a duration out of range or not above zero, a network
    /// that is none, a user id that the users' table can't hold (SQLSTATE class 22).
    #[error("invalid argument: {message}{}", Hint(hint.as_deref()))]
    InvalidArgument {
        /// The server's message, which names the argument.
        message: String,
        /// What can be done, where the server knows.
        hint: Option<String>,
    },

    /// A [`StoreBuilder`](crate::StoreBuilder) can't build what it was told to.
    #[error("{message}")]
    Configuration {
        /// What is wrong with it.
        message: String,
    },

    /// The cache can't hear of changes, and won't without somebody changing something.
    ///
    /// Sessions come from the database meanwhile; only [`Store::ready`](crate::Store::ready) says this.
    #[error("the cache can't listen: {message}")]
    Listener {
        /// Why, and what to do about it.
        message: String,
    },

    /// No connection could be had from the pool.
    #[error("no connection to the database: {}", Root(.0.as_ref()))]
    Pool(#[source] Arc<PoolError>),

    /// Any other error of the database or of the connection to it.
    #[error("database error: {}", Root(.0.as_ref()))]
    Database(#[source] Arc<tokio_postgres::Error>),

    /// Data that cannot be written as JSON, cannot be read, or is not of the type asked for.
    ///
    /// More than 1,000 levels of arrays and objects are neither written nor read: a
    /// [`Value`](serde_json::Value) that is deeper can exhaust the stack when it is cloned or dropped. jsonb takes more of
    /// them from other programs. Such a session can be resumed, patched, saved, logged out and revoked all the same, only its
    /// data cannot be had: a call that would return it records what it is to record, and gives this error.
    ///
    /// The source says where, and quotes the value that does not fit.
    #[error(
        "the data of the session cannot be written as JSON, cannot be read, or is not of the type asked for"
    )]
    Data(#[source] Arc<serde_json::Error>),
}

impl From<PoolError> for Error {
    fn from(error: PoolError) -> Self {
        Self::Pool(Arc::new(error))
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Data(Arc::new(error))
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        error
            .as_db_error()
            .and_then(|server| {
                let (code, constraint) = (server.code().code(), server.constraint());
                Self::from_server(code, constraint, server.message(), server.hint())
            })
            .unwrap_or_else(|| Self::Database(Arc::new(error)))
    }
}

impl Error {
    fn from_server(
        code: &str,
        constraint: Option<&str>,
        message: &str,
        hint: Option<&str>,
    ) -> Option<Self> {
        let message = message.to_owned();
        Some(match code {
            "QS001" => Self::SessionNotFound,
            "QS002" => Self::VersionConflict,
            "QS003" => Self::InvalidKey,
            "QS004" => Self::DataTooLarge { message },
            // The application may have unique constraints of its own on the table.
            "23505" if constraint == Some("session_pkey") => Self::KeyExists,
            _ if code.starts_with("22") => Self::InvalidArgument {
                message,
                hint: hint.map(str::to_owned),
            },
            _ => return None,
        })
    }
}

/// As `Display`. A derived `Debug` would print the server's context, and `unwrap()` would put it
/// into a log.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Error").field(&self.to_string()).finish()
    }
}

/// What the server can't know.
fn hint(code: &str) -> Option<&'static str> {
    // Another client's statement has the name, or the connection that had it has become another one.
    let statement_is_lost = ["26000", "42P05"].contains(&code);
    statement_is_lost.then_some(
        "Behind a pooler in transaction mode, build the store with unnamed_statements().",
    )
}

struct Hint<'a>(Option<&'a str>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}

/// The innermost cause says what happened; those around it only say "db error".
struct Root<'a>(&'a (dyn std::error::Error + 'static));

impl fmt::Display for Root<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut root = self.0;
        while let Some(source) = root.source() {
            root = source;
        }
        match root.downcast_ref::<DbError>() {
            Some(error) => {
                let (message, code) = (error.message(), error.code().code());
                let hint = error.hint().or_else(|| hint(code));
                write!(f, "{message} (SQLSTATE {code}){}", Hint(hint))
            }
            None => write!(f, "{root}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(code: &str, hint: Option<&str>) -> Option<Error> {
        Error::from_server(code, None, "ttl must be greater than zero", hint)
    }

    #[test]
    fn each_sqlstate_of_the_extension_has_its_variant() {
        assert!(matches!(
            mapped("QS001", None),
            Some(Error::SessionNotFound)
        ));
        assert!(matches!(
            mapped("QS002", None),
            Some(Error::VersionConflict)
        ));
        assert!(matches!(mapped("QS003", None), Some(Error::InvalidKey)));
        assert!(matches!(
            mapped("QS004", None),
            Some(Error::DataTooLarge { .. })
        ));
    }

    #[test]
    fn only_the_primary_key_says_that_a_key_exists() {
        let mapped = |constraint| Error::from_server("23505", Some(constraint), "", None);
        assert!(matches!(mapped("session_pkey"), Some(Error::KeyExists)));
        assert!(mapped("session_tenant_key").is_none());
    }

    #[test]
    fn the_class_of_data_exceptions_is_an_invalid_argument() {
        for code in ["22023", "22P02", "22008", "22021"] {
            let error = mapped(code, Some("give an interval above zero")).unwrap();
            assert_eq!(
                error.to_string(),
                "invalid argument: ttl must be greater than zero (hint: give an interval above zero)"
            );
        }
    }

    #[test]
    fn other_sqlstates_stay_errors_of_the_database() {
        for code in ["42501", "23503", "QS999", "02000", ""] {
            assert!(mapped(code, None).is_none(), "{code}");
        }
    }

    #[test]
    fn a_value_that_does_not_fit_is_quoted_neither_by_display_nor_by_debug() {
        let error = Error::from(serde_json::from_str::<u32>("\"secret\"").unwrap_err());
        assert!(!error.to_string().contains("secret"));
        assert!(!format!("{error:?}").contains("secret"));
    }
}
