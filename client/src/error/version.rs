//! Errors of a database that has an older version of the extension than this client calls.

use std::fmt;

/// The oldest version of the extension that this client works with.
pub(super) const NEEDED: &str = "0.2.0";

/// Whether an error with this SQLSTATE can mean that the extension is older, or not there: a
/// function, a column or the schema does not exist.
pub(super) fn may_differ(sqlstate: &str) -> bool {
    matches!(sqlstate, "42883" | "42703" | "3F000")
}

/// Whether this client needs a later version than the one that the database has.
pub(super) fn is_too_old(found: Option<&str>) -> bool {
    found.is_none_or(|found| numbers(found) < numbers(NEEDED))
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

    #[test]
    fn only_an_older_version_or_none_is_too_old() {
        for found in ["0.2.0", "0.2.1", "0.10.0", "1.0.0"] {
            assert!(!is_too_old(Some(found)), "{found}");
        }
        for found in [None, Some("0.1.0"), Some("0.1.99")] {
            assert!(is_too_old(found), "{found:?}");
        }
    }
}
