//! Keeping up with the administrator's files.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::sources::{Found, Source, sources_at};
use super::{Database, Directory, Options, Problem, Settled};
use crate::index::{Copied, Entry, Failure};
use crate::store::Lock;
use crate::{Error, Kind, Monitor, Reader, Signature, Store};

impl Directory {
    pub(super) fn update(&mut self, hurry: bool, monitor: &mut dyn Monitor) {
        // Asked before the index is read: a change in between is then seen the next time.
        let index_state = self.options.store.index_state();
        if self.index_state != index_state {
            self.index = self.options.store.read_index();
            self.index_state = index_state;
        }
        let found = self.find();
        let now = SystemTime::now();
        let due = |source: &Source| self.is_due(source, now, hurry);
        let settled = self.settled(&found);
        if found.sources.iter().any(due) || self.has_leftovers(&found) {
            self.import(&found, hurry, monitor);
        } else if settled.is_some() && settled == self.settled {
            return;
        }
        if self.reopen(&found) {
            // Copies that the index names have gone: somebody emptied the folder, or has just
            // replaced them, and the index with them.
            self.import(&found, hurry, monitor);
            self.reopen(&found);
        }
        self.settled = self.settled(&found);
    }

    fn settled(&self, found: &Found) -> Option<Settled> {
        let state = |source: &Source| Some((source.path.clone(), *source.state.as_ref().ok()?));
        Some(Settled {
            states: found.sources.iter().map(state).collect::<Option<_>>()?,
            index_state: self.index_state,
            max_bytes: self.options.max_bytes,
        })
        .filter(|_| found.failure.is_none())
    }

    fn find(&self) -> Found {
        match sources_at(&self.path) {
            Ok(sources) => Found {
                sources,
                failure: None,
            },
            // It may be a disk that is not mounted, or a folder that is just being moved: what was there goes on.
            Err(error) => Found {
                sources: self.known_sources(),
                failure: Some(error),
            },
        }
    }

    fn known_sources(&self) -> Vec<Source> {
        let paths = self
            .index
            .entries
            .iter()
            .map(|entry| Path::new(&entry.path));
        let mut sources: Vec<Source> = paths
            .filter(|path| *path == self.path || path.parent() == Some(&self.path))
            .map(|path| Source {
                path: path.to_owned(),
                state: Signature::of(path).map_err(|error| Error::io(path, error)),
            })
            .collect();
        sources.sort_by(|one, other| one.path.cmp(&other.path));
        sources
    }

    fn is_due(&self, source: &Source, now: SystemTime, hurry: bool) -> bool {
        let Ok(state) = &source.state else {
            return false;
        };
        match self.index.get(&source.path) {
            _ if state.size > self.options.max_bytes => false,
            Some(entry) => entry.is_due(state, now, hurry),
            None => true,
        }
    }

    /// Whether the index has files that are no longer there.
    fn has_leftovers(&self, found: &Found) -> bool {
        self.index
            .entries
            .iter()
            .any(|entry| self.is_leftover(entry, found))
    }

    fn is_leftover(&self, entry: &Entry, found: &Found) -> bool {
        let path = Path::new(&entry.path);
        let is_here = path.parent() == Some(&self.path);
        is_here && found.failure.is_none() && found.sources.iter().all(|source| source.path != path)
    }

    /// Makes copies of what is new.
    fn import(&mut self, found: &Found, hurry: bool, monitor: &mut dyn Monitor) {
        let store = self.options.store.clone();
        let now = SystemTime::now();
        let has_copy = |source: &Source| {
            let is_open = self.databases.iter().any(|one| one.path == source.path);
            let entry = self.index.get(&source.path);
            is_open || entry.is_some_and(|entry| entry.copy.is_some())
        };
        // Only who has nothing to answer from waits.
        let waits = hurry || !found.sources.iter().any(has_copy);
        let lock = if waits {
            store.lock(monitor)
        } else {
            store.try_lock()
        };
        let lock = match lock {
            Ok(Some(lock)) => lock,
            Ok(None) if !waits => return,
            Ok(None) => return self.fail_due(found, now, hurry, true, |path| Error::Busy { path }),
            Err(error) => {
                let kind = (error.raw_os_error(), error.kind());
                return self.fail_due(found, now, hurry, false, |path| {
                    let error = kind
                        .0
                        .map_or(kind.1.into(), std::io::Error::from_raw_os_error);
                    store.error(&path, error)
                });
            }
        };
        // Another process may have done it meanwhile.
        self.index_state = store.index_state();
        self.index = store.read_index();
        let mut changed = self.drop_stale_entries(found);
        for source in &found.sources {
            if self.is_due(source, now, hurry) {
                let entry = self.import_one(source, hurry, &lock, monitor);
                self.index.put(entry);
                changed = true;
            }
        }
        if !changed {
            return;
        }
        match store.write_index(&self.index, &lock) {
            Ok(()) => self.index_state = store.index_state(),
            // What was found out is then known to this process only, and the others find it out too.
            Err(error) => monitor.note(&store.error(&self.path, error).to_string()),
        }
    }

    /// Forgets files that have gone, and copies that have. Whether there were any.
    fn drop_stale_entries(&mut self, found: &Found) -> bool {
        let mut entries = std::mem::take(&mut self.index.entries);
        let count = entries.len();
        let now = SystemTime::now();
        let is_known = |entry: &Entry| {
            found
                .sources
                .iter()
                .any(|one| one.path == Path::new(&entry.path))
        };
        entries.retain(|entry| {
            !self.is_leftover(entry, found) && (is_known(entry) || !entry.is_forgotten(now))
        });
        let mut changed = entries.len() != count;
        let store = &self.options.store;
        for entry in &mut entries {
            let path = Path::new(&entry.path);
            if entry
                .copy
                .as_ref()
                .is_some_and(|copy| open_copy(store, path, copy).is_err())
            {
                (entry.copy, entry.seen, changed) = (None, None, true);
            }
        }
        self.index.entries = entries;
        changed
    }

