//! Errors of a database that has an older version of the extension than this client calls.

use std::fmt;

use super::Error;

/// The oldest version of the extension that this client works with.
pub(super) const NEEDED: &str = "0.2.0";

/// Whether an error with this SQLSTATE can mean that the extension is older, or not there: a
/// function, a column or the schema does not exist.
pub(super) fn may_differ(sqlstate: &str) -> bool {
    matches!(sqlstate, "42883" | "42703" | "3F000")
}

impl Error {
    pub(crate) fn may_be_of_another_version(&self) -> bool {
        match self {
            Self::Database(error) => error.code().is_some_and(|code| may_differ(code.code())),
            _ => false,
        }
    }

    /// The error of a database with this version, unless this client works with it.
    pub(crate) fn version(found: Option<String>) -> Option<Self> {
        let is_old = found
            .as_deref()
            .is_none_or(|found| numbers(found) < numbers(NEEDED));
        is_old.then_some(Self::ExtensionVersion {
            needed: NEEDED,
            found,
        })
    }
}

fn numbers(version: &str) -> Vec<u32> {
    version
        .split('.')
        .map_while(|part| part.parse().ok())
        .collect()
}

/// What the database has, and what to do about it.
pub(super) struct Found<'a>(pub(super) Option<&'a str>);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(found) => write!(f, "{found} (hint: run ALTER EXTENSION qsessions UPDATE)"),
            None => f.write_str("none (hint: run CREATE EXTENSION qsessions)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(found: Option<&str>) -> Option<String> {
        Error::version(found.map(str::to_owned)).map(|error| error.to_string())
    }

    #[test]
    fn only_older_versions_are_an_error() {
        for found in ["0.2.0", "0.2.1", "0.10.0", "1.0.0"] {
            assert_eq!(shown(Some(found)), None);
        }
        assert_eq!(
            shown(Some("0.1.0")).unwrap(),
            "extension qsessions 0.2.0 or later is needed, but the database has 0.1.0 \
             (hint: run ALTER EXTENSION qsessions UPDATE)"
        );
        assert_eq!(
            shown(None).unwrap(),
            "extension qsessions 0.2.0 or later is needed, but the database has none \
             (hint: run CREATE EXTENSION qsessions)"
        );
    }
}
