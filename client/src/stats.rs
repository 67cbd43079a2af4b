use std::time::SystemTime;

use tokio_postgres::Row;

use crate::Error;
use crate::wire::{count, instant};

/// The table of sessions in numbers.
///
/// ```
/// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
/// let stats = store.stats().await?;
/// println!("{} users are logged in", stats.users);
/// if stats.expired > stats.active {
///     println!("is the purge scheduled?");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Sessions in the table, dead ones included.
    pub total: u64,
    /// Those alive.
    pub active: u64,
    /// Those dead and not purged yet.
    pub expired: u64,
    /// Sessions without a user.
    pub anonymous: u64,
    /// Sessions with a user.
    pub authenticated: u64,
    /// Users who have a session.
    pub users: u64,
    /// Since when the longest dead one has been waiting for the purge.
    pub oldest_expired_at: Option<SystemTime>,
    /// The size of the table in bytes.
    pub table_bytes: u64,
    /// The size of its indexes in bytes.
    pub index_bytes: u64,
}

macro_rules! stats_columns {
    () => {
        "total, active, expired, anonymous, authenticated, users, oldest_expired_at, table_bytes, \
         index_bytes"
    };
}
pub(crate) use stats_columns;

impl TryFrom<Row> for Stats {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            total: count(&row, 0)?,
            active: count(&row, 1)?,
            expired: count(&row, 2)?,
            anonymous: count(&row, 3)?,
            authenticated: count(&row, 4)?,
            users: count(&row, 5)?,
            oldest_expired_at: instant(&row, 6)?,
            table_bytes: count(&row, 7)?,
            index_bytes: count(&row, 8)?,
        })
    }
}
