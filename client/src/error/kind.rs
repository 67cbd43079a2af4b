//! Groups of errors.

use std::io;

/// Groups of [errors](crate::Error), by what an application can do about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The session is not what the caller took it for: it has ended (QS001), or was saved meanwhile
    /// (QS002). Send the visitor to the login, or load and try again.
    Session,
    /// The arguments are at fault: the same call will fail again. Keys (QS003), data (QS004) and
    /// durations out of range; SQLSTATE classes 22 (data exception), 23 (constraint violation, such
    /// as an unknown user), 44 (check option), 54 (program limit) and P0 (an exception that your
    /// own trigger raises).
    Caller,
    /// The database, the role or the store is not set up for the call: a missing extension,
    /// table or privilege, a refused login, a pooler that loses prepared statements. All SQLSTATE
    /// classes that are not listed elsewhere, above all 26, 28, 3D, 3F and 42.
    Setup,
    /// The database cannot answer now, and may later: no connection, a shutdown, a failover, a
    /// deadlock, a timeout. SQLSTATE classes 08, 25, 40, 53, 55, 57 and 58.
    Unavailable,
    /// PostgreSQL or a library is at fault: SQLSTATE class XX, or an answer that cannot be read.
    Internal,
}

impl ErrorKind {
    pub(crate) fn of(error: &tokio_postgres::Error) -> Self {
        if let Some(code) = error.code() {
            return Self::of_sqlstate(code.code());
        }
        let source = std::error::Error::source(error);
        if error.is_closed() || source.is_some_and(|source| source.is::<io::Error>()) {
            Self::Unavailable
        } else {
            Self::Internal
        }
    }

    fn of_sqlstate(code: &str) -> Self {
        match code.get(..2).unwrap_or_default() {
            "22" | "23" | "44" | "54" | "P0" => Self::Caller,
            "08" | "25" | "40" | "53" | "55" | "57" | "58" => Self::Unavailable,
            "XX" => Self::Internal,
            _ => Self::Setup,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sqlstate_has_a_kind() {
        for (code, kind) in [
            ("23503", ErrorKind::Caller),
            ("P0001", ErrorKind::Caller),
            ("42501", ErrorKind::Setup),
            ("42883", ErrorKind::Setup),
            ("28P01", ErrorKind::Setup),
            ("26000", ErrorKind::Setup),
            ("08006", ErrorKind::Unavailable),
            ("25006", ErrorKind::Unavailable),
            ("40P01", ErrorKind::Unavailable),
            ("53300", ErrorKind::Unavailable),
            ("57014", ErrorKind::Unavailable),
            ("XX000", ErrorKind::Internal),
        ] {
            assert_eq!(ErrorKind::of_sqlstate(code), kind, "{code}");
        }
    }
}
