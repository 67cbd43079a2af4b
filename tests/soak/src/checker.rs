//! Finds loads whose results violate the guarantee of the cache.
//!
//! Consider a load that was called at `s` by a process whose cache has a `max_staleness` of `m`. It
//! must see every change that had ended before `s - m`, and every change of the same process for
//! which the client guarantees that. It may or may not see all other changes. A change of unknown
//! outcome counts as made when a load has returned its result; until then it is only possible.

mod facts;
mod rules;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::history::{Deed, Event};

use facts::Facts;

/// A load that violates the guarantee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The index of the load in the history.
    pub load: usize,
    /// The index of the event that contradicts it.
    pub because_of: usize,
    /// The rule that was violated.
    pub rule: Rule,
}

/// The ways in which a load can violate the guarantee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// It returned a version that had been replaced.
    OldVersion,
    /// It returned a session for a dead key.
    DeadKey,
    /// It returned a session that had expired.
    Expired,
    /// It returned nothing although the key was live.
    LiveKeyNotFound,
    /// It returned the data of another version.
    OtherData,
    /// It returned a session that does not have this key.
    OtherSession,
}

/// The violations in a history, in the order of starts. `max_staleness` has the value of each
/// process.
#[must_use]
pub fn check(history: &[Event], max_staleness: &[Duration]) -> Vec<Violation> {
    let facts = Facts::of(history, max_staleness);
    let mut violations = Vec::new();
    for (at, event) in history.iter().enumerate() {
        let Deed::Load { key, found } = &event.deed else {
            continue;
        };
        let load = rules::Load {
            event,
            key: *key,
            must_see_before: facts.must_see_before(event),
        };
        let wrong = match found {
            Some(found) => rules::wrongly_found(&facts, &load, found),
            None => rules::wrongly_not_found(&facts, &load),
        };
        violations.extend(wrong.map(|(rule, because_of)| Violation {
            load: at,
            because_of,
            rule,
        }));
    }
    violations
}
