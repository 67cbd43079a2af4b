/// Who watches while a file is copied and checked, which takes a second or so.
pub trait Monitor {
    /// Called every few milliseconds. To end the work, it panics, as a cancelled statement does, and
    /// what is half done is cleared away; or it ends the process, and the next one does that.
    fn tick(&mut self);

    /// The same while there is nothing to do but wait for another process.
    fn wait(&mut self) {
        self.tick();
    }

    /// Something that an administrator may want to find in a log.
    fn note(&mut self, line: &str);
}

/// Lets everything go on and keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Monitor for Unwatched {
    fn tick(&mut self) {}

    fn note(&mut self, _line: &str) {}
}
