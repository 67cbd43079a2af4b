//! Looks for loads that may not have come out as they did.
//!
//! A load that was called at `s` by a process whose cache has `max_staleness` `m` must see each change that had ended
//! before `s - m`, and each of the same process that it was promised to see. All else may be seen or not. A change of
//! unknown outcome is a fact once somebody has loaded what it made; until then it is only a possibility.

mod facts;
mod rules;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::history::{Deed, Event};

use facts::Facts;

/// What a load did that it mustn't.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The load, by its place in the history.
    pub load: usize,
    /// The event that shows it to be wrong.
    pub because_of: usize,
    /// Which promise was broken.
    pub rule: Rule,
}

/// What is promised of loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// It found a version that had been replaced.
    OldVersion,
    /// It found something with a key that was dead.
    DeadKey,
    /// It found a session that had expired.
    Expired,
    /// It found nothing, and the key was alive.
    LiveKeyNotFound,
    /// It found data that another version has.
    OtherData,
    /// It found another session than the key's.
    OtherSession,
}

/// All that is wrong with a history, in the order of starts; `max_staleness` is that of each process.
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
