//! What to go back to when a savepoint is rolled back.

/// States that a list or a number had before nested transactions changed it. Nested transactions
/// end in the opposite order of their beginning.
#[derive(Debug)]
pub(crate) struct Savepoints<T> {
    marks: Vec<Mark<T>>,
}

/// The state before the nested transaction of this level made its first change.
#[derive(Clone, Copy, Debug)]
struct Mark<T> {
    level: i32,
    state: T,
}

impl<T> Savepoints<T> {
    pub(crate) const fn new() -> Self {
        Self { marks: Vec::new() }
    }

    /// Whether no nested transaction has changed anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Called before a change on this level, with the present state.
    pub(crate) fn enter(&mut self, level: i32, state: T) {
        if level > 1 && self.marks.last().is_none_or(|mark| mark.level < level) {
            self.marks.push(Mark { level, state });
        }
    }

    /// The nested transaction of this level has become part of the one around it.
    pub(crate) fn released(&mut self, level: i32) {
        if let Some(mark) = self.marks.pop_if(|mark| mark.level >= level)
            && level > 2
            && self
                .marks
                .last()
                .is_none_or(|outer| outer.level < level - 1)
        {
            self.marks.push(Mark {
                level: level - 1,
                ..mark
            });
        }
    }

    /// The nested transaction of this level was rolled back. Returns the state to go back to, if it
    /// has changed something.
    pub(crate) fn rolled_back(&mut self, level: i32) -> Option<T> {
        let mut state = None;
        while let Some(mark) = self.marks.pop_if(|mark| mark.level >= level) {
            state = Some(mark.state);
        }
        state
    }
}
