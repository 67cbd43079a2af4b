//! What is known of each of the administrator's files: the copy that was made of it, and the
//! error of its present state. It is kept in a file beside the copies, so that one process finds
//! it out for all.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::file::{Signature, is_database};
use crate::shape::Layout;
use crate::{Error, Kind};

/// An index that another version of the check has made is not believed.
const FORMAT: u32 = 2;

/// The clocks of file systems tick every ten milliseconds, or every two seconds: within that time
/// a file may change once more and look the same. So a file that was that new when it was looked
/// at is looked at again when it no longer is.
const TICK: i64 = 2;

/// How long after a transient problem a file is tried again: a full disk, a missing permission.
const RETRY: Duration = Duration::from_secs(60);

/// How long the copy of a file that has gone is kept for a path that is not asked for any more.
const FORGOTTEN: Duration = Duration::from_secs(30 * 24 * 3600);

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Index {
    format: u32,
    pub(crate) entries: Vec<Entry>,
}

/// What is known of one file, or of a path that cannot be used.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Entry {
    /// The administrator's file.
    pub(crate) path: String,
    /// The state of it that was looked at last; none if that could not be read.
    pub(crate) seen: Option<Signature>,
    pub(crate) seen_at: SystemTime,
    /// The copy that serves: of that state or, if that is bad, of one before.
    pub(crate) copy: Option<Copied>,
    pub(crate) problem: Option<Problem>,
    /// When the file was first found to have gone. Looked at only for copies that have not changed
    /// for long.
    #[serde(default)]
    gone_since: Option<SystemTime>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Copied {
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
    pub(crate) kind: Kind,
    pub(crate) layout: Layout,
}

/// What is wrong with a file as it is now, or with the path itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Problem {
    /// What is wrong, with the path in it.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// The file, or the path itself.
    pub path: PathBuf,
    /// When it was met first.
    pub at: SystemTime,
    is_transient: bool,
}

impl Problem {
    /// A problem that was just met.
    pub fn now(path: &Path, error: &Error) -> Self {
        Self {
            message: error.to_string(),
            hint: error.hint().to_owned(),
            path: path.to_owned(),
            at: SystemTime::now(),
            is_transient: error.is_transient(),
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
    pub(crate) fn from_json(text: &[u8]) -> Option<Self> {
        let index: Self = serde_json::from_slice(text).ok()?;
        (index.format == FORMAT).then_some(index)
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        // Numbers, strings and times after 1970 under string keys: nothing of it can fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn get(&self, path: &Path) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| Path::new(&entry.path) == path)
    }

    /// The entry of a file, which is made where there is none.
    pub(crate) fn entry(&mut self, path: &Path) -> &mut Entry {
        let known = self
            .entries
            .iter()
            .position(|entry| Path::new(&entry.path) == path);
        let at = known.unwrap_or_else(|| {
            self.entries.push(Entry::new(path));
            self.entries.len() - 1
        });
        &mut self.entries[at]
    }
}

impl Entry {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_string_lossy().into_owned(),
            seen: None,
            seen_at: SystemTime::now(),
            copy: None,
            problem: None,
            gone_since: None,
        }
    }

    /// Whether it is of the file at a path, or of one in the folder there.
    pub(crate) fn belongs_to(&self, path: &Path) -> bool {
        let file = Path::new(&self.path);
        file == path || file.parent() == Some(path) && is_database(file)
    }

    /// Notes that a state of the file does not serve. The time of a problem is that at which it was
    /// met first.
    pub(crate) fn fail(&mut self, state: Option<Signature>, error: &Error) {
        let problem = Problem::now(Path::new(&self.path), error);
        let is_same = |known: &Problem| known.message == problem.message;
        if self.seen != state || !self.problem.as_ref().is_some_and(is_same) {
            (self.seen, self.problem) = (state, Some(problem));
        }
    }

    /// Whether there is something to be found out of a file that is in this state now. `force`
    /// brings forward what would be looked at again later.
    pub(crate) fn is_due(&self, state: &Signature, now: SystemTime, force: bool) -> bool {
        if self.seen.as_ref() != Some(state) {
            return true;
        }
        // A clock that was set back must not put it off for ever.
        let age = now.duration_since(self.seen_at).unwrap_or(Duration::MAX);
        let problem = self.problem.as_ref();
        if problem.is_some_and(|known| known.is_transient) && (force || age >= RETRY) {
            return true;
        }
        let is_new = |at| seconds(at).saturating_sub(state.changed_at()) <= TICK;
        is_new(self.seen_at) && (!is_new(now) || force && self.seen_at < now)
    }

