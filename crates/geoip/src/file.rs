//! The administrator's files: what there is at a path, and the state that a file is in.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;

/// The largest file that is taken where no other limit is set: 512 MiB, some four times the
/// largest of the free databases.
pub const DEFAULT_MAX_BYTES: u64 = 512 * 1024 * 1024;

/// Tells one state of a file from another without reading it.
///
/// The change time is in it because `touch -r` and `rsync --times` bring back the modification
/// time, and device and inode because a rename can put another file of the same size and time
/// in place.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub(crate) struct Signature {
    pub(crate) size: u64,
    /// Last change of the contents, seconds and nanoseconds since 1970.
    pub(crate) mtime: (i64, i64),
    /// Last change of the contents or of owner, mode or links, likewise.
    pub(crate) ctime: (i64, i64),
    pub(crate) inode: u64,
    pub(crate) device: u64,
}

impl Signature {
    /// Asks the system about the file at `path`, following symbolic links: one `stat` call.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::from(&fs::metadata(path)?))
    }

    /// The later of its two times, in seconds since 1970.
    pub(crate) fn changed_at(&self) -> i64 {
        self.mtime.0.max(self.ctime.0)
    }
}

impl From<&Metadata> for Signature {
    fn from(metadata: &Metadata) -> Self {
        Self {
            size: metadata.size(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            ctime: (metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            device: metadata.dev(),
        }
    }
}

/// A file of the administrator's, and the state that it is in.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) state: Result<Signature, Error>,
}

/// The file at a path, or those of the folder there whose names end in `.mmdb`.
pub(crate) fn sources_at(path: &Path) -> Result<Vec<Source>, Error> {
    let io_error = |source| Error::io(path, source);
    let source = |path: PathBuf| Source {
        state: Signature::of(&path).map_err(|error| Error::io(&path, error)),
        path,
    };
    if path.to_str().is_none() {
        let reason = "the path is not in UTF-8";
        return Err(io_error(io::Error::new(
            io::ErrorKind::InvalidInput,
            reason,
        )));
    }
    if !fs::metadata(path).map_err(io_error)?.is_dir() {
        return Ok(vec![source(path.to_owned())]);
    }
    let mut sources = Vec::new();
    for entry in fs::read_dir(path).map_err(io_error)? {
        let path = entry.map_err(io_error)?.path();
        // The index holds only names in UTF-8.
        if is_database(&path) && path.to_str().is_some() {
            sources.push(source(path));
        }
    }
    if sources.is_empty() {
        return Err(Error::NoDatabases {
            path: path.to_owned(),
        });
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(sources)
}

/// Whether a file in a folder is taken for a database, by its name.
pub(crate) fn is_database(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("mmdb"))
}

/// Opens a regular file, if it has a byte in it and is no larger than `max_bytes`.
pub(crate) fn open(path: &Path, max_bytes: u64) -> Result<(File, Signature), Error> {
    let io_error = |source| Error::io(path, source);
    // Opening some devices has effects, so look before opening; look again afterwards, since
    // the name may have come to mean another file.
    check(path, &fs::metadata(path).map_err(io_error)?, max_bytes)?;
    let file = OpenOptions::new()
        .read(true)
        // Opening a FIFO would otherwise wait for a writer, for ever.
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(io_error)?;
    let metadata = file.metadata().map_err(io_error)?;
    check(path, &metadata, max_bytes)?;
    Ok((file, Signature::from(&metadata)))
}

fn check(path: &Path, metadata: &Metadata, max_bytes: u64) -> Result<(), Error> {
    let path = || path.to_owned();
    match metadata.len() {
        _ if !metadata.is_file() => Err(Error::NotAFile { path: path() }),
        0 => Err(Error::Empty { path: path() }),
        bytes if bytes > max_bytes => Err(Error::TooLarge {
            path: path(),
            bytes,
            max_bytes,
        }),
        _ => Ok(()),
    }
}
