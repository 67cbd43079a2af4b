//! The session table in numbers.

use std::time::SystemTime;

use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::call::sent_when_awaited;
use crate::database::Executor;
use crate::error::Error;
use crate::rfc3339;
use crate::store::Store;
use crate::wire::{count, instant};

/// The table of sessions in numbers: the result of [`Store::stats`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Sessions in the table, expired ones included.
    pub total: u64,
    /// Live sessions.
    pub active: u64,
    /// Expired sessions that were not purged yet.
    pub expired: u64,
    /// Sessions without a user.
    pub anonymous: u64,
    /// Sessions with a user.
    pub authenticated: u64,
    /// Users who have a session.
    pub users: u64,
    /// When the session expired that has been waiting for the purge for the longest time.
    #[serde(with = "rfc3339::option")]
    pub oldest_expired_at: Option<SystemTime>,
    /// The size of the table in bytes.
    pub table_bytes: u64,
    /// The size of its indexes in bytes.
    pub index_bytes: u64,
}

impl Stats {
    fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            total: count(row, 0)?,
            active: count(row, 1)?,
            expired: count(row, 2)?,
            anonymous: count(row, 3)?,
            authenticated: count(row, 4)?,
            users: count(row, 5)?,
            oldest_expired_at: instant(row, 6)?,
            table_bytes: count(row, 7)?,
            index_bytes: count(row, 8)?,
        })
    }
}

/// The arguments of [`Store::stats`]. Awaiting it sends the call.
#[must_use = "a call is sent when it is awaited"]
pub struct GetStats<'a, E> {
    store: &'a Store<E>,
    exact: bool,
}

impl<E: Executor> Store<E> {
    /// The table in numbers. Exact ones take a read of the whole table, and estimates take some
    /// milliseconds.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// let stats = store.stats().exact(false).await?;
    /// println!("about {} users are logged in", stats.users);
    /// if stats.expired > stats.active {
    ///     println!("is the purge scheduled?");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn stats(&self) -> GetStats<'_, E> {
        GetStats {
            store: self,
            exact: true,
        }
    }
}

impl<E> GetStats<'_, E> {
    /// Whether to count, which is the default, or to estimate from what the planner knows.
    pub fn exact(mut self, exact: bool) -> Self {
        self.exact = exact;
        self
    }
}

impl<E: Executor> GetStats<'_, E> {
    async fn send(self) -> Result<Stats, Error> {
        self.store
            .database
            .row(
                "SELECT total, active, expired, anonymous, authenticated, users, \
                 oldest_expired_at, table_bytes, index_bytes \
                 FROM qsessions.stats(exact => $1::boolean)",
                &[(&self.exact, Type::BOOL)],
                Stats::from_row,
            )
            .await
    }
}

sent_when_awaited!(GetStats -> Stats);
