//! `qsessions.request_heartbeat`: an id that the server sends once for all caches that wait for it.
//!
//! A cache needs to know up to when it has received all changes. It can send an id of its own with
//! `invalidate` and wait for it, but then every listener receives the ids of all caches. So the
//! notifier sends *heartbeats*: the next id that it will send is in the slot of its database, all
//! callers until then are told of the same one, and it is sent once.
//!
//! **A listener that receives a heartbeat has received all changes that were confirmed before any
//! of its callers has called.** The notifier [takes](ring::take_heartbeat) the heartbeat, under the
//! lock of the ring, *before* it reads the backlog. From then on, callers are told of another one.
//! So a change that was confirmed before a call is either in that backlog, which is sent before the
//! heartbeat, or was sent earlier, by a transaction whose commit came before. What a transaction
//! sends itself, it sends before its commit is confirmed. Then [`notify`](super::notify) holds: the
//! heartbeat is an id like any other.
//!
//! A caller is told only the SHA-256 of the id. Any role that may connect can do NOTIFY, and could
//! otherwise send the id before the notifier has sent the changes.

use super::changes::Id;
use super::notify::queue;
use super::{notifier, pending, ring};
use crate::keys::strong_random;
use pgrx::prelude::*;
use pgrx::{direct_function_call, pg_sys};
use uuid::{Builder, Uuid};

/// Returns the SHA-256 of the text of an id that is sent once everything that was committed before
/// the call has been sent. While no notifier runs, the transaction sends the id when it commits.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    volatile,
    parallel_unsafe,
    strict
)]
fn request_heartbeat() -> Vec<u8> {
    // SAFETY: raises an error on a standby, where NOTIFY is not possible, and does nothing
    // elsewhere.
    unsafe {
        pg_sys::PreventCommandDuringRecovery(c"qsessions.request_heartbeat()".as_ptr());
    };
    check_privilege();
    if queue::is_full() {
        queue::full_report("for a heartbeat").report(PgLogLevel::ERROR);
    }
    let fresh = *Builder::from_random_bytes(strong_random())
        .as_uuid()
        .as_bytes();
    let id = shared(fresh).unwrap_or_else(|| {
        // This also starts a notifier for later calls.
        pending::add(fresh);
        fresh
    });
    digest(id).to_vec()
}

/// The heartbeat that the notifier sends next, if a notifier runs.
fn shared(fresh: Id) -> Option<Id> {
    if !ring::exists() {
        return None;
    }
    let requested = ring::request_heartbeat(fresh)?;
    if let Some(latch) = requested.to_wake {
        notifier::wake(latch);
    }
    Some(requested.id)
}

fn digest(id: Id) -> [u8; 32] {
    let mut buffer = Uuid::encode_buffer();
    let text = Uuid::from_bytes(id).hyphenated();
    qsessions_key::digest(text.encode_lower(&mut buffer))
}

/// A role that may send an id may request one: after an update, nothing has to be granted again.
fn check_privilege() {
    let arguments = [
        "qsessions.invalidate(pg_catalog.uuid)".into_datum(),
        "EXECUTE".into_datum(),
    ];
    // SAFETY: has_function_privilege takes two texts and returns a boolean. The error for a missing
    // privilege ends the call.
    unsafe {
        let may = direct_function_call::<bool>(pg_sys::has_function_privilege_name, &arguments);
        if may != Some(true) {
            pg_sys::aclcheck_error(
                pg_sys::AclResult::ACLCHECK_NO_PRIV,
                pg_sys::ObjectType::OBJECT_FUNCTION,
                c"invalidate".as_ptr(),
            );
        }
    }
}
