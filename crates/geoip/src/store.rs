//! The folder of private copies.
//!
//! A copy is named by the SHA-256 of its bytes and never changes. Only the process that holds the
//! lock makes copies, removes them or writes the index; the others read without it. The kernel
//! frees the lock of a process that dies, and the next one clears away what that has left.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::check::{Checked, check};
use crate::file::{self, Signature};
use crate::index::{Copied, Index};
use crate::progress::stop_if_asked;
use crate::{Error, Mapping, Progress};

/// Every name in the folder begins so, as the folder's own does: base backups leave them out.
const PREFIX: &str = "pgsql_tmp";
const INDEX: &str = "pgsql_tmp_index.json";
const LOCK: &str = "pgsql_tmp_lock";

/// Bytes that are copied or compared between two questions whether to stop.
const CHUNK: usize = 256 * 1024;

/// Bytes that are copied between two flushes: a flush cannot be stopped, and one of the whole copy
/// could take seconds.
const FLUSHED: u64 = 16 * 1024 * 1024;

/// The most that an import leaves free on the disk, in bytes.
const RESERVE: u64 = 1024 * 1024 * 1024;

/// How long to sleep before trying again whether the lock is free.
const PAUSE: Duration = Duration::from_millis(5);

/// A folder that nothing else uses.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
    durable: bool,
}

/// The right to change what is in the folder; one process has it at a time.
pub(crate) struct Lock<'a> {
    store: &'a Store,
    _file: File,
}

impl Store {
    /// The folder is made when it is needed; its parent must exist. Its name should begin with
    /// `pgsql_tmp`, so that base backups leave it out. If `durable`, its contents survive a crash
    /// of the machine.
    pub fn new(folder: impl Into<PathBuf>, durable: bool) -> Self {
        Self {
            folder: folder.into(),
            durable,
        }
    }

    /// Waits for the lock. `path` is only what errors name.
    pub(crate) fn lock(&self, path: &Path, progress: &mut dyn Progress) -> Result<Lock<'_>, Error> {
        loop {
            match self.try_lock() {
                Ok(Some(lock)) => return Ok(lock),
                Ok(None) if progress.should_stop() => return Err(Error::Stopped),
                Ok(None) => std::thread::sleep(PAUSE),
                Err(error) => return Err(Error::store(path, error)),
            }
        }
    }

    fn try_lock(&self) -> io::Result<Option<Lock<'_>>> {
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
            Ok(()) => Ok(Some(Lock {
                store: self,
                _file: file,
            })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Tells one index from the next without reading it.
    pub(crate) fn index_state(&self) -> Option<Signature> {
        Signature::of(&self.folder.join(INDEX)).ok()
    }

    /// None where there is no index, or none that can be read.
    pub(crate) fn read_index(&self) -> Option<Index> {
        Index::from_json(&fs::read(self.folder.join(INDEX)).ok()?)
    }

    pub(crate) fn open(&self, copy: &Copied) -> io::Result<Mapping> {
        let file = File::open(self.path_of(&copy.sha256))?;
        if file.metadata()?.len() != copy.bytes {
            return Err(io::Error::other("the copy has another size than it had"));
        }
        Mapping::of_copy(&file)
    }

    /// The number of the file that is the copy now. It changes if the copy is made anew with the
    /// same contents.
    pub(crate) fn inode(&self, copy: &Copied) -> Option<u64> {
        let state = Signature::of(&self.path_of(&copy.sha256));
        state.ok().map(|state| state.inode)
    }

    fn path_of(&self, sha256: &str) -> PathBuf {
        self.folder.join(name_of(sha256))
    }

    /// A name of this process's own: if the folder is removed, and the lock with it, two may be at
    /// work at once, and neither must put the other's file in place.
    fn new_path(&self, extension: &str) -> PathBuf {
        let process = std::process::id();
        self.folder
            .join(format!("{PREFIX}_new_{process}.{extension}"))
    }

    /// Gives a file of the folder its name, for good.
    fn put_in_place(&self, path: &Path, name: &str) -> io::Result<()> {
        fs::rename(path, self.folder.join(name))?;
        if self.durable {
            File::open(&self.folder)?.sync_all()?;
        }
        Ok(())
    }
}

