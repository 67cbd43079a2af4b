//! The one file of this crate whose memory comes from a file: a copy that nothing writes to.

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// The bytes of a private copy, mapped. All processes that have it open share its memory.
#[derive(Debug)]
pub struct Mapping(Mmap);

impl Mapping {
    /// Maps a copy in the folder of a [`Store`](crate::Store). No other file may be mapped: if it
    /// is cut off, each process that reads it dies of SIGBUS.
    #[allow(unsafe_code)]
    pub(crate) fn of_copy(copy: &File) -> io::Result<Self> {
        // SAFETY: the bytes must not change while they are mapped. The callers pass only files of the
        // store's folder, below the data directory, which only the server's user can enter.
        // Nothing opens one of them for writing after it was made: a temporary file is made by
        // `create_new` under a lock and is not written to once it is mapped, and it becomes a
        // copy by a rename. Copies are removed, which leaves the bytes of a mapping alone, and
        // never changed. They are of mode 0400, so that no tool changes them by mistake.
        unsafe { Mmap::map(copy) }.map(Self)
    }
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
