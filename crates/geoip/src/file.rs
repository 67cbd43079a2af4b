use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;

/// The cap on the size of a file where nobody asks for another: 512 MiB, some four times the
/// largest of the free databases.
pub const DEFAULT_MAX_BYTES: u64 = 512 * 1024 * 1024;

/// What tells one state of a file from another without reading it.
///
/// The change time is in it because `touch -r` and `rsync --times` bring back the modification
/// time, and device and inode because a rename can put another file of the same size and time
/// in place.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Signature {
    /// Size in bytes.
    pub size: u64,
    /// Last change of the contents, seconds and nanoseconds since 1970.
    pub mtime: (i64, i64),
    /// Last change of the contents or of owner, mode or links, likewise.
    pub ctime: (i64, i64),
    /// Number of the file on its device.
    pub inode: u64,
    /// The device.
    pub device: u64,
}

impl Signature {
    /// Asks the system about the file at `path`, following symbolic links: one `stat` call.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(path: &Path) -> io::Result<Self> {
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

/// Opens a regular file, if it is one, has a byte in it and is no larger than `max_bytes`.
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
