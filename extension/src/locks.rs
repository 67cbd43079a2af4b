//! Locks of users, by which logins and "log out everywhere" wait for each other.
//!
//! Any role may take any advisory lock, and with it hold up the logout of any user. These are locks
//! of database objects instead. SQL takes such a lock only through the function here. The function
//! asks for the privilege to delete sessions for an exclusive lock, and for any privilege to write
//! to the session table for a shared one.

use pgrx::prelude::*;
use pgrx::{AnyElement, pg_sys};

/// Number of locks for all users. If each user had a lock of its own, an import that creates
/// sessions of a million users in one transaction would fill the lock table of the server, which
/// has room for some thousands by default. Users of one stripe wait for each other without need,
/// but only until their transactions end.
const STRIPES: u64 = 1024;

/// Locks a user until the transaction ends. `hash` stands for the user, and `table` is the session
/// table. The lock has the OID of the table as its class of objects. No class has this OID, so no
/// DDL takes the same lock, and with another table the caller locks nothing that a session waits
/// for.
///
/// Shared locks of a user do not wait for each other; an exclusive lock waits for all others. The
/// result is always true, so that a statement can call the function in its WHERE clause.
#[pg_extern(
    create_or_replace,
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
    check_privileges(table, is_exclusive);
    let stripe = pg_sys::Oid::from((hash.cast_unsigned() % STRIPES) as u32);
    // SAFETY: the first call raises an error on a standby, as the write that follows would. The tag
    // of the lock consists of plain numbers, and the lock manager releases the lock when the
    // transaction ends.
    unsafe {
        pg_sys::PreventCommandDuringRecovery(c"a change of sessions".as_ptr());
        pg_sys::LockDatabaseObject(table, stripe, 0, mode as i32);
    }
    true
}

/// Locks a user as [`lock_user_hash`] does, with the hash that `hash_record_extended(ROW(user), 0)`
/// returns, in a third of the time.
pub(crate) fn lock_user(
    table: pg_sys::Oid,
    user: &AnyElement,
    collation: pg_sys::Oid,
    is_exclusive: bool,
) {
    // SAFETY: the entry of the type cache lives as long as the process, and its function takes a
    // value of that type and a seed.
    let hash = unsafe {
        let kind = pg_sys::TYPECACHE_HASH_EXTENDED_PROC_FINFO as i32;
        let entry = pg_sys::lookup_type_cache(user.oid(), kind);
        let function = &raw mut (*entry).hash_extended_proc_finfo;
        if (*function).fn_oid == pg_sys::InvalidOid {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_UNDEFINED_FUNCTION,
                "the type of the users' key has no hash function"
            );
        }
        pg_sys::FunctionCall2Coll(function, collation, user.datum(), 0.into())
    };
    lock_user_hash(table, hash.value().cast_signed() as i64, is_exclusive);
}

/// Raises an error unless the current role may write to the table, and for an exclusive lock delete
/// from it. A role that may delete the sessions of a user can hold up their login anyway.
fn check_privileges(table: pg_sys::Oid, is_exclusive: bool) {
    let wanted = if is_exclusive {
        pg_sys::ACL_DELETE
    } else {
        pg_sys::ACL_INSERT | pg_sys::ACL_UPDATE | pg_sys::ACL_DELETE
    };
    // SAFETY: reads the catalogue; an OID that is not a table's is an error there.
    unsafe {
        // Any one of the wanted privileges is enough.
        let result =
            pg_sys::pg_class_aclcheck(table, pg_sys::GetUserId(), wanted as pg_sys::AclMode);
        if result != pg_sys::AclResult::ACLCHECK_OK {
            let name = pg_sys::get_rel_name(table);
            pg_sys::aclcheck_error(result, pg_sys::ObjectType::OBJECT_TABLE, name);
        }
    }
}
