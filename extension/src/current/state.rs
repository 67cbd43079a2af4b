//! The current session of this backend's transaction, which savepoints restore.

use pgrx::pg_sys;
use pgrx::prelude::*;
use std::cell::RefCell;

/// What is known of a session that `authenticate` has found.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: [u8; 16],
    /// The user, as text; null in an anonymous session.
    pub(super) user: Option<String>,
}

/// What was set at each level of nested transactions that has set anything, outermost first. The
/// last one counts.
#[derive(Debug)]
struct Levels(Vec<(i32, Option<Session>)>);

impl Levels {
    fn set(&mut self, level: i32, session: Option<Session>) {
        if self.0.is_empty() && session.is_none() {
            return;
        }
        self.0.pop_if(|(last, _)| *last == level);
        self.0.push((level, session));
    }

    fn current(&self) -> Option<&Session> {
        self.0.last()?.1.as_ref()
    }

    /// What a released savepoint has set counts for the level around it.
    fn savepoint_released(&mut self, level: i32) {
        if let Some((_, session)) = self.0.pop_if(|(last, _)| *last >= level) {
            self.set(level - 1, session);
        }
    }

    /// What was set before the savepoint counts again.
    fn savepoint_rolled_back(&mut self, level: i32) {
        while self.0.pop_if(|(last, _)| *last >= level).is_some() {}
    }
}

thread_local! {
    // A backend is one thread and runs one transaction at a time.
    static LEVELS: RefCell<Levels> = const { RefCell::new(Levels(Vec::new())) };
}

/// Registers callbacks for the ends of transactions.
pub(super) fn init() {
    // SAFETY: the callbacks live as long as the process, and are guarded against panics.
    unsafe {
        pg_sys::RegisterXactCallback(Some(transaction_ends), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(savepoint_ends), std::ptr::null_mut());
    }
}

/// Makes a session the current one, or none.
pub(super) fn set(session: Option<Session>) {
    let level = nest_level();
    LEVELS.with_borrow_mut(|levels| levels.set(level, session));
}

/// Reads the current session.
pub(super) fn with_current<T>(read: impl FnOnce(&Session) -> T) -> Option<T> {
    LEVELS.with_borrow(|levels| levels.current().map(read))
}

/// A session was deleted. If it is the current one, there is none from now on, unless the deletion
/// is rolled back.
pub(crate) fn ended(id: [u8; 16]) {
    if with_current(|session| session.id == id) == Some(true) {
        set(None);
    }
}

/// All sessions were deleted.
pub(crate) fn all_ended() {
    set(None);
}

fn nest_level() -> i32 {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::GetCurrentTransactionNestLevel() }
}

#[pg_guard]
unsafe extern "C-unwind" fn transaction_ends(
    event: pg_sys::XactEvent::Type,
    _argument: *mut std::ffi::c_void,
) {
    use pg_sys::XactEvent::{XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PREPARE};
    if let XACT_EVENT_COMMIT | XACT_EVENT_ABORT | XACT_EVENT_PREPARE = event {
        LEVELS.with_borrow_mut(|levels| levels.0.clear());
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn savepoint_ends(
    event: pg_sys::SubXactEvent::Type,
    _this: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _argument: *mut std::ffi::c_void,
) {
    use pg_sys::SubXactEvent::{SUBXACT_EVENT_ABORT_SUB, SUBXACT_EVENT_COMMIT_SUB};
    LEVELS.with_borrow_mut(|levels| {
        if levels.0.is_empty() {
            return;
        }
        // The level still counts the transaction that ends.
        let level = nest_level();
        match event {
            SUBXACT_EVENT_COMMIT_SUB => levels.savepoint_released(level),
            SUBXACT_EVENT_ABORT_SUB => levels.savepoint_rolled_back(level),
            _ => {}
        }
    });
}
