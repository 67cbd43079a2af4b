use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::place::Place;
use crate::{Error, Kind, LocationInfo, Reader, Signature};

/// A database of a [`Directory`].
#[derive(Debug)]
pub struct Database {
    /// The file.
    pub path: PathBuf,
    /// The open database.
    pub reader: Reader,
    /// When it was read.
    pub loaded_at: SystemTime,
}

/// A file of a [`Directory`] that can't be used.
#[derive(Debug)]
pub struct Failure {
    /// The file, or the folder itself.
    pub path: PathBuf,
    /// Why not.
    pub error: Error,
    /// When that was found.
    pub at: SystemTime,
}

/// The databases at a path: that of one file, or those of a folder's `.mmdb` files.
///
/// A look-up asks the city databases first, then those of countries, each kind in the order of
/// the file names; the first that has the address answers. So IPv4 and IPv6 may be in one file or
/// in two.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    max_bytes: u64,
    state: State,
    databases: Vec<Database>,
    failures: Vec<Failure>,
}

/// Files and their signatures; none for a file that can't be asked about. Empty where the path
/// itself can't be used.
type State = Vec<(PathBuf, Option<Signature>)>;

impl Directory {
    /// Opens what there is at `path`: files of up to `max_bytes` each.
    ///
    /// That can't fail: whatever can't be used, be it the path itself, is among the
    /// [`failures`](Self::failures), and the others serve.
    pub fn open(path: &Path, max_bytes: u64) -> Self {
        let mut directory = Self {
            path: path.to_owned(),
            max_bytes,
            state: Vec::new(),
            databases: Vec::new(),
            failures: Vec::new(),
        };
        directory.load();
        directory
    }

    /// Whether files have come, gone or changed since they were opened. Asks the system about
    /// each, and reads none.
    pub fn changed(&self) -> bool {
        state_of(&self.path).unwrap_or_default() != self.state
    }

    /// The open databases, in the order in which they are asked; those that are not asked for
    /// places come last.
    pub fn databases(&self) -> &[Database] {
        &self.databases
    }

    /// What can't be used, and why.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// The path that was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the first database that has `ip` knows of it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a database is broken at this address and no other has it.
    pub fn look_up(&self, ip: IpAddr) -> Result<Option<Place<'_>>, Error> {
        let mut failed = None;
        for database in &self.databases {
            if !matches!(database.reader.kind(), Kind::City | Kind::Country) {
                break;
            }
            match database.reader.look_up(ip) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(None), Err)
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

    fn load(&mut self) {
        // Taken before the files are read: a change in between is then seen by `changed`.
        match state_of(&self.path) {
            Ok(state) => self.state = state,
            Err(error) => return self.fail(self.path.clone(), error),
        }
        for (path, _) in self.state.clone() {
            match Reader::open(&path, self.max_bytes) {
                Ok(reader) => {
                    self.databases.push(Database {
                        path,
                        reader,
                        loaded_at: SystemTime::now(),
                    });
                }
                Err(error) => self.fail(path, error),
            }
        }
        self.databases
            .sort_by_key(|database| match database.reader.kind() {
                Kind::City => 0,
                Kind::Country => 1,
                Kind::Asn | Kind::Other => 2,
            });
    }

    fn fail(&mut self, path: PathBuf, error: Error) {
        self.failures.push(Failure {
            path,
            error,
            at: SystemTime::now(),
        });
    }
}

fn state_of(path: &Path) -> Result<State, Error> {
    let io_error = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    if !fs::metadata(path).map_err(io_error)?.is_dir() {
        return Ok(vec![(path.to_owned(), Signature::of(path).ok())]);
    }
    let mut state = State::new();
    for entry in fs::read_dir(path).map_err(io_error)? {
        let path = entry.map_err(io_error)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("mmdb"))
        {
            let signature = Signature::of(&path).ok();
            state.push((path, signature));
        }
    }
    if state.is_empty() {
        return Err(Error::NoDatabases {
            path: path.to_owned(),
        });
    }
    state.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(state)
}
