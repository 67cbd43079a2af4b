//! Taking the administrator's files into the store. Nothing else in this crate reads them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::SystemTime;

use crate::databases::open_copy;
use crate::file::{Source, sources_at};
use crate::index::{Entry, Index};
use crate::progress::stop_if_asked;
use crate::store::Lock;
use crate::{Error, Problem, Progress, Store};

/// How files are taken.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The largest file that is taken.
    pub max_bytes: u64,
    /// Tries again now what would be tried again later.
    pub force: bool,
}

/// Looks at the file at a path, or at the `.mmdb` files of the folder there, and copies to the
/// store what is new. Gives none if nothing has changed, else the problems that were met for the
/// first time.
///
/// One process works at a time; others wait. Where nothing has changed, this costs a `stat` of
/// each file and copy.
///
/// # Errors
///
/// [`Error::Store`] if the folder of copies cannot be written, and [`Error::Stopped`]. What is
/// wrong with a file is no error of the import: it is noted in the store, and the copy of before
/// goes on serving.
pub fn import(
    path: &Path,
    store: &Store,
    options: Options,
    progress: &mut dyn Progress,
) -> Result<Option<Vec<Problem>>, Error> {
    let import = Import {
        path,
        store,
        options,
        found: sources_at(path),
        began: SystemTime::now(),
    };
    let mut index = store.read_index().unwrap_or_default();
    if !import.settle(&mut index) && import.due(&index).is_empty() {
        return Ok(None);
    }
    let lock = store.lock(path, progress)?;
    // Another process may have done it meanwhile, and the files may be others by now.
    let import = Import {
        found: sources_at(path),
        ..import
    };
    let before = store.read_index().unwrap_or_default();
    let mut index = before.clone();
    let mut is_changed = import.settle(&mut index);
    for source in import.due(&index) {
        stop_if_asked(progress)?;
        *index.entry(&source.path) = import.look_at(source, &index, &lock, progress)?;
        import.write(&index, &lock)?;
        is_changed = false;
    }
    if is_changed {
        import.write(&index, &lock)?;
    }
    Ok(Some(new_problems(&index, &before)))
}

struct Import<'a> {
    path: &'a Path,
    store: &'a Store,
    options: Options,
    found: Result<Vec<Source>, Error>,
    began: SystemTime,
}

impl Import<'_> {
    /// Notes in the index what can be told without reading a file. Whether that changes anything.
    fn settle(&self, index: &mut Index) -> bool {
        let before = index.entries.clone();
        match &self.found {
            Ok(sources) => {
                let is_found = |entry: &Entry| {
                    let path = Path::new(&entry.path);
                    sources.iter().any(|source| source.path == path)
                };
                index
                    .entries
                    .retain(|entry| !entry.belongs_to(self.path) || is_found(entry));
                for source in sources {
                    if let Err(error) = &source.state {
                        index.entry(&source.path).fail(None, error);
                    }
                }
            }
            // It may be a disk that is not mounted, or a folder that is just being moved: what was
            // there goes on.
            Err(error) => index.entry(self.path).fail(None, error),
        }
        index
            .entries
            .retain_mut(|entry| entry.belongs_to(self.path) || !entry.is_forgotten(self.began));
        for entry in index.entries.iter_mut() {
            if entry.belongs_to(self.path) && self.has_lost_copy(entry) {
                (entry.copy, entry.seen) = (None, None);
            }
        }
        index.entries != before
    }

    fn has_lost_copy(&self, entry: &Entry) -> bool {
        entry
            .copy
            .as_ref()
            .is_some_and(|copy| open_copy(self.store, Path::new(&entry.path), copy).is_err())
    }

    /// The files that have to be read.
    fn due(&self, index: &Index) -> Vec<&Source> {
        let sources = self.found.iter().flatten();
        let is_due = |source: &&Source| match (&source.state, index.get(&source.path)) {
            (Err(_), _) => false,
            (Ok(_), None) => true,
            (Ok(state), Some(entry)) => entry.is_due(state, self.began, self.options.force),
        };
        sources.filter(is_due).collect()
    }

    /// What is known of a file once it was read.
    fn look_at(
        &self,
        source: &Source,
        index: &Index,
        lock: &Lock<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Entry, Error> {
        let known = index.get(&source.path).cloned();
        let mut entry = known.unwrap_or_else(|| Entry::new(&source.path));
        entry.seen_at = SystemTime::now();
        let max_bytes = self.options.max_bytes;
        // Whatever a file holds must not end the process, also if the check has a mistake.
        let copied = catch_unwind(AssertUnwindSafe(|| {
            lock.copy(&source.path, max_bytes, entry.copy.as_ref(), progress)
        }));
        match copied.unwrap_or_else(|_| Err(Error::invalid(&source.path, "the check panicked"))) {
            Ok((copy, state)) => {
                entry.seen = Some(state);
                entry.copy = Some(copy);
                entry.problem = None;
            }
            Err(Error::Stopped) => return Err(Error::Stopped),
            Err(error) => entry.fail(source.state.as_ref().ok().copied(), &error),
        }
        Ok(entry)
    }

    fn write(&self, index: &Index, lock: &Lock<'_>) -> Result<(), Error> {
        lock.write_index(index)
            .map_err(|error| Error::store(self.path, error))
    }
}

/// The problems in an index that are not in the one of before.
fn new_problems(index: &Index, before: &Index) -> Vec<Problem> {
    let is_new = |entry: &&Entry| {
        let known = before.get(Path::new(&entry.path));
        known.is_none_or(|known| known.problem != entry.problem)
    };
    let new = index.entries.iter().filter(is_new);
    new.filter_map(|entry| entry.problem.clone()).collect()
}
