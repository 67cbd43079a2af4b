//! Pages of sessions, and ending many of them.

use crate::database::{Database, count, moment, one};
use crate::filter::Filter;
use crate::problem::Problem;
use qsessions::deadpool_postgres::Transaction;
use qsessions::{SessionInfo, Uuid};
use std::time::SystemTime;
use tokio_postgres::types::Type;

/// How many sessions are ended at most by one form. Their ids are kept in memory meanwhile.
pub(crate) const MOST: usize = 100_000;
/// How many sessions are ended in one transaction.
const BATCH: usize = 500;

/// A page of the sessions that a filter finds, newest first.
pub(crate) struct Page {
    pub(crate) sessions: Vec<SessionInfo>,
    /// The last id of this page, if another page follows.
    pub(crate) next: Option<Uuid>,
}

pub(crate) async fn page(
    database: &Database,
    transaction: &Transaction<'_>,
    filter: &Filter,
    size: u32,
) -> Result<Page, Problem> {
    let store = database.store.on(transaction);
    let mut call = store
        .list_sessions()
        .active(filter.active)
        .device(filter.device.as_deref())
        .country(filter.country.as_deref())
        .after(filter.after)
        .max_rows(size.saturating_add(1));
    if let Some(user) = &filter.user {
        call = call.user(user.as_str());
    }
    if let Some(network) = filter.network {
        call = call.network(network);
    }
    let mut sessions = call.await?;
    let has_more = sessions.len() > size as usize;
    sessions.truncate(size as usize);
    let next = sessions.last().filter(|_| has_more).map(|last| last.id);
    Ok(Page { sessions, next })
}

/// The sessions that a filter finds, and the time at which it found them.
pub(crate) struct Found {
    pub(crate) ids: Vec<Uuid>,
    pub(crate) is_all: bool,
    pub(crate) at: SystemTime,
}

/// Sessions that began after `before` are left out, because no person has seen them counted. Earlier
/// ones that the filter finds only now are not, such as one that has come to the network since.
pub(crate) async fn find(
    transaction: &Transaction<'_>,
    filter: &Filter,
    before: Option<SystemTime>,
) -> Result<Found, Problem> {
    let network = filter.network.map(|network| network.to_string());
    let most = i32::try_from(MOST + 1).unwrap_or(i32::MAX);
    let row = one(
        transaction,
        "SELECT coalesce(array_agg(l.id) FILTER (WHERE l.created_at <= coalesce($7::timestamptz, 'infinity')), '{}'),
                count(*), extract(epoch FROM clock_timestamp())::float8
         FROM qsessions.list_sessions(
             user_id => $1::text, active => $2::boolean, ip => $3::text::inet, device => $4::text,
             country => $5::text, max_rows => $6::integer) AS l",
        &[
            (&filter.user, Type::TEXT),
            (&filter.active, Type::BOOL),
            (&network, Type::TEXT),
            (&filter.device, Type::TEXT),
            (&filter.country, Type::TEXT),
            (&most, Type::INT4),
            (&before, Type::TIMESTAMPTZ),
        ],
    )
    .await
    .map_err(as_invalid)?;
    let mut ids: Vec<Uuid> = row.try_get(0)?;
    let is_all = count(&row, 1)? <= MOST as u64;
    ids.truncate(MOST);
    Ok(Found {
        ids,
        is_all,
        at: moment(&row, 2)?.unwrap_or(SystemTime::UNIX_EPOCH),
    })
}

/// A value that the database cannot convert is a mistake in the form.
fn as_invalid(problem: Problem) -> Problem {
    match problem.sqlstate.as_deref() {
        Some(code) if code.starts_with("22") => {
            Problem::invalid(problem.reported.unwrap_or_default())
        }
        _ => problem,
    }
}

/// Ends sessions in batches, each of which is committed. Returns how many were alive, or how many
/// had ended before a batch failed.
pub(crate) async fn end(database: &Database, ids: &[Uuid]) -> Result<u64, (u64, Problem)> {
    let mut ended = 0;
    for batch in ids.chunks(BATCH) {
        match end_batch(database, batch).await {
            Ok(count) => ended += count,
            Err(problem) => return Err((ended, problem)),
        }
    }
    Ok(ended)
}

// In the order in which they are in the table, as a cascade meets them, so that neither waits for the
// other.
async fn end_batch(database: &Database, ids: &[Uuid]) -> Result<u64, Problem> {
    let mut client = database.client().await?;
    let transaction = database.write(&mut client).await?;
    let ids = ids.to_vec();
    let row = one(
        &transaction,
        "SELECT count(*) FILTER (WHERE qsessions.revoke_session(o.id))
         FROM (SELECT s.id FROM qsessions.session AS s WHERE s.id = ANY ($1::uuid[]) ORDER BY s.ctid) AS o",
        &[(&ids, Type::UUID_ARRAY)],
    )
    .await?;
    let ended = count(&row, 0)?;
    transaction.commit().await?;
    Ok(ended)
}

/// Ends all sessions of a user. Unlike one after the other, this also waits for a login of the user
/// that is under way, and ends its session.
pub(crate) async fn end_user(database: &Database, user: &str) -> Result<u64, Problem> {
    let mut client = database.client().await?;
    let transaction = database.write(&mut client).await?;
    let row = one(
        &transaction,
        "SELECT qsessions.revoke_sessions(user_id => $1::text)",
        &[(&user, Type::TEXT)],
    )
    .await
    .map_err(as_invalid)?;
    let ended = count(&row, 0)?;
    transaction.commit().await?;
    Ok(ended)
}

/// Ends one session. Returns whether it was alive.
pub(crate) async fn end_one(database: &Database, id: Uuid) -> Result<bool, Problem> {
    let mut client = database.client().await?;
    let transaction = database.write(&mut client).await?;
    let ended = database.store.on(&transaction).revoke(id).await?;
    transaction.commit().await?;
    Ok(ended)
}
