//! The folder of private copies.
//!
//! A copy is named by the SHA-256 of what is in it and never changes. Only who holds the lock makes copies,
//! removes them or writes the index; everybody reads without it. The lock is the kernel's, so
//! that of a process that dies is free at once, and the next one clears away what it left.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::check::{Checked, check};
use crate::index::{Copied, Index};
use crate::{Error, Mapping, Monitor, Signature, file};

/// Every name in the folder begins so, as the folder's own does: base backups leave out whatever does.
const PREFIX: &str = "pgsql_tmp";
const INDEX: &str = "pgsql_tmp_index.json";
const LOCK: &str = "pgsql_tmp_lock";

const CHUNK: usize = 256 * 1024;

/// How long to wait for another process that makes the first copy of a file.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);

/// A folder of our own, on which nobody else lays hands.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
    durable: bool,
}

/// Held by the one process that may change what is in the folder.
pub(crate) struct Lock {
    _file: File,
}

impl Store {
    /// The folder is made when it is needed; its parent must be there. Its name should begin with
    /// `pgsql_tmp`, so that base backups leave it out. What is in it survives a crash of the
    /// machine if `durable`.
    pub fn new(folder: impl Into<PathBuf>, durable: bool) -> Self {
        Self {
            folder: folder.into(),
            durable,
        }
    }

    /// The lock, if it is free.
    pub(crate) fn try_lock(&self) -> io::Result<Option<Lock>> {
        match DirBuilder::new().mode(0o700).create(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.folder.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The lock, as soon as it is free; none if that takes too long.
    pub(crate) fn lock(&self, monitor: &mut dyn Monitor) -> io::Result<Option<Lock>> {
        let began = Instant::now();
        loop {
            let lock = self.try_lock()?;
            if lock.is_some() || began.elapsed() > PATIENCE {
                return Ok(lock);
            }
            monitor.wait();
            std::thread::sleep(PAUSE);
        }
    }

    /// The state of the index; none where there is no index.
    pub(crate) fn index_state(&self) -> Option<Signature> {
        Signature::of(&self.folder.join(INDEX)).ok()
    }

    pub(crate) fn read_index(&self) -> Index {
        fs::read(self.folder.join(INDEX))
            .map_or_else(|_| Index::default(), |text| Index::from_json(&text))
    }

    /// Makes this the index, and removes whatever it doesn't name.
    pub(crate) fn write_index(&self, index: &Index, _lock: &Lock) -> io::Result<()> {
        let new = self.new_file("json");
        remove(&new)?;
        let mut file = create(&new)?;
        file.write_all(&index.to_json())?;
        if self.durable {
            file.sync_all()?;
        }
        self.put_in_place(&new, INDEX)?;
        self.clear_away(index)
    }

    /// A name of this process's own: should somebody remove the folder, and the lock with it, two may be at work at once,
    /// and neither must put the other's file in place.
    fn new_file(&self, extension: &str) -> PathBuf {
        let process = std::process::id();
        self.folder
            .join(format!("{PREFIX}_new_{process}.{extension}"))
    }

    fn clear_away(&self, index: &Index) -> io::Result<()> {
        let copies = index.entries.iter().filter_map(|entry| entry.copy.as_ref());
        let kept: HashSet<String> = copies.map(|copy| name_of(&copy.sha256)).collect();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(PREFIX) && name != INDEX && name != LOCK && !kept.contains(&*name) {
                remove(&self.folder.join(&*name))?;
            }
        }
        Ok(())
    }

    /// Opens a copy.
    pub(crate) fn open(&self, copy: &Copied) -> io::Result<Mapping> {
        let file = File::open(self.folder.join(name_of(&copy.sha256)))?;
        if file.metadata()?.len() != copy.bytes {
            return Err(io::Error::other("the copy has another size than it had"));
        }
        Mapping::of_copy(&file)
    }

    /// The number of the file that is now the copy: another one if it was made anew, with the same contents.
    pub(crate) fn inode(&self, copy: &Copied) -> Option<u64> {
        let state = Signature::of(&self.folder.join(name_of(&copy.sha256)));
        state.ok().map(|state| state.inode)
    }

    /// Whether a copy still holds what it was made of: a disk may have lost a part.
    fn is_whole(&self, copy: &Copied) -> bool {
        let whole = self.open(copy).map(|mapping| {
            let digest = Sha256::digest(mapping.as_ref());
            hexadecimal(&digest) == copy.sha256
        });
        whole.unwrap_or(false)
    }

    /// Copies a file, unless that was done before, and checks the copy. Gives the state that the file
    /// was in, too.
    pub(crate) fn import(
        &self,
        path: &Path,
        max_bytes: u64,
        known: Option<&Copied>,
        _lock: &Lock,
        monitor: &mut dyn Monitor,
    ) -> Result<(Copied, Signature), Error> {
        let (mut source, state) = file::open(path, max_bytes)?;
        let began = Instant::now();
        let new = NewCopy::create(self, path)?;
        let sha256 = new.fill(&mut source, path, state.size, monitor)?;
        let after = Signature::from(&source.metadata().map_err(|error| Error::io(path, error))?);
        // A new link or mode changes ctime only, and does no harm.
        if (after.size, after.mtime) != (state.size, state.mtime) {
            return Err(Error::Changed {
                path: path.to_owned(),
            });
        }
        if let Some(known) = known.filter(|known| known.sha256 == sha256 && self.is_whole(known)) {
            return Ok((known.clone(), state));
        }
        let checked = new.check(monitor)?;
        refuse_other_kind(path, known, &checked)?;
        let name = name_of(&sha256);
        // Flushed in any case: its pages are then clean, and the system may take them back as those of
        // any file.
        new.file
            .sync_all()
            .and_then(|()| self.put_in_place(&new.path, &name))
            .map_err(|error| self.error(path, error))?;
        monitor.note(&format!(
            "copied GeoIP database \"{}\" ({}, {} bytes, {} nodes, {} records) as \"{name}\" in {:.1} s",
            path.display(),
            checked.database_type,
            state.size,
            checked.nodes,
            checked.records,
            began.elapsed().as_secs_f64()
        ));
        let copy = Copied {
            sha256,
            bytes: state.size,
            kind: checked.kind,
            layout: checked.layout,
        };
        Ok((copy, state))
    }

    /// Gives a file of the folder its name, for good.
    fn put_in_place(&self, path: &Path, name: &str) -> io::Result<()> {
        fs::rename(path, self.folder.join(name))?;
        if self.durable {
            File::open(&self.folder)?.sync_all()?;
        }
        Ok(())
    }

    pub(crate) fn error(&self, path: &Path, source: io::Error) -> Error {
        Error::Store {
            path: path.to_owned(),
            source,
        }
    }
}

/// A database of networks in place of one of places would make every place unknown, and nobody can have
/// meant that: most likely two files were mixed up.
fn refuse_other_kind(path: &Path, known: Option<&Copied>, checked: &Checked) -> Result<(), Error> {
    match known {
        Some(known)
            if known.kind != checked.kind
                && !(known.kind.has_places() && checked.kind.has_places()) =>
        {
            Err(Error::OtherKind {
                path: path.to_owned(),
                kind: checked.database_type.clone(),
            })
        }
        _ => Ok(()),
    }
}

/// A copy in the making; removed unless it was put in place.
struct NewCopy<'a> {
    store: &'a Store,
    source: &'a Path,
    path: PathBuf,
    file: File,
}

