//! What can go wrong in a call.

mod kind;
mod version;

use std::fmt;
use std::sync::Arc;

use deadpool_postgres::PoolError;
use tokio_postgres::error::DbError;

pub use kind::ErrorKind;

/// What can go wrong in a call.
///
/// Variants follow the SQLSTATE that the database reports. [`kind`](Self::kind) groups them by
/// what an application can do about them. An error can be cloned, because loads that wait for the
/// same statement all get its error.
///
/// Neither `Display` nor `Debug` shows a key or a session's data. What may quote them (the server's
/// detail and context, a value that does not fit a type) is only in the
/// [source](std::error::Error::source).
///
/// ```
/// use qsessions::{Error, Key, Store};
///
/// async fn set_theme(store: &Store, key: &Key) -> Result<&'static str, Error> {
///     match store.patch(key, serde_json::json!({ "theme": "dark" })).await {
///         Ok(_) => Ok("saved"),
///         Err(Error::SessionNotFound) => Ok("log in again"),
///         Err(error) => Err(error),
///     }
/// }
/// ```
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key opens no live session: there never was one, or it has expired or ended (QS001).
    #[error("session not found: it has ended or never existed")]
    SessionNotFound,

    /// Another call has saved the session since it was loaded (QS002). Load it and try again.
    #[error("version conflict: the session was saved since it was loaded")]
    VersionConflict,

    /// The text cannot be the key of a session (QS003).
    #[error("invalid key: a key has 8 to 512 characters")]
    InvalidKey,

    /// The data is larger than the setting `qsessions.max_data_bytes` allows (QS004).
    #[error("{message}")]
    DataTooLarge {
        /// The server's message.
        message: String,
    },

    /// Another session has the key that a new session was to get (23505).
    #[error("key exists: another session has this key")]
    KeyExists,

    /// PostgreSQL cannot take an argument: a duration that is out of range or not above zero, a
    /// user id that the column cannot hold (SQLSTATE class 22).
    #[error("invalid argument: {message}{}", Hint(hint.as_deref()))]
    InvalidArgument {
        /// What is wrong. It names the argument.
        message: String,
        /// What can be done about it, if the server says so.
        hint: Option<String>,
    },

    /// A [`StoreBuilder`](crate::StoreBuilder) cannot build a store of its settings, or a task that
    /// purges cannot be started with them.
    #[error("{message}")]
    Configuration {
        /// What is wrong with them.
        message: String,
    },

    /// The cache does not hear of changes, and will not until the setup is changed.
    ///
    /// Sessions come from the database meanwhile. Only
    /// [`CachedStore::ready`](crate::CachedStore::ready) returns this error.
    #[error("the cache cannot listen: {message}")]
    Listener {
        /// The reason, and what to do about it.
        message: String,
    },

    /// The database has an older version of the extension than this client calls, or none. Calls
    /// that the older version has too still work.
    ///
    /// In a transaction of yours, the client cannot ask for the version. The error is then
    /// [`Database`](Self::Database), with a hint.
    #[error(
        "extension qsessions {needed} or later is needed, but the database has {}",
        version::Found(found.as_deref())
    )]
    ExtensionVersion {
        /// The oldest version that this client works with.
        needed: &'static str,
        /// The version that the database has; none if the extension is not installed there.
        found: Option<String>,
    },

    /// The pool has given no connection.
    #[error("the pool has given no connection")]
    Pool(#[source] Arc<PoolError>),

    /// Any other error of the database, or of the connection to it.
    #[error("database error{}", Sqlstate(.0))]
    Database(#[source] Arc<tokio_postgres::Error>),

    /// The data cannot be written as JSON, cannot be read, or is not of the type asked for.
    ///
    /// Arrays and objects nested deeper than 1,000 levels are neither written nor read: cloning or
    /// dropping a deeper [`Value`](serde_json::Value) can exhaust the stack. Other programs can
    /// save such data. The session can then be saved, patched, logged out and revoked, but its data
    /// cannot be loaded: a call that would return it does its work and then fails with this error.
    ///
    /// The source says where the error is, and quotes the value.
    #[error(
        "the data of the session cannot be written as JSON, cannot be read, or is not of the type asked for"
    )]
    Data(#[source] Arc<serde_json::Error>),
}

impl Error {
    /// The group that this error belongs to.
    ///
    /// ```
    /// use qsessions::{Error, ErrorKind};
    ///
    /// fn http_status(error: &Error) -> u16 {
    ///     match error.kind() {
    ///         ErrorKind::Session => 401,
    ///         ErrorKind::Caller => 400,
    ///         ErrorKind::Unavailable => 503,
    ///         _ => 500,
    ///     }
    /// }
    /// assert_eq!(http_status(&Error::InvalidKey), 400);
    /// ```
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::SessionNotFound | Self::VersionConflict => ErrorKind::Session,
            Self::InvalidKey
            | Self::DataTooLarge { .. }
            | Self::KeyExists
            | Self::InvalidArgument { .. }
            | Self::Data(_) => ErrorKind::Caller,
            Self::Configuration { .. } | Self::Listener { .. } | Self::ExtensionVersion { .. } => {
                ErrorKind::Setup
            }
            Self::Pool(error) => match error.as_ref() {
                PoolError::Backend(error) => ErrorKind::of(error),
                PoolError::Timeout(_) | PoolError::Closed => ErrorKind::Unavailable,
                PoolError::NoRuntimeSpecified => ErrorKind::Setup,
                PoolError::PostCreateHook(_) => ErrorKind::Internal,
            },
            Self::Database(error) => ErrorKind::of(error),
        }
    }

    /// Whether the arguments of the call are at fault: [`ErrorKind::Caller`].
    #[must_use]
    pub fn is_caller_error(&self) -> bool {
        self.kind() == ErrorKind::Caller
    }

    #[cfg(any(feature = "cache", feature = "purge"))]
    pub(crate) fn configuration(message: &str) -> Self {
        Self::Configuration {
            message: message.to_owned(),
        }
    }

    pub(crate) fn invalid_argument(message: String) -> Self {
        Self::InvalidArgument {
            message,
            hint: None,
        }
    }

    /// This error with the cause that it has, in one line.
    #[cfg(feature = "cache")]
    pub(crate) fn with_cause(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {}", cause(source)),
            None => self.to_string(),
        }
    }

    /// Whether the cause can be that the database has an older version of the extension, or none.
    pub(crate) fn may_be_of_another_version(&self) -> bool {
        match self {
            Self::Database(error) => error
                .code()
                .is_some_and(|code| version::may_differ(code.code())),
            _ => false,
        }
    }

    /// The error of a call to a database with this version, if this client needs a later one.
    pub(crate) fn version(found: Option<String>) -> Option<Self> {
        version::is_too_old(found.as_deref()).then_some(Self::ExtensionVersion {
            needed: version::NEEDED,
            found,
        })
    }

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

