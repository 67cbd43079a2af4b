//! Invalidation: caches learn which sessions a transaction has changed, by NOTIFY.
//!
//! A trigger on the session table sees every change, whatever makes it. [`pending`] keeps the ids
//! until the transaction ends. At commit, they are delivered in one of two ways:
//!
//! - With `shared_preload_libraries = 'qsessions'` the ids go to a [`ring`] in shared memory, and a
//!   background worker, the [`notifier`], sends few NOTIFYs for many of them. NOTIFY takes a lock
//!   that the whole cluster shares, and holds it while the commit is flushed. With the ring,
//!   writers never wait for that lock.
//! - Without the ring, or while no notifier runs, the transaction itself does the NOTIFY. That is
//!   as safe, but such transactions commit one at a time.
//!
//! The changes of a transaction that is prepared for a two-phase commit go to a [table](prepared), and
//! are delivered once it is committed.
//!
//! [`notify`] shows why no change is lost when the server's NOTIFY queue is full or the channel
//! changes, and [`ring`] why none is lost when a notifier fails or cannot be started. [`heartbeat`]
//! shows what a listener knows once it has received a heartbeat.

mod changes;
mod heartbeat;
mod invalidate;
mod notifier;
mod notify;
mod pending;
mod prepared;
mod ring;
mod status;
mod table;
mod trigger;

/// Called once by each process that loads the library.
pub(crate) fn init() {
    ring::init();
    prepared::init();
    pending::init();
}
