//! Sessions that have expired stay in the table until somebody clears them away.

use deadpool_postgres::Pool;
use tokio_postgres::types::Type;

use super::{Source, Store};
use crate::Error;

impl<S: Source> Store<S> {
    /// Deletes one batch of expired sessions, 10,000 if no size is given. How many went.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if the batch is to be smaller than one.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// let went = store.purge_expired(Some(1000)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn purge_expired(&self, batch_size: Option<i32>) -> Result<u64, Error> {
        match batch_size {
            None => self.count("SELECT qsessions.purge_expired()", &[]).await,
            Some(size) => {
                let sql = "SELECT qsessions.purge_expired(batch_size => $1::integer)";
                self.count(sql, &[(&size, Type::INT4)]).await
            }
        }
    }

    /// Lets pg_cron purge on a schedule, in cron's notation. Returns the number of the job; calling
    /// again replaces it.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] with a hint that says how to get it if pg_cron isn't there.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// let every_five_minutes = store.schedule_purge("*/5 * * * *", None).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn schedule_purge(
        &self,
        schedule: &str,
        batch_size: Option<i32>,
    ) -> Result<i64, Error> {
        match batch_size {
            None => {
                let sql = "SELECT qsessions.schedule_purge(schedule => $1::text)";
                self.value(sql, &[(&schedule, Type::TEXT)]).await
            }
            Some(size) => {
                let sql = "SELECT qsessions.schedule_purge(schedule => $1::text, \
                           batch_size => $2::integer)";
                self.value(sql, &[(&schedule, Type::TEXT), (&size, Type::INT4)])
                    .await
            }
        }
    }

    /// Takes the job of [`schedule_purge`](Self::schedule_purge) back. Whether there was one.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// store.unschedule_purge().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn unschedule_purge(&self) -> Result<bool, Error> {
        self.value("SELECT qsessions.unschedule_purge()", &[]).await
    }
}

/// Only by way of a pool: the procedure commits after each batch, which a transaction of the
/// caller's forbids.
impl Store<Pool> {
    /// Deletes all expired sessions, or so many batches of them, committing each batch.
    ///
    /// The server says in a notice how many went; [`purge_expired`](Store::purge_expired) returns
    /// it, for one batch.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if the batch is to be smaller than one, or the batches fewer.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// store.purge(None, None).await?;
    /// let (batch_size, max_batches) = (Some(100), Some(10));
    /// store.purge(batch_size, max_batches).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn purge(
        &self,
        batch_size: Option<i32>,
        max_batches: Option<i32>,
    ) -> Result<(), Error> {
        match batch_size {
            None => {
                let sql = "CALL qsessions.purge(max_batches => $1::integer)";
                self.run(sql, &[(&max_batches, Type::INT4)]).await
            }
            Some(size) => {
                let sql = "CALL qsessions.purge(batch_size => $1::integer, \
                           max_batches => $2::integer)";
                self.run(sql, &[(&size, Type::INT4), (&max_batches, Type::INT4)])
                    .await
            }
        }
    }
}
