//! Expired sessions stay in the table until a purge deletes them.

#[cfg(feature = "purge")]
mod every;

use deadpool_postgres::Pool;
use tokio_postgres::types::Type;

use crate::call::sent_when_awaited;
use crate::database::{Executor, Parameter};
use crate::error::Error;
use crate::store::Store;
use crate::wire::integer;

#[cfg(feature = "purge")]
pub use every::PurgeTask;

/// The arguments of [`Store::purge_expired`]. Awaiting it sends the call.
#[must_use = "a call is sent when it is awaited"]
pub struct PurgeExpired<'a, E> {
    store: &'a Store<E>,
    batch_size: Option<u32>,
}

/// The arguments of `Store::purge`. Awaiting it sends the call.
#[must_use = "a call is sent when it is awaited"]
pub struct Purge<'a, E> {
    store: &'a Store<E>,
    batch_size: Option<u32>,
    max_batches: Option<u32>,
}

/// The arguments of [`Store::schedule_purge`]. Awaiting it sends the call.
#[must_use = "a call is sent when it is awaited"]
pub struct SchedulePurge<'a, E> {
    store: &'a Store<E>,
    schedule: &'a str,
    batch_size: Option<u32>,
}

impl<E: Executor> Store<E> {
    /// Deletes one batch of expired sessions, and returns how many.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if the batch size is zero.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// let deleted = store.purge_expired().batch_size(1000).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn purge_expired(&self) -> PurgeExpired<'_, E> {
        PurgeExpired {
            store: self,
            batch_size: None,
        }
    }

    /// Has pg_cron purge on a schedule in the notation of cron, and returns the id of the job.
    /// Calling it again replaces the job.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if pg_cron is not installed, with a hint that says how to get it.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// let every_five_minutes = store.schedule_purge("*/5 * * * *").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn schedule_purge<'a>(&'a self, schedule: &'a str) -> SchedulePurge<'a, E> {
        SchedulePurge {
            store: self,
            schedule,
            batch_size: None,
        }
    }

    /// Removes the job of [`schedule_purge`](Self::schedule_purge). Returns whether there was one.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// store.unschedule_purge().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn unschedule_purge(&self) -> Result<bool, Error> {
        self.database
            .value("SELECT qsessions.unschedule_purge()", &[])
            .await
    }

    pub(crate) fn purge_call(&self) -> Purge<'_, E> {
        Purge {
            store: self,
            batch_size: None,
            max_batches: None,
        }
    }
}

/// The procedure commits after each batch, which the transaction of a caller forbids. So only a
/// store on a pool has this method.
impl Store<Pool> {
    /// Deletes all expired sessions in batches, and commits each batch.
    ///
    /// The server reports in a notice how many it has deleted.
    /// [`purge_expired`](Store::purge_expired) returns the number, for one batch.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if the batch size or the number of batches is zero.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// store.purge().await?;
    /// store.purge().batch_size(100).max_batches(10).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn purge(&self) -> Purge<'_, Pool> {
        self.purge_call()
    }
}

impl<E> PurgeExpired<'_, E> {
    /// How many sessions to delete at most: by default 10,000.
    pub fn batch_size(mut self, batch_size: u32) -> Self {
        self.batch_size = Some(batch_size);
        self
    }
}

impl<E> Purge<'_, E> {
    /// How many sessions to delete in one transaction: by default 10,000.
    pub fn batch_size(mut self, batch_size: u32) -> Self {
        self.batch_size = Some(batch_size);
        self
    }

    /// How many batches to delete at most: by default all.
    pub fn max_batches(mut self, max_batches: u32) -> Self {
        self.max_batches = Some(max_batches);
        self
    }
}

impl<E> SchedulePurge<'_, E> {
    /// How many sessions to delete in one transaction: by default 10,000.
    pub fn batch_size(mut self, batch_size: u32) -> Self {
        self.batch_size = Some(batch_size);
        self
    }
}

impl<E: Executor> PurgeExpired<'_, E> {
    async fn send(self) -> Result<u64, Error> {
        let database = &self.store.database;
        match integer("batch_size", self.batch_size)? {
            None => {
                database
                    .count("SELECT qsessions.purge_expired()", &[])
                    .await
            }
            Some(size) => {
                let sql = "SELECT qsessions.purge_expired(batch_size => $1::integer)";
                database.count(sql, &[(&size, Type::INT4)]).await
            }
        }
    }
}

impl<E: Executor> Purge<'_, E> {
    async fn send(self) -> Result<(), Error> {
        let max_batches = integer("max_batches", self.max_batches)?;
        let batch_size = integer("batch_size", self.batch_size)?;
        let mut parameters: Vec<Parameter<'_>> = vec![(&max_batches, Type::INT4)];
        let sql = match &batch_size {
            None => "CALL qsessions.purge(max_batches => $1::integer)",
            Some(size) => {
                parameters.push((size, Type::INT4));
                "CALL qsessions.purge(max_batches => $1::integer, batch_size => $2::integer)"
            }
        };
        self.store.database.run(sql, &parameters).await
    }
}

impl<E: Executor> SchedulePurge<'_, E> {
    async fn send(self) -> Result<i64, Error> {
        let batch_size = integer("batch_size", self.batch_size)?;
        let mut parameters: Vec<Parameter<'_>> = vec![(&self.schedule, Type::TEXT)];
        let sql = match &batch_size {
            None => "SELECT qsessions.schedule_purge(schedule => $1::text)",
            Some(size) => {
                parameters.push((size, Type::INT4));
                "SELECT qsessions.schedule_purge(schedule => $1::text, batch_size => $2::integer)"
            }
        };
        self.store.database.value(sql, &parameters).await
    }
}

sent_when_awaited!(PurgeExpired -> u64);
sent_when_awaited!(Purge -> ());
sent_when_awaited!(SchedulePurge -> i64);
