mod sources;
mod update;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::index::Index;
use crate::place::Place;
use crate::{
    AutonomousSystem, Error, Kind, LocationInfo, Mapping, Monitor, Reader, Signature, Store,
};

/// A database of a [`Directory`].
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

/// What is wrong with a file as it is now, or with the path itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The file, or the path itself.
    pub path: PathBuf,
    /// What is wrong, with the path in it.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// When that was met.
    pub at: SystemTime,
    state: Option<Signature>,
}

/// How the files of a [`Directory`] are treated.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the private copies are.
    pub store: Store,
    /// The largest file that is taken.
    pub max_bytes: u64,
}

/// The databases at a path: that of one file, or those of a folder's `.mmdb` files.
///
/// A look-up asks the city databases first, then those of countries, each kind in the order of
/// the file names; the first that has the address answers. So IPv4 and IPv6 may be in one file or
/// in two.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    options: Options,
    index: Index,
    index_state: Option<Signature>,
    databases: Vec<Database>,
    problems: Vec<Problem>,
    told: Vec<Problem>,
    /// What `databases` and `problems` were made from; none if that may not be all.
    settled: Option<Settled>,
}

/// All that decides what is open.
#[derive(Debug, PartialEq)]
struct Settled {
    states: Vec<(PathBuf, Signature)>,
    index_state: Option<Signature>,
    max_bytes: u64,
}

impl Directory {
    /// Opens what there is at `path`. If files are new or have changed, this makes copies of
    /// them first, or waits for the process that does.
    ///
    /// That can't fail: whatever can't be used, be it the path itself, is among the
    /// [`problems`](Self::problems), and the others serve.
    pub fn open(path: &Path, options: Options, monitor: &mut dyn Monitor) -> Self {
        let mut directory = Self {
            path: path.to_owned(),
            options,
            index: Index::default(),
            index_state: None,
            databases: Vec::new(),
            problems: Vec::new(),
            told: Vec::new(),
            settled: None,
        };
        directory.refresh(monitor);
        directory
    }

    /// Looks whether files have come, gone or changed, and takes what is new. Where another
    /// process is already at that, what was open goes on serving until it is done.
    pub fn refresh(&mut self, monitor: &mut dyn Monitor) {
        self.update(false, monitor);
    }

    /// The same, but waits for another process, and tries again now what would be tried again later.
    pub fn reload(&mut self, monitor: &mut dyn Monitor) {
        self.update(true, monitor);
    }

    /// The open databases, in the order in which they are asked; those that are not asked for
    /// places come last.
    pub fn databases(&self) -> &[Database] {
        &self.databases
    }

    /// What can't be used as it is now, and why. There may be an older copy among the
    /// [`databases`](Self::databases).
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The problems that this was not asked for before: one for each change of a file.
    pub fn new_problems(&mut self) -> Vec<Problem> {
        let is_new = |problem: &&Problem| {
            let same = |told: &Problem| {
                (&told.path, &told.message, &told.state)
                    == (&problem.path, &problem.message, &problem.state)
            };
            !self.told.iter().any(same)
        };
        let new = self.problems.iter().filter(is_new).cloned().collect();
        self.told.clone_from(&self.problems);
        new
    }

    /// The path that was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The options that were given.
    pub fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// What the first database that has `ip` knows of it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a database is broken at this address and no other has it.
    pub fn look_up(&self, ip: IpAddr) -> Result<Option<Place<'_, Mapping>>, Error> {
        self.ask(Kind::has_places, |reader| reader.look_up(ip))
    }

    /// Whose network `ip` is in.
    ///
    /// # Errors
    /// [`Error::Corrupt`]
    pub fn autonomous_system(&self, ip: IpAddr) -> Result<Option<AutonomousSystem<'_>>, Error> {
        self.ask(
            |kind| kind == Kind::Asn,
            |reader| reader.autonomous_system(ip),
        )
    }

    /// Whether there is a database that knows whose a network is.
    pub fn knows_autonomous_systems(&self) -> bool {
        let mut kinds = self.databases.iter().map(|database| database.reader.kind());
        kinds.any(|kind| kind == Kind::Asn)
    }

    /// [`Place::location_info`] of `ip`.
    ///
    /// # Errors
    /// [`Error::Corrupt`]
    pub fn location_info(
        &self,
        ip: IpAddr,
        locale: &str,
    ) -> Result<Option<LocationInfo<'_>>, Error> {
        self.look_up(ip)?
            .map(|place| place.location_info(locale))
            .transpose()
    }

    /// [`Place::location`] of `ip`.
    ///
    /// # Errors
    /// [`Error::Corrupt`]
    pub fn location(&self, ip: IpAddr, locale: &str) -> Result<Option<String>, Error> {
        self.look_up(ip)?
            .map_or(Ok(None), |place| place.location(locale))
    }

    /// [`Place::country_code`] of `ip`.
    ///
    /// # Errors
    /// [`Error::Corrupt`]
    pub fn country_code(&self, ip: IpAddr) -> Result<Option<&str>, Error> {
        self.look_up(ip)?
            .map_or(Ok(None), |place| place.country_code())
    }

    fn ask<'a, T>(
        &'a self,
        asked: impl Fn(Kind) -> bool,
        look_up: impl Fn(&'a Reader<Mapping>) -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        let mut failed = None;
        for database in self.databases.iter().filter(|one| asked(one.reader.kind())) {
            match look_up(&database.reader) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(None), Err)
    }
}