/// The variant, and the message of the cause. A derived `Debug` would print the server's context,
/// and `unwrap()` would put that into a log.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SessionNotFound => f.write_str("SessionNotFound"),
            Self::VersionConflict => f.write_str("VersionConflict"),
            Self::InvalidKey => f.write_str("InvalidKey"),
            Self::KeyExists => f.write_str("KeyExists"),
            Self::DataTooLarge { message } => debug_message(f, "DataTooLarge", message),
            Self::Configuration { message } => debug_message(f, "Configuration", message),
            Self::Listener { message } => debug_message(f, "Listener", message),
            Self::InvalidArgument { message, hint } => f
                .debug_struct("InvalidArgument")
                .field("message", message)
                .field("hint", hint)
                .finish(),
            Self::ExtensionVersion { needed, found } => f
                .debug_struct("ExtensionVersion")
                .field("needed", needed)
                .field("found", found)
                .finish(),
            Self::Pool(error) => f.debug_tuple("Pool").field(&cause(error)).finish(),
            Self::Database(error) => f
                .debug_struct("Database")
                .field("sqlstate", &error.code().map(|code| code.code()))
                .field("message", &cause(error))
                .finish(),
            // The message of serde_json quotes the value.
            Self::Data(error) => f.debug_tuple("Data").field(&error.classify()).finish(),
        }
    }
}

fn debug_message(f: &mut fmt::Formatter<'_>, variant: &str, message: &str) -> fmt::Result {
    f.debug_struct(variant).field("message", &message).finish()
}

/// The innermost cause says what happened; those around it only say "db error".
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    match root.downcast_ref::<DbError>() {
        Some(error) => format!("{}{}", error.message(), Hint(error.hint())),
        None => root.to_string(),
    }
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

/// What the source does not say: the SQLSTATE, and a hint that the server cannot give.
struct Sqlstate<'a>(&'a tokio_postgres::Error);

impl fmt::Display for Sqlstate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(code) = self.0.code() else {
            return Ok(());
        };
        write!(f, " (SQLSTATE {})", code.code())?;
        // The pooler has sent the statement to a connection that does not have it, or that has
        // another client's statement of that name.
        match code.code() {
            "26000" | "42P05" => f.write_str(
                " (hint: behind a pooler in transaction mode, build the store with unnamed_statements())",
            ),
            code if version::may_differ(code) => write!(
                f,
                " (hint: does the database have extension qsessions {} or later?)",
                version::NEEDED
            ),
            _ => Ok(()),
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
            assert!(error.is_caller_error());
        }
    }

    #[test]
    fn other_sqlstates_stay_errors_of_the_database() {
        for code in ["42501", "23503", "QS999", "02000", ""] {
            assert!(mapped(code, None).is_none(), "{code}");
        }
    }

    #[test]
    fn errors_without_an_sqlstate_have_a_kind() {
        assert_eq!(Error::VersionConflict.kind(), ErrorKind::Session);
        let timeout = PoolError::Timeout(deadpool_postgres::TimeoutType::Wait);
        assert_eq!(Error::from(timeout).kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn an_older_extension_is_named_with_what_to_do() {
        let shown = |found: Option<&str>| {
            Error::version(found.map(str::to_owned))
                .unwrap()
                .to_string()
        };
        assert_eq!(
            shown(Some("0.1.0")),
            "extension qsessions 0.2.0 or later is needed, but the database has 0.1.0 \
             (hint: run ALTER EXTENSION qsessions UPDATE)"
        );
        assert_eq!(
            shown(None),
            "extension qsessions 0.2.0 or later is needed, but the database has none \
             (hint: run CREATE EXTENSION qsessions)"
        );
    }

    #[test]
    fn a_chain_names_each_cause_once() {
        let error = Error::from(PoolError::Closed);
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(!error.to_string().contains(&source), "{error}: {source}");
        assert!(format!("{error:?}").starts_with("Pool("), "{error:?}");
    }

    #[test]
    fn a_value_that_does_not_fit_is_quoted_neither_by_display_nor_by_debug() {
        let error = Error::from(serde_json::from_str::<u32>("\"secret\"").unwrap_err());
        assert!(!error.to_string().contains("secret"));
        assert_eq!(format!("{error:?}"), "Data(Data)");
    }
}