impl Lock<'_> {
    /// Makes this the index, and removes all files that it does not name.
    pub(crate) fn write_index(&self, index: &Index) -> io::Result<()> {
        let store = self.store;
        let new = store.new_path("json");
        remove(&new)?;
        let mut file = create(&new)?;
        file.write_all(&index.to_json())?;
        if store.durable {
            file.sync_all()?;
        }
        store.put_in_place(&new, INDEX)?;
        self.clear_away(index)
    }

    fn clear_away(&self, index: &Index) -> io::Result<()> {
        let folder = &self.store.folder;
        let copies = index.entries.iter().filter_map(|entry| entry.copy.as_ref());
        let kept: HashSet<String> = copies.map(|copy| name_of(&copy.sha256)).collect();
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(PREFIX) && name != INDEX && name != LOCK && !kept.contains(&*name) {
                remove(&folder.join(&*name))?;
            }
        }
        Ok(())
    }

    /// Copies a file, checks the copy and puts it in place, unless the `known` copy has the same
    /// bytes. Gives the state that the file was in, too.
    pub(crate) fn copy(
        &self,
        path: &Path,
        max_bytes: u64,
        known: Option<&Copied>,
        progress: &mut dyn Progress,
    ) -> Result<(Copied, Signature), Error> {
        let store_error = |error| Error::store(path, error);
        let (mut source, state) = file::open(path, max_bytes)?;
        let began = Instant::now();
        self.check_room(state.size).map_err(store_error)?;
        let new = NewCopy::create(self.store).map_err(store_error)?;
        let sha256 = new.fill(&mut source, path, state.size, progress)?;
        let after = Signature::from(&source.metadata().map_err(|error| Error::io(path, error))?);
        // A new link or mode changes ctime only, and does no harm.
        if (after.size, after.mtime) != (state.size, state.mtime) {
            return Err(Error::Changed {
                path: path.to_owned(),
            });
        }
        if let Some(known) = known.filter(|known| known.sha256 == sha256)
            && self.is_whole(known, progress)?
        {
            return Ok((known.clone(), state));
        }
        let mapping = Mapping::of_copy(&new.file).map_err(store_error)?;
        let checked = check(mapping.as_ref(), path, progress)?;
        refuse_other_kind(path, known, &checked)?;
        let name = name_of(&sha256);
        // Flushed in any case: its pages are then clean, and the system may take them back as
        // those of any file.
        new.file
            .sync_all()
            .and_then(|()| self.store.put_in_place(&new.path, &name))
            .map_err(store_error)?;
        progress.note(&format!(
            "imported GeoIP database \"{}\" ({}, {} bytes, {} nodes, {} records) as \"{name}\" in {:.1} s",
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

    /// Leaves PostgreSQL a tenth of the disk, or a gigabyte of a large one. The server goes down if
    /// there is no room for WAL, so a copy must not fill the disk even for a moment.
    fn check_room(&self, bytes: u64) -> io::Result<()> {
        let disk = rustix::fs::statvfs(&self.store.folder)?;
        let left = (disk.f_blocks * disk.f_frsize / 10).min(RESERVE);
        if disk.f_bavail * disk.f_frsize < bytes.saturating_add(left) {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        Ok(())
    }

    /// Whether a copy still holds what it was made of: a disk may have lost a part.
    fn is_whole(&self, copy: &Copied, progress: &mut dyn Progress) -> Result<bool, Error> {
        let Ok(mapping) = self.store.open(copy) else {
            return Ok(false);
        };
        let mut digest = Sha256::new();
        for chunk in mapping.as_ref().chunks(CHUNK) {
            digest.update(chunk);
            stop_if_asked(progress)?;
        }
        Ok(hexadecimal(&digest.finalize()) == copy.sha256)
    }
}

/// A database of networks in place of one of locations would make every location unknown. Most
/// likely two files were mixed up.
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
struct NewCopy {
    path: PathBuf,
    file: File,
}

impl NewCopy {
    fn create(store: &Store) -> io::Result<Self> {
        let path = store.new_path("mmdb");
        // A process with the same number may have died and left one.
        remove(&path)?;
        Ok(Self {
            file: create(&path)?,
            path,
        })
    }

    /// Copies the bytes of a file; gives their SHA-256.
    fn fill(
        &self,
        source: &mut File,
        path: &Path,
        size: u64,
        progress: &mut dyn Progress,
    ) -> Result<String, Error> {
        let store_error = |error| Error::store(path, error);
        let mut chunk = vec![0; CHUNK];
        let mut digest = Sha256::new();
        let (mut copied, mut flushed) = (0, 0);
        loop {
            let length = match source.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::io(path, error)),
            };
            copied += length as u64;
            if copied > size {
                // It grows, perhaps without end.
                break;
            }
            digest.update(&chunk[..length]);
            (&self.file)
                .write_all(&chunk[..length])
                .map_err(store_error)?;
            if copied - flushed >= FLUSHED {
                self.file.sync_data().map_err(store_error)?;
                flushed = copied;
            }
            stop_if_asked(progress)?;
        }
        if copied != size {
            return Err(Error::Changed {
                path: path.to_owned(),
            });
        }
        Ok(hexadecimal(&digest.finalize()))
    }
}

impl Drop for NewCopy {
    fn drop(&mut self) {
        // It has another name now if all went well. If it stays, the next import removes it.
        let _ = fs::remove_file(&self.path);
    }
}

fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn name_of(sha256: &str) -> String {
    format!("{PREFIX}_{sha256}.mmdb")
}

/// Never opens a file that exists: a process may have it mapped.
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
