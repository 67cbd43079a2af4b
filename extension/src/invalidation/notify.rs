//! The only file that does NOTIFY: in the transaction of a writer, or in one of the
//! [notifier](super::notifier).
//!
//! Two events can come between a change and the listeners. The server's NOTIFY queue may be full:
//! any role that may connect can fill it, with a LISTEN in a transaction that does not end.
//! PostgreSQL then fails the commit of every transaction that does NOTIFY. And
//! `qsessions.invalidation_channel` may be changed, which the backends learn one after the other.
//! In either case, changes of sessions must not fail, and no cache may serve an old copy as a
//! current one.
//!
//! So there is a [record], the table `qsessions.invalidation_state`, of at most one row: the
//! channel that this database used last (without a row, the default one), and whether listeners are
//! behind, that is, changes have been committed since and not been sent. It is read and written
//! under PostgreSQL's own lock of the queue. Each transaction that does NOTIFY takes that lock
//! shortly before its commit and holds it until after. Here the lock is taken a moment earlier.
//! Under it:
//!
//! - A transaction for which the queue has room sends on the channel of its own setting. If the
//!   record says that listeners are behind, `*` goes first. If the record names another channel,
//!   `*` goes first on both. Then the record is brought up to date.
//! - A transaction for which the queue has no room sends nothing, and the record says from then on
//!   that listeners are behind.
//!
//! **A listener that receives an id on a channel has received on it, before that and since its
//! LISTEN, for each change that was committed earlier, either the id of the session or `*`.** Only
//! one transaction at a time is between taking the lock and the end of its commit. So these
//! transactions have an order, the queue keeps that order, and each transaction reads the record
//! that the one before it has left. If a transaction is rolled back, so are its changes, its
//! notifications and its record. Take a change whose id was not sent on this channel. Either it was
//! not sent at all. Then the record said so from that transaction on until one sent `*`, and no id
//! was sent between the two. Or it was sent on another channel. Then the next transaction that
//! sends an id on this channel finds the other one in the record, and sends `*` on both first. A
//! probe is an id like any other, so a listener receives the `*` for a lost notification before any
//! later probe.
//!
//! The ids of [prepared transactions](super::prepared) that have been committed go before all
//! others, and are read under the same lock.
//!
//! The room in the queue is read under the same lock: no other transaction can add to the queue
//! between that and the NOTIFY.
//!
//! The table is unlogged. A crash empties it, but a crash also ends all connections, and a listener
//! that loses its connection drops all that it holds. The same is true of a standby that is
//! promoted, where the table begins empty.
//!
//! The lock is also held while the callbacks of other extensions run. If a transaction changes
//! sessions here and, through postgres_fdw, in another database of the same server, then the remote
//! commit may wait for it, in a circle that PostgreSQL cannot see. docs/invalidation.md warns of
//! that.

pub(super) mod queue;
mod record;

use super::changes::{Changes, EVERYTHING};
use super::prepared::Prepared;
use crate::gucs;
use pgrx::prelude::*;
use pgrx::{direct_function_call, pg_sys};
use record::Record;

/// Sends these changes, in this order, when the current transaction commits. The transaction must
/// be about to commit: it holds the lock of the queue from here on. False if the queue has no room;
/// then nothing is sent.
pub(super) fn send(changes: &[&Changes]) -> bool {
    let payloads = payloads(changes);
    let prepared = Prepared::open();
    send_payloads(payloads, &Record::read(), &prepared)
}

/// As [`send`], but if the queue has no room, the record says from the commit on that listeners are
/// behind.
pub(super) fn send_or_record(changes: &[&Changes]) -> bool {
    let payloads = payloads(changes);
    let prepared = Prepared::open();
    let record = Record::read();
    let is_sent = send_payloads(payloads, &record, &prepared);
    if !is_sent {
        record.set_behind();
    }
    is_sent
}

/// As [`send`], but returns false also if it would have to wait. The transaction must already have
/// opened the table of [`Prepared`].
pub(super) fn send_if_free(changes: &[&Changes]) -> bool {
    let payloads = payloads(changes);
    let prepared = Prepared::open();
    let Some(record) = Record::read_if_free() else {
        return false;
    };
    !queue::is_full() && send_payloads(payloads, &record, &prepared)
}

/// The payloads are made before the lock is taken: every transaction that does NOTIFY waits for it.
fn payloads(changes: &[&Changes]) -> Vec<String> {
    changes
        .iter()
        .flat_map(|changes| changes.payloads())
        .collect()
}

fn send_payloads(payloads: Vec<String>, record: &Record, prepared: &Prepared) -> bool {
    let usage = queue::usage();
    // Without a record to write to, PostgreSQL raises its own error.
    if usage > gucs::notify_queue_limit() && record.exists() {
        return false;
    }
    let channel = gucs::invalidation_channel();
    let first = record.settle(&channel);
    let mut payloads = [prepared.take().payloads(), payloads].concat();
    // Each notification takes a page at most. The last page may be partly filled, and the next one
    // must be free as well.
    if first.len() + payloads.len() + 2 > queue::room(usage) {
        payloads = vec![EVERYTHING.to_owned()];
    }
    for channel in &first {
        notify(channel, EVERYTHING);
    }
    for payload in &payloads {
        notify(&channel, payload);
    }
    true
}

fn notify(channel: &str, payload: &str) {
    let arguments = [channel.into_datum(), payload.into_datum()];
    // SAFETY: pg_notify takes two texts and returns nothing.
    unsafe { direct_function_call::<()>(pg_sys::pg_notify, &arguments) };
}
