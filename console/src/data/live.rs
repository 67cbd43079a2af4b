//! Counters that the overview keeps up to date.

use crate::database::{Database, count};
use crate::problem::Problem;
use serde::Serialize;

/// The counters, as they stand on the page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Live {
    pub(crate) active: u64,
    pub(crate) expired: u64,
    pub(crate) anonymous: u64,
    pub(crate) authenticated: u64,
    pub(crate) users: u64,
    /// Counters since the server started. `None`: the library is not preloaded.
    pub(crate) counters: Option<Counters>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counters {
    pub(crate) logins: u64,
    pub(crate) created: u64,
    pub(crate) saves: u64,
    pub(crate) logouts: u64,
    pub(crate) revoked: u64,
    pub(crate) purged: u64,
    pub(crate) conflicts: u64,
    pub(crate) nothing: u64,
}

pub(crate) async fn read(database: &Database) -> Result<Live, Problem> {
    let mut client = database.client().await?;
    let transaction = database.read(&mut client).await?;
    let rows = transaction
        .query_typed(
            "SELECT s.active, s.expired, s.anonymous, s.authenticated, s.users,
                    m.logins_total, m.sessions_created_total, m.saves_total, m.logouts_total, m.revoked_total,
                    m.purged_total, m.conflicts_total, m.loads_of_nothing_total
             FROM qsessions.stats(exact => false) AS s CROSS JOIN qsessions.metrics() AS m",
            &[],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(Live::default());
    };
    let counters = match row.try_get::<_, Option<i64>>(5)? {
        None => None,
        Some(_) => Some(Counters {
            logins: count(row, 5)?,
            created: count(row, 6)?,
            saves: count(row, 7)?,
            logouts: count(row, 8)?,
            revoked: count(row, 9)?,
            purged: count(row, 10)?,
            conflicts: count(row, 11)?,
            nothing: count(row, 12)?,
        }),
    };
    Ok(Live {
        active: count(row, 0)?,
        expired: count(row, 1)?,
        anonymous: count(row, 2)?,
        authenticated: count(row, 3)?,
        users: count(row, 4)?,
        counters,
    })
}
