use std::io;
use std::path::{Path, PathBuf};

/// Why a file cannot be used, or a look-up in it has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refuses: no such file, no permission, a bad disk.
    #[error("could not read \"{}\": {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A folder, a FIFO, a socket or a device, where a file was expected.
    #[error("\"{}\" is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file has no bytes.
    #[error("\"{}\" is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file is larger than allowed.
    #[error("\"{}\" has {bytes} bytes, more than the {max_bytes} allowed", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        bytes: u64,
        /// The largest size allowed, in bytes.
        max_bytes: u64,
    },
    /// The file was written to while it was copied, so that the copy may be half old and half new.
    #[error("\"{}\" changed while it was copied", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A folder in which no name ends in `.mmdb`.
    #[error("no .mmdb file in \"{}\"", path.display())]
    NoDatabases {
        /// The folder.
        path: PathBuf,
    },
    /// No import has looked at the path yet.
    #[error("nothing was imported from \"{}\"", path.display())]
    NotImported {
        /// The file or folder.
        path: PathBuf,
    },
    /// Not a MaxMind DB file, or one that contradicts itself.
    #[error("\"{}\" is not a usable MaxMind DB file: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The part that is wrong.
        reason: String,
    },
    /// A good database, but of networks in place of one of locations, or the other way round.
    #[error("\"{}\" holds a database of another kind than before: {kind}", path.display())]
    OtherKind {
        /// The file.
        path: PathBuf,
        /// The file's own name for its kind.
        kind: String,
    },
    /// The record of an address cannot be decoded.
    #[error("\"{}\" holds corrupt data: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The part that is wrong.
        reason: String,
    },
    /// The private copy cannot be made or opened.
    #[error("could not keep a copy of \"{}\" below the data directory: {source}", path.display())]
    Store {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// [`Progress::should_stop`](crate::Progress::should_stop) ended the import.
    #[error("the import was stopped")]
    Stopped,
}

impl Error {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn invalid(path: &Path, reason: impl Into<String>) -> Self {
        Self::Invalid {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn store(path: &Path, source: io::Error) -> Self {
        Self::Store {
            path: path.to_owned(),
            source,
        }
    }

    /// A sentence that says what the administrator can do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io { .. } => "The user that the server runs as must be able to read it.",
            Self::NotAFile { .. } => "Put a file there, or remove it.",
            Self::TooLarge { .. } => "If the file is right, raise qsessions.geoip_max_bytes.",
            Self::Changed { .. } => "Replace files by renaming.",
            Self::NoDatabases { .. } => {
                "Put databases there, or set qsessions.geoip_path to where they are."
            }
            Self::NotImported { .. } => {
                "Call qsessions.geoip_reload(), or add qsessions to shared_preload_libraries."
            }
            Self::Empty { .. } | Self::Invalid { .. } | Self::Corrupt { .. } => {
                "Fetch the file again, and put it in place by renaming."
            }
            Self::OtherKind { .. } => "Give the new database a name of its own.",
            Self::Store { source, .. } if source.raw_os_error() == Some(libc::ENOSPC) => {
                "Make room on the disk of the data directory."
            }
            Self::Store { .. } => "The server must be able to write to its data directory.",
            Self::Stopped => "Start the import again.",
        }
    }

    /// Whether trying again may help though the file stays as it is.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Io { .. } | Self::TooLarge { .. } | Self::Changed { .. } | Self::Store { .. }
        )
    }
}
