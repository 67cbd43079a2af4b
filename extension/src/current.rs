//! The current session: who is asking, for row-level security.
//!
//! `authenticate` looks a key up and remembers whose session it opens, in [`state`], until the
//! transaction ends. No SQL function takes the id or the user to remember as an argument, and no
//! parameter holds them, so a role that does not know a key cannot become anybody. [`planner`] has
//! policies call the functions once per statement.

mod planner;
mod state;

pub(crate) use state::{all_ended, ended};

use crate::values::{Network, RawJsonb, SessionRow};
use pgrx::datum::DatumWithOid;
use pgrx::iter::SetOfIterator;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::spi::{OwnedPreparedStatement, SpiError, SpiTupleTable};
use pgrx::{Uuid, pg_sys};
use state::Session;
use std::cell::Cell;

/// Every name has its schema, so that the search_path of the caller does not matter.
const RESUME: &str = "SELECT s.id, s.user_id, s AS session \
                      FROM qsessions.resume_session($1, $2, $3, $4) AS s";

thread_local! {
    /// The prepared [`RESUME`]. A backend is one thread, and keeps the statement until it exits.
    static RESUME_PLAN: Cell<Option<&'static OwnedPreparedStatement>> = const { Cell::new(None) };
}

/// Called once by each process that loads the library.
pub(crate) fn init() {
    state::init();
    planner::init();
}

/// Resumes the session of a key, with the privileges of the caller, and makes it the current one.
#[pg_extern(create_or_replace, schema = "qsessions", volatile, parallel_unsafe)]
fn authenticate(
    key: Option<&str>,
    ip: default!(Option<Network>, "NULL"),
    user_agent: default!(Option<&str>, "NULL"),
    client_hints: default!(Option<RawJsonb>, "NULL"),
) -> SetOfIterator<'static, SessionRow> {
    // First of all: whatever fails below, the former session is not current any more.
    state::set(None);
    let row = Spi::connect(|client| {
        let plan = match RESUME_PLAN.get() {
            Some(plan) => plan,
            None => {
                let types = [
                    pg_sys::TEXTOID,
                    pg_sys::INETOID,
                    pg_sys::TEXTOID,
                    pg_sys::JSONBOID,
                ];
                let plan = client.prepare(RESUME, &types.map(pg_sys::PgOid::from))?;
                let plan: &_ = Box::leak(Box::new(plan.keep()));
                RESUME_PLAN.set(Some(plan));
                plan
            }
        };
        // SAFETY: each type is that of its value.
        let arguments = unsafe {
            [
                DatumWithOid::new(key, pg_sys::TEXTOID),
                DatumWithOid::new(ip, pg_sys::INETOID),
                DatumWithOid::new(user_agent, pg_sys::TEXTOID),
                DatumWithOid::new(client_hints, pg_sys::JSONBOID),
            ]
        };
        // This is read-only for SPI while the transaction has written nothing, which is so on a
        // standby. What a volatile function writes is its own matter.
        found(client.select(plan, None, &arguments)?)
    });
    match row {
        Ok(Some((session, row))) => {
            state::set(Some(session));
            SetOfIterator::new(Some(row))
        }
        Ok(None) => SetOfIterator::new(None),
        Err(error) => error!("could not resume the session: {error}"),
    }
}

/// The session in the only row, and the row.
fn found(table: SpiTupleTable<'_>) -> Result<Option<(Session, SessionRow)>, SpiError> {
    if table.is_empty() {
        return Ok(None);
    }
    let table = table.first();
    let (id, user) = (table.get::<Uuid>(1)?, table.get::<String>(2)?);
    let (Some(id), Some(row)) = (id, table.get_datum_by_ordinal(3)?) else {
        return Ok(None);
    };
    // SAFETY: a row is passed by reference and has its length in its header. This copies it to the
    // memory that was current before SPI, which lives as long as the result.
    let row = SessionRow(unsafe { pg_sys::SPI_datumTransfer(row, false, -1) });
    let session = Session {
        id: *id.as_bytes(),
        user,
    };
    Ok(Some((session, row)))
}

/// The user of the current session.
#[pg_extern(create_or_replace, schema = "qsessions", stable, parallel_restricted)]
fn current_user_id() -> Option<String> {
    check_is_leader();
    state::with_current(|session| session.user.clone()).flatten()
}

/// The id of the current session.
#[pg_extern(create_or_replace, schema = "qsessions", stable, parallel_restricted)]
fn current_session_id() -> Option<Uuid> {
    check_is_leader();
    state::with_current(|session| Uuid::from_bytes(session.id))
}

/// A parallel worker does not have the state of its leader. It gets here only through a function
/// that claims to be PARALLEL SAFE, and a null would be a wrong answer.
fn check_is_leader() {
    // SAFETY: reads a variable of this process.
    if unsafe { pg_sys::ParallelWorkerNumber } >= 0 {
        ErrorReport::new(
            PgSqlErrorCode::ERRCODE_INVALID_TRANSACTION_STATE,
            "cannot read the current session in a parallel worker",
            function_name!(),
        )
        .set_hint("Declare the function that reads it PARALLEL RESTRICTED.")
        .report(PgLogLevel::ERROR);
    }
}
