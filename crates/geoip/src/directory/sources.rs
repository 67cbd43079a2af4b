use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::{Error, Signature};

/// A file of the administrator's, and its state.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) state: Result<Signature, Error>,
}

/// What there is at the path.
pub(super) struct Found {
    pub(super) sources: Vec<Source>,
    /// Why the path can't be used. The sources are then those that were known before.
    pub(super) failure: Option<Error>,
}

/// The file at a path, or those of the folder there whose names end in `.mmdb`.
pub(super) fn sources_at(path: &Path) -> Result<Vec<Source>, Error> {
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
        let is_database = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("mmdb"));
        // The index can't hold other names, and nobody gives them.
        if is_database && path.to_str().is_some() {
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
