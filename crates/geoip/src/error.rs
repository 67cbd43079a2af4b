use std::io;
use std::path::{Path, PathBuf};

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
    /// Somebody wrote to the file while it was copied, so that the copy may be half old and half
    /// new. Trying again later helps.
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
    /// Not a MaxMind DB file, or something in it can't be right.
    #[error("\"{}\" is not a usable MaxMind DB file: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A good database, but of networks where there was one of places, or the other way round.
    #[error("\"{}\" holds a database of another kind than before: {kind}", path.display())]
    OtherKind {
        /// The file.
        path: PathBuf,
        /// What it calls itself.
        kind: String,
    },
    /// The file was opened, but what it holds for an address can't be decoded.
    #[error("\"{}\" holds corrupt data: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The private copy can't be made or opened.
    #[error("could not keep a copy of \"{}\" below the data directory: {source}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process was copying and checking files for too long.
    #[error("waited in vain for the copy of \"{}\" that another process makes", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
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

    /// What the administrator can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io { .. } => "The user that the server runs as must be able to read it.",
            Self::NotAFile { .. } => "Put a file there, or take the name away.",
            Self::TooLarge { .. } => "Raise qsessions.geoip_max_bytes, if the file is right.",
            Self::Changed { .. } => "It is tried again. Replace files by renaming.",
            Self::NoDatabases { .. } => {
                "Put databases there, or set qsessions.geoip_path to where they are."
            }
            Self::Empty { .. } | Self::Invalid { .. } | Self::Corrupt { .. } => {
                "Fetch the file again, and put it in place by renaming."
            }
            Self::OtherKind { .. } => "Give the new database a name of its own.",
            Self::Store { source, .. } if source.raw_os_error() == Some(libc::ENOSPC) => {
                "Make room on the disk of the data directory; it is tried again every minute."
            }
            Self::Store { .. } => {
                "The server must be able to write to its data directory; it is tried again every minute."
            }
            Self::Busy { .. } => "It is tried again. The server's log tells of the copying.",
        }
    }

    /// Whether trying again may help though the file stays as it is.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Io { .. } | Self::Changed { .. } | Self::Store { .. } | Self::Busy { .. }
        )
    }
}
