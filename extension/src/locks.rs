//! Locks of users, by which logins and "log out everywhere" wait for each other.
//!
//! Any role may take any advisory lock, and so hold up the logout of any user. These are locks of
//! database objects instead, which SQL takes only through this function: PUBLIC may not run it.

use pgrx::pg_sys;
use pgrx::prelude::*;

/// So many locks there are for all users. An import that begins sessions of a million users in one
/// transaction would fill the server's table of locks, which has room for some thousands by default,
/// if each had one of its own. Users of one stripe wait for each other without need, which takes no
/// longer than their transactions do.
const STRIPES: u64 = 1024;

/// Locks a user until the transaction ends. `hash` stands for the user, `table` for the session
/// table, whose OID no class of objects has, so that no DDL ever takes the same lock.
///
/// Shared locks of a user do not wait for each other; an exclusive one waits for all others. Always
/// true, so that a statement can have it in its WHERE.
#[pg_extern(
    schema = "qsessions",
    name = "_lock_user_hash",
    volatile,
    parallel_unsafe,
    strict
)]
fn lock_user_hash(table: pg_sys::Oid, hash: i64, is_exclusive: bool) -> bool {
    let mode = if is_exclusive {
        pg_sys::ExclusiveLock
    } else {
        pg_sys::ShareLock
    };
    let stripe = pg_sys::Oid::from((hash.cast_unsigned() % STRIPES) as u32);
    // SAFETY: the first raises an error on a standby, as the write would that is to come. The tag is
    // made of plain numbers, and the lock manager releases the lock with the transaction.
    unsafe {
        pg_sys::PreventCommandDuringRecovery(c"a change of sessions".as_ptr());
        pg_sys::LockDatabaseObject(table, stripe, 0, mode as i32);
    }
    true
}
