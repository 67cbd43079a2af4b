//! Announcing the sessions that a transaction changed, so that caches drop them.
//!
//! A trigger on the session table sees every change by whatever path; [`pending`] keeps the ids until the transaction ends.
//! At commit they leave by one of two ways:
//!
//! - With `shared_preload_libraries = 'qsessions'` they go to a [`ring`] in shared memory, and a
//!   background worker, the [`announcer`], makes few NOTIFYs of them. NOTIFY takes a lock that the
//!   whole cluster shares and that is held while the commit is flushed; this way writers never wait for it.
//! - Without, the transaction itself does the NOTIFY: as right, but commits then go one at a time.

mod announcer;
mod invalidate;
mod payload;
mod pending;
mod ring;
mod status;
mod trigger;

/// Called once by each process that loads the library.
pub(crate) fn init() {
    ring::init();
    pending::init();
}
