//! What is known of each of the administrator's files: which copy was made of it, or what is wrong
//! with it. Kept in a file beside the copies, so that one process finds it out for all.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::shape::Layout;
use crate::{Error, Kind, Signature};

/// A file that was made by another version of the check is not believed.
const FORMAT: u32 = 1;

/// The clocks of file systems tick every ten milliseconds, or every two seconds: within that time a file
/// may change once more and look the same. So one that was new when it was looked at is looked at
/// again.
const TICK: i64 = 2;

/// When to look again at a file that was new.
const SECOND_LOOK: Duration = Duration::from_secs(3);

/// When to try again what may have passed: a full disk, a missing permission.
const RETRY: Duration = Duration::from_secs(60);

/// When a file that has gone from a path that nobody looks at any more is forgotten, and its copy removed.
const FORGOTTEN: Duration = Duration::from_secs(30 * 24 * 3600);

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Index {
    format: u32,
    pub(crate) entries: Vec<Entry>,
}

/// What is known of one file.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Entry {
    /// Where the administrator has it.
    pub(crate) path: String,
    /// The state of it that was looked at; none before the first time.
    pub(crate) seen: Option<Signature>,
    pub(crate) seen_at: SystemTime,
    /// Whether that state was looked at a second time, after the clock had ticked.
    pub(crate) seen_twice: bool,
    /// The copy that serves, be it of that state or, if that is bad, of one before.
    pub(crate) copy: Option<Copied>,
    pub(crate) failure: Option<Failure>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Copied {
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
    pub(crate) kind: Kind,
    pub(crate) layout: Layout,
}

/// Why a state of a file is not served.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) hint: String,
    pub(crate) at: SystemTime,
    pub(crate) may_pass: bool,
}

impl Failure {
    pub(crate) fn now(error: &Error) -> Self {
        Self {
            message: error.to_string(),
            hint: error.hint().to_owned(),
            at: SystemTime::now(),
            may_pass: error.may_pass(),
        }
    }
}

impl Default for Index {
    fn default() -> Self {
        Self {
            format: FORMAT,
            entries: Vec::new(),
        }
    }
}

impl Index {
    /// What can't be read is no index: everything is then looked at anew.
    pub(crate) fn from_json(text: &[u8]) -> Self {
        serde_json::from_slice(text)
            .ok()
            .filter(|index: &Self| index.format == FORMAT)
            .unwrap_or_default()
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        // Numbers, strings and times after 1970 under string keys: there is nothing that could fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn get(&self, path: &Path) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| Path::new(&entry.path) == path)
    }

    pub(crate) fn put(&mut self, entry: Entry) {
        self.entries.retain(|old| old.path != entry.path);
        self.entries.push(entry);
    }
}

impl Entry {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            // Only such paths come here: `directory` leaves out others.
            path: path.to_string_lossy().into_owned(),
            seen: None,
            seen_at: UNIX_EPOCH,
            seen_twice: false,
            copy: None,
            failure: None,
        }
    }

    /// Whether there is something to be found out of a file that is now in this state.
    pub(crate) fn is_due(&self, state: &Signature, now: SystemTime, hurry: bool) -> bool {
        if self.seen.as_ref() != Some(state) {
            return true;
        }
        // A clock that was set back must not put it off for ever.
        let age = now.duration_since(self.seen_at).unwrap_or(Duration::MAX);
        let retry = self
            .failure
            .as_ref()
            .is_some_and(|failure| failure.may_pass);
        (retry && (hurry || age >= RETRY))
            || (!self.seen_twice && self.was_new() && (hurry || age >= SECOND_LOOK))
    }

    /// Whether it is of a file that has been gone for long.
    pub(crate) fn is_forgotten(&self, now: SystemTime) -> bool {
        now.duration_since(self.seen_at)
            .is_ok_and(|age| age >= FORGOTTEN)
            && !Path::new(&self.path).exists()
    }

    fn was_new(&self) -> bool {
        let seen_at = self.seen_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seen_at = i64::try_from(seen_at.as_secs()).unwrap_or(i64::MAX);
        self.seen
            .is_some_and(|state| seen_at.saturating_sub(state.changed_at()) <= TICK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Duration = Duration::from_secs(1_800_000_000);

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + NOON + Duration::from_secs(seconds)
    }

    fn state(changed_at: i64) -> Signature {
        let time = (1_800_000_000 + changed_at, 0);
        Signature {
            size: 1,
            mtime: (0, 0),
            ctime: time,
            inode: 1,
            device: 1,
        }
    }

    fn entry(changed_at: i64, seen_at: u64) -> Entry {
        Entry {
            seen: Some(state(changed_at)),
            seen_at: at(seen_at),
            ..Entry::new(Path::new("/no/such/file.mmdb"))
        }
    }

    #[test]
    fn another_state_is_due_at_once() {
        assert!(entry(-100, 0).is_due(&state(-99), at(0), false));
        assert!(!entry(-100, 0).is_due(&state(-100), at(1_000_000), true));
    }

    #[test]
    fn a_file_that_was_new_is_looked_at_a_second_time() {
        let mut entry = entry(-1, 0);
        assert!(!entry.is_due(&state(-1), at(2), false));
        assert!(entry.is_due(&state(-1), at(2), true));
        assert!(entry.is_due(&state(-1), at(3), false));
        entry.seen_twice = true;
        assert!(!entry.is_due(&state(-1), at(1_000_000), true));
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        let mut entry = entry(-100, 0);
        let failure = |may_pass| {
            Some(Failure {
                message: String::new(),
                hint: String::new(),
                at: at(0),
                may_pass,
            })
        };
        entry.failure = failure(true);
        assert!(!entry.is_due(&state(-100), at(59), false));
        assert!(entry.is_due(&state(-100), at(59), true));
        assert!(entry.is_due(&state(-100), at(60), false));
        // The clock was set back.
        entry.seen_at = at(1000);
        assert!(entry.is_due(&state(-100), at(0), false));
        entry.failure = failure(false);
        assert!(!entry.is_due(&state(-100), at(60), true));
    }

    #[test]
    fn a_file_that_has_been_gone_for_a_month_is_forgotten() {
        let month = 30 * 24 * 3600;
        assert!(!entry(-100, 0).is_forgotten(at(month - 1)));
        assert!(entry(-100, 0).is_forgotten(at(month)));
        let here = Entry {
            path: env!("CARGO_MANIFEST_DIR").to_owned(),
            ..entry(-100, 0)
        };
        assert!(!here.is_forgotten(at(month)));
    }

    #[test]
    fn what_is_no_index_is_an_empty_one() {
        let mut index = Index::default();
        index.put(entry(-1, 0));
        let json = index.to_json();
        assert_eq!(Index::from_json(&json).entries.len(), 1);
        assert_eq!(Index::from_json(&json[1..]).entries.len(), 0);
        index.format += 1;
        assert_eq!(Index::from_json(&index.to_json()).entries.len(), 0);
    }
}