impl<'a> NewCopy<'a> {
    fn create(store: &'a Store, source: &'a Path) -> Result<Self, Error> {
        let path = store.new_file("mmdb");
        // What a process of the same number left that died.
        let file = remove(&path).and_then(|()| create(&path));
        Ok(Self {
            store,
            source,
            file: file.map_err(|error| store.error(source, error))?,
            path,
        })
    }

    /// Copies what is in a file; returns the SHA-256 of it.
    fn fill(
        &self,
        source: &mut File,
        path: &Path,
        size: u64,
        monitor: &mut dyn Monitor,
    ) -> Result<String, Error> {
        let mut chunk = vec![0; CHUNK];
        let mut digest = Sha256::new();
        let mut copied = 0;
        loop {
            let length = match source.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::io(path, error)),
            };
            copied += length as u64;
            if copied > size {
                // It grows; somebody is writing to it, perhaps without end.
                break;
            }
            digest.update(&chunk[..length]);
            (&self.file)
                .write_all(&chunk[..length])
                .map_err(|error| self.store.error(path, error))?;
            monitor.tick();
        }
        if copied != size {
            return Err(Error::Changed {
                path: path.to_owned(),
            });
        }
        Ok(hexadecimal(&digest.finalize()))
    }

    fn check(&self, monitor: &mut dyn Monitor) -> Result<Checked, Error> {
        let mapping =
            Mapping::of_copy(&self.file).map_err(|error| self.store.error(self.source, error))?;
        check(mapping.as_ref(), self.source, monitor)
    }
}

impl Drop for NewCopy<'_> {
    fn drop(&mut self) {
        // It has another name now if all went well. Who comes next tries again.
        let _ = fs::remove_file(&self.path);
    }
}

fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn name_of(sha256: &str) -> String {
    format!("pgsql_tmp_{sha256}.mmdb")
}

/// Never opens a file that is there: somebody may have it mapped.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o400)
        .open(path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
