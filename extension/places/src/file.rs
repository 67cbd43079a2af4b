use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::Error;

/// The cap on the size of a file where nobody asks for another: 512 MiB, some four times the
/// largest of the free databases.
pub const DEFAULT_MAX_BYTES: u64 = 512 * 1024 * 1024;

/// What tells one state of a file from another without reading it.
///
/// The change time is in it because `touch -r` and `rsync --times` bring back the modification
/// time, and device and inode because a rename can put another file of the same size and time
/// in place.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
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
    pub fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::from(&fs::metadata(path)?))
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

/// The whole of a regular file, if it is one and no larger than `max_bytes`.
///
/// It is read, not mapped: whoever maps a file that somebody then overwrites dies of SIGBUS.
pub(crate) fn read(path: &Path, max_bytes: u64) -> Result<Vec<u8>, Error> {
    let io_error = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    // Opening some devices has effects, so look before opening; look again afterwards, since
    // the name may have come to mean another file.
    check(path, &fs::metadata(path).map_err(io_error)?, max_bytes)?;
    let mut file = open(path).map_err(io_error)?;
    let metadata = file.metadata().map_err(io_error)?;
    check(path, &metadata, max_bytes)?;
    let size = metadata.len();

    let mut bytes = Vec::new();
    let capacity = usize::try_from(size)
        .ok()
        .filter(|&n| bytes.try_reserve_exact(n).is_ok());
    if capacity.is_none() {
        return Err(Error::OutOfMemory {
            path: path.to_owned(),
            bytes: size,
        });
    }
    // One byte more than expected is enough to see that the file has grown.
    (&mut file)
        .take(size + 1)
        .read_to_end(&mut bytes)
        .map_err(io_error)?;

    let signature = Signature::from(&metadata);
    let after = Signature::from(&file.metadata().map_err(io_error)?);
    // A new link or mode changes ctime only, and does no harm.
    let same = (after.size, after.mtime) == (signature.size, signature.mtime);
    if !same || bytes.len() as u64 != size {
        return Err(Error::Changed {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}

fn check(path: &Path, metadata: &Metadata, max_bytes: u64) -> Result<(), Error> {
    if !metadata.is_file() {
        return Err(Error::NotAFile {
            path: path.to_owned(),
        });
    }
    match metadata.len() {
        0 => Err(Error::Empty {
            path: path.to_owned(),
        }),
        bytes if bytes > max_bytes => Err(Error::TooLarge {
            path: path.to_owned(),
            bytes,
            max_bytes,
        }),
        _ => Ok(()),
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Opening a FIFO would otherwise wait for a writer, for ever.
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
}
