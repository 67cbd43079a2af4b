//! The copies that a process has open for a path.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::file::Signature;
use crate::index::{Copied, Entry, Index};
use crate::{Error, Kind, Mapping, Place, Problem, Reader, Store};

/// A database that is open.
#[derive(Debug)]
pub struct Database {
    /// The administrator's file.
    pub path: PathBuf,
    /// The copy of it that serves: of its present state or, if that is bad, of one before.
    pub reader: Reader<Mapping>,
    /// When this process opened the copy.
    pub loaded_at: SystemTime,
    sha256: String,
    inode: Option<u64>,
}

/// The databases of a path: that of one file, or those of a folder's `.mmdb` files.
///
/// This opens copies that an [import](crate::import()) has made, and never looks at the files
/// themselves. So no call of it waits or takes long.
///
/// A look-up asks the city databases first, then those of countries, each kind in the order of
/// the file names; the first that has the address answers. So IPv4 and IPv6 may be in one file or
/// in two.
#[derive(Debug)]
pub struct Databases {
    path: PathBuf,
    store: Store,
    index_state: Option<Signature>,
    is_imported: bool,
    databases: Vec<Database>,
    problems: Vec<Problem>,
    reported: Vec<Problem>,
}

impl Databases {
    /// Opens the copies that there are. That cannot fail: what cannot be used is among the
    /// [`problems`](Self::problems).
    pub fn open(path: &Path, store: Store) -> Self {
        let mut databases = Self {
            path: path.to_owned(),
            store,
            index_state: None,
            is_imported: false,
            databases: Vec::new(),
            problems: Vec::new(),
            reported: Vec::new(),
        };
        databases.refresh();
        databases
    }

    /// Whether no import has changed anything since the last refresh: one `stat` call.
    pub fn is_current(&self) -> bool {
        self.store.index_state() == self.index_state
    }

    /// Opens what is new, and closes what has gone. What is unchanged stays open.
    pub fn refresh(&mut self) {
        // Asked before the index is read: a change in between is then seen the next time.
        self.index_state = self.store.index_state();
        let index = self.store.read_index().unwrap_or_default();
        if !self.reopen(&index) && !self.is_current() {
            // Copies have been replaced since the index was read, and the index with them.
            self.refresh();
        }
    }

    /// Whether all copies could be opened.
    fn reopen(&mut self, index: &Index) -> bool {
        let mut entries: Vec<&Entry> = index
            .entries
            .iter()
            .filter(|entry| entry.belongs_to(&self.path))
            .collect();
        if entries.is_empty() {
            // If the folder was removed, or the index begun anew, what is open goes on.
            if !self.is_imported() && self.problems.is_empty() {
                let path = self.path.clone();
                self.add_problem(Problem::now(&self.path, &Error::NotImported { path }));
            }
            return true;
        }
        self.is_imported = true;
        entries.sort_by(|one, other| one.path.cmp(&other.path));
        self.problems = entries
            .iter()
            .filter_map(|entry| entry.problem.clone())
            .collect();
        let mut before = std::mem::take(&mut self.databases);
        let mut are_all_open = true;
        for entry in entries {
            let path = Path::new(&entry.path);
            let open = before.iter().position(|one| one.path == path);
            let open = open.map(|index| before.swap_remove(index));
            let Some(copy) = &entry.copy else {
                // Its copy was lost, and could not be made anew.
                self.databases.extend(open);
                continue;
            };
            let is_same = |open: &Database| {
                open.sha256 == copy.sha256 && open.inode == self.store.inode(copy)
            };
            let open = match open {
                Some(open) if is_same(&open) => Some(open),
                open => open_copy(&self.store, path, copy)
                    .inspect_err(|error| {
                        are_all_open = false;
                        self.problems.push(Problem::now(path, error));
                    })
                    .ok()
                    .or(open),
            };
            self.databases.extend(open);
        }
        self.databases.sort_by_key(|one| match one.reader.kind() {
            Kind::City => 0,
            Kind::Country => 1,
            Kind::Asn | Kind::Other => 2,
        });
        are_all_open
    }

    /// The open databases, in the order in which they are asked; those that are not asked for
    /// locations come last.
    pub fn databases(&self) -> &[Database] {
        &self.databases
    }

    /// What cannot be used as it is now, and why. There may be an older copy among the
    /// [`databases`](Self::databases).
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether an import has looked at the path.
    pub fn is_imported(&self) -> bool {
        self.is_imported
    }

    /// Adds a problem that is not in the store, until the next refresh.
    pub fn add_problem(&mut self, problem: Problem) {
        self.problems.retain(|known| known.path != problem.path);
        self.problems.push(problem);
    }

    /// The problems that the last call of this did not give: one for each change of a file.
    pub fn new_problems(&mut self) -> Vec<Problem> {
        let is_new = |problem: &&Problem| !self.reported.contains(problem);
        let new = self.problems.iter().filter(is_new).cloned().collect();
        self.reported.clone_from(&self.problems);
        new
    }

    /// What the first database that has `ip` knows of it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a database is broken at this address and no other has it.
    pub fn look_up(&self, ip: IpAddr) -> Result<Option<Place<'_, Mapping>>, Error> {
        self.ask(Kind::has_places, ip)
    }

    /// What the first database of networks that has `ip` knows of it.
    ///
    /// # Errors
    /// As [`look_up`](Self::look_up).
    pub fn look_up_network(&self, ip: IpAddr) -> Result<Option<Place<'_, Mapping>>, Error> {
        self.ask(|kind| kind == Kind::Asn, ip)
    }

    /// Whether there is a database of networks.
    pub fn know_networks(&self) -> bool {
        let mut kinds = self.databases.iter().map(|database| database.reader.kind());
        kinds.any(|kind| kind == Kind::Asn)
    }

    fn ask(
        &self,
        is_asked: impl Fn(Kind) -> bool,
        ip: IpAddr,
    ) -> Result<Option<Place<'_, Mapping>>, Error> {
        let mut failed = None;
        for database in &self.databases {
            if !is_asked(database.reader.kind()) {
                continue;
            }
            match database.reader.look_up(ip) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(None), Err)
    }
}

pub(crate) fn open_copy(store: &Store, path: &Path, copy: &Copied) -> Result<Database, Error> {
    // Asked before, so that a copy that is made anew in between is seen to be another.
    let inode = store.inode(copy);
    let mapping = store
        .open(copy)
        .map_err(|error| Error::store(path, error))?;
    Ok(Database {
        path: path.to_owned(),
        reader: Reader::of_kind(mapping, path, copy.kind, copy.layout)?,
        loaded_at: SystemTime::now(),
        sha256: copy.sha256.clone(),
        inode,
    })
}