    fn import_one(
        &self,
        source: &Source,
        hurry: bool,
        lock: &Lock,
        monitor: &mut dyn Monitor,
    ) -> Entry {
        let known = self.index.get(&source.path).cloned();
        let mut entry = known.unwrap_or_else(|| Entry::new(&source.path));
        let state = source.state.as_ref().ok().copied();
        let again = entry.seen == state;
        entry.seen_at = SystemTime::now();
        // In a hurry, the clock may not have ticked since the first time.
        entry.seen_twice = again && !hurry;
        let Options { store, max_bytes } = &self.options;
        match store.import(&source.path, *max_bytes, entry.copy.as_ref(), lock, monitor) {
            Ok((copy, seen)) => {
                entry.seen = Some(seen);
                entry.copy = Some(copy);
                entry.failure = None;
            }
            Err(error) => {
                let failure = Failure::now(&error);
                let same = |old: &Failure| again && old.message == failure.message;
                entry.seen = state;
                if !entry.failure.as_ref().is_some_and(same) {
                    entry.failure = Some(failure);
                }
            }
        }
        entry
    }

    /// Notes an error of everything that is due, or of that only which nothing serves.
    fn fail_due(
        &mut self,
        found: &Found,
        now: SystemTime,
        hurry: bool,
        unserved_only: bool,
        error: impl Fn(PathBuf) -> Error,
    ) {
        for source in &found.sources {
            if !self.is_due(source, now, hurry) {
                continue;
            }
            let known = self.index.get(&source.path).cloned();
            let mut entry = known.unwrap_or_else(|| Entry::new(&source.path));
            if unserved_only && entry.copy.is_some() {
                continue;
            }
            entry.seen = source.state.as_ref().ok().copied();
            entry.seen_at = now;
            entry.failure = Some(Failure::now(&error(source.path.clone())));
            self.index.put(entry);
        }
    }

    /// Opens the copies that serve; what is open stays open. Copies that are missing are taken out of
    /// the index. Whether there were any.
    fn reopen(&mut self, found: &Found) -> bool {
        let mut missing = Vec::new();
        let mut before = std::mem::take(&mut self.databases);
        let mut problems = Vec::new();
        if let Some(error) = &found.failure {
            problems.push(self.problem(&self.path, None, Failure::now(error)));
        }
        for source in &found.sources {
            let entry = self.index.get(&source.path);
            let state = source.state.as_ref().ok().copied();
            // That the path can't be used says it of its files too.
            let is_said = found.failure.is_some() && state.is_none();
            if let Some(failure) = self.failure_of(source, entry).filter(|_| !is_said) {
                problems.push(self.problem(&source.path, state, failure));
            }
            let open = before.iter().position(|one| one.path == source.path);
            let open = open.map(|index| before.swap_remove(index));
            let Some(copy) = entry.and_then(|entry| entry.copy.as_ref()) else {
                // A copy that this process has open serves on, whatever became of the index.
                self.databases.extend(open);
                continue;
            };
            match open {
                Some(open)
                    if open.sha256 == copy.sha256
                        && open.inode == self.options.store.inode(copy) =>
                {
                    self.databases.push(open);
                }
                open => match open_copy(&self.options.store, &source.path, copy) {
                    Ok(database) => self.databases.push(database),
                    Err(error) => {
                        missing.push(source.path.clone());
                        problems.push(self.problem(&source.path, state, Failure::now(&error)));
                        self.databases.extend(open);
                    }
                },
            }
        }
        self.problems = problems;
        self.databases
            .sort_by_key(|database| match database.reader.kind() {
                Kind::City => 0,
                Kind::Country => 1,
                Kind::Asn | Kind::Other => 2,
            });
        for entry in &mut self.index.entries {
            if missing.iter().any(|path| path == Path::new(&entry.path)) {
                (entry.copy, entry.seen) = (None, None);
            }
        }
        !missing.is_empty()
    }

    fn failure_of(&self, source: &Source, entry: Option<&Entry>) -> Option<Failure> {
        match &source.state {
            Err(error) => Some(Failure::now(error)),
            Ok(state) if state.size > self.options.max_bytes => {
                Some(Failure::now(&Error::TooLarge {
                    path: source.path.clone(),
                    bytes: state.size,
                    max_bytes: self.options.max_bytes,
                }))
            }
            Ok(_) => entry.and_then(|entry| entry.failure.clone()),
        }
    }

    /// The time of a problem is that at which it was met first.
    fn problem(&self, path: &Path, state: Option<Signature>, failure: Failure) -> Problem {
        let mut problem = Problem {
            path: path.to_owned(),
            message: failure.message,
            hint: failure.hint,
            at: failure.at,
            state,
        };
        let same = |old: &&Problem| {
            (&old.path, &old.message, &old.state)
                == (&problem.path, &problem.message, &problem.state)
        };
        if let Some(old) = self.problems.iter().find(same) {
            problem.at = problem.at.min(old.at);
        }
        problem
    }
}

fn open_copy(store: &Store, path: &Path, copy: &Copied) -> Result<Database, Error> {
    // Asked before, so that a copy that is made anew in between is seen to be another.
    let inode = store.inode(copy);
    let mapping = store.open(copy).map_err(|error| store.error(path, error))?;
    Ok(Database {
        path: path.to_owned(),
        reader: Reader::of_kind(mapping, path, copy.kind, copy.layout)?,
        loaded_at: SystemTime::now(),
        sha256: copy.sha256.clone(),
        inode,
    })
}