    /// Whether it is of a file that has been gone for long. Notes when that began.
    pub(crate) fn is_forgotten(&mut self, now: SystemTime) -> bool {
        let is_long_ago = |time| {
            now.duration_since(time)
                .is_ok_and(|age: Duration| age >= FORGOTTEN)
        };
        if !is_long_ago(self.seen_at) || Path::new(&self.path).exists() {
            self.gone_since = None;
            return false;
        }
        is_long_ago(*self.gone_since.get_or_insert(now))
    }
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
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
        let entry = entry(-1, 0);
        assert!(!entry.is_due(&state(-1), at(1), false));
        assert!(entry.is_due(&state(-1), at(1), true));
        assert!(entry.is_due(&state(-1), at(2), false));
        // Not for a call that began before that look.
        assert!(!entry.is_due(&state(-1), at(0), true));
        let seen_again = Entry {
            seen_at: at(2),
            ..entry
        };
        assert!(!seen_again.is_due(&state(-1), at(1_000_000), true));
    }

    #[test]
    fn a_transient_problem_is_tried_again() {
        let mut entry = entry(-100, 0);
        let path = Path::new("/no/such/file.mmdb");
        let changed = Error::Changed { path: path.into() };
        entry.problem = Some(Problem::now(path, &changed));
        assert!(!entry.is_due(&state(-100), at(59), false));
        assert!(entry.is_due(&state(-100), at(59), true));
        assert!(entry.is_due(&state(-100), at(60), false));
        // The clock was set back.
        entry.seen_at = at(1000);
        assert!(entry.is_due(&state(-100), at(0), false));
        let empty = Error::Empty { path: path.into() };
        entry.problem = Some(Problem::now(path, &empty));
        assert!(!entry.is_due(&state(-100), at(60), true));
    }

    #[test]
    fn a_problem_keeps_its_time_until_the_file_changes() {
        let mut entry = entry(-100, 0);
        let error = Error::Empty {
            path: "/no/such/file.mmdb".into(),
        };
        entry.fail(Some(state(-100)), &error);
        let first = entry.problem.clone();
        entry.fail(Some(state(-100)), &error);
        assert_eq!(entry.problem, first);
        entry.fail(Some(state(-99)), &error);
        assert_ne!(entry.problem, first);
    }

    #[test]
    fn a_file_that_has_been_gone_for_a_month_is_forgotten() {
        let month = 30 * 24 * 3600;
        // A file that has not changed for a month, and then goes, is forgotten a month later.
        let mut gone = entry(-100, 0);
        assert!(!gone.is_forgotten(at(month - 1)));
        assert!(!gone.is_forgotten(at(month)));
        assert!(!gone.is_forgotten(at(2 * month - 1)));
        assert!(gone.is_forgotten(at(2 * month)));
        // It came back in between.
        let mut here = Entry {
            path: env!("CARGO_MANIFEST_DIR").to_owned(),
            gone_since: Some(at(0)),
            ..entry(-100, 0)
        };
        assert!(!here.is_forgotten(at(month)));
        here.path = "/no/such/file.mmdb".to_owned();
        assert!(!here.is_forgotten(at(month)));
    }

    #[test]
    fn entries_belong_to_their_file_and_to_its_folder() {
        let entry = entry(-1, 0);
        for (path, belongs) in [
            ("/no/such/file.mmdb", true),
            ("/no/such", true),
            ("/no/such/", true),
            ("/no", false),
            ("/no/such/file.mmdb/x", false),
        ] {
            assert_eq!(entry.belongs_to(Path::new(path)), belongs, "{path}");
        }
    }

    #[test]
    fn an_entry_is_found_again() {
        let mut index = Index::default();
        for path in ["/b", "/a", "/a/b", "/a-b", "/a//b", "/b"] {
            let entry = index.entry(Path::new(path));
            assert_eq!(Path::new(&entry.path), Path::new(path));
        }
        assert_eq!(index.entries.len(), 4);
    }

    #[test]
    fn what_is_no_index_is_refused() {
        let mut index = Index::default();
        index.entry(Path::new("/a.mmdb"));
        let json = index.to_json();
        assert_eq!(Index::from_json(&json).unwrap().entries, index.entries);
        assert!(Index::from_json(&json[1..]).is_none());
        index.format += 1;
        assert!(Index::from_json(&index.to_json()).is_none());
    }
}
