//! Announcing the sessions that a transaction changed, so that caches drop them.
//!
//! A trigger on the session table sees every change by whatever path; [`pending`] keeps the ids
//! until the transaction ends. At commit they leave by one of two ways:
//!
//! - With `shared_preload_libraries = 'qsessions'` they go to a [`ring`] in shared memory, and a
//!   background worker, the [`announcer`], makes few NOTIFYs of them. NOTIFY takes a lock that the
//!   whole cluster shares and that is held while the commit is flushed; this way writers never wait
//!   for it.
//! - Without, or while there is no announcer, the transaction itself does the NOTIFY: as right, but
//!   commits then go one at a time.
//!
//! [`notify`] says why nothing is lost when the server's NOTIFY queue is full or the channel
//! changes, and [`ring`] why nothing is lost when an announcer fails or cannot be had.

mod announcer;
mod invalidate;
mod notify;
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
