use crate::Error;

/// Follows an import, which takes a second or so, and can stop it.
pub trait Progress {
    /// Called every few milliseconds. If it returns true, the import clears away what is half done
    /// and ends with [`Error::Stopped`].
    fn should_stop(&mut self) -> bool;

    /// Something that an administrator may want to find in a log.
    fn note(&mut self, line: &str);
}

/// Stops nothing and keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn should_stop(&mut self) -> bool {
        false
    }

    fn note(&mut self, _line: &str) {}
}

pub(crate) fn stop_if_asked(progress: &mut dyn Progress) -> Result<(), Error> {
    if progress.should_stop() {
        return Err(Error::Stopped);
    }
    Ok(())
}
