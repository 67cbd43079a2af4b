use std::io;
use std::path::PathBuf;

/// Why a file can't be used, or a look-up in it has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system says no: no such file, no permission, a bad disk.
    #[error("could not read \"{}\": {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder, a FIFO, a socket or a device, where a file was expected.
    #[error("\"{}\" is not a regular file", path.display())]
    NotAFile {
        /// What is no file.
        path: PathBuf,
    },
    /// No byte in it.
    #[error("\"{}\" is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Over the cap on size.
    #[error("\"{}\" has {bytes} bytes, more than the {max_bytes} allowed", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        bytes: u64,
        /// The cap in bytes.
        max_bytes: u64,
    },
    /// Somebody wrote to the file while it was read, so that what was read may be half old and
    /// half new. Trying again later helps.
    #[error("\"{}\" changed while it was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Not enough memory for the file.
    #[error("out of memory reading {bytes} bytes of \"{}\"", path.display())]
    OutOfMemory {
        /// The file.
        path: PathBuf,
        /// How much was asked for.
        bytes: u64,
    },
    /// A folder in which no name ends in `.mmdb`.
    #[error("no .mmdb file in \"{}\"", path.display())]
    NoDatabases {
        /// The folder.
        path: PathBuf,
    },
    /// Not a MaxMind DB file, or its metadata can't be right.
    #[error("\"{}\" is not a usable MaxMind DB file: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file was opened, but what it holds for an address can't be decoded.
    #[error("\"{}\" holds corrupt data: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}
