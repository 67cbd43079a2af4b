//! What there is to say about the cache of a store that has one.

use std::net::IpAddr;
use std::time::SystemTime;

use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{Source, Store};
use crate::cache::{Cache, Change};
use crate::session::session_columns;
use crate::wire::{Jsonb, past_instant};
use crate::{Error, Health, Key, Session};

impl<S: Source> Store<S> {
    /// How the cache is. Costs next to nothing.
    ///
    /// ```
    /// # fn example(store: qsessions::Store) {
    /// println!("{} sessions cached", store.health().sessions);
    /// # }
    /// ```
    #[must_use]
    pub fn health(&self) -> Health {
        self.cache
            .as_ref()
            .map_or_else(Health::without_cache, |cache| cache.health())
    }

    /// Waits until the cache answers, for tests and for a start that shall fail early. A store
    /// without a cache is ready at once, and one that isn't ready is no less right, only slower.
    ///
    /// It waits for as long as the server can't be reached or the pool has no connection: put a
    /// timeout around it.
    ///
    /// # Errors
    ///
    /// [`Error::Listener`] if it never will as things are: its connection leads to another database, or
    /// through a pooler in transaction mode, or the server refuses it.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// store.ready().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn ready(&self) -> Result<(), Error> {
        match &self.cache {
            Some(cache) => cache.ready().await,
            None => Ok(()),
        }
    }

    /// Waits until the cache knows of every change that was committed before the call, by whomever:
    /// usually some milliseconds, and `max_staleness` at most. What visits move
    /// ([`last_seen_at`](Session::last_seen_at), and [`expires_at`](Session::expires_at) to later)
    /// is not announced, and may stay as it was.
    ///
    /// What is changed by a method of this store is known to its cache when the method returns. This is
    /// for the rest: after the commit of a transaction that was used with [`on`](Self::on), and after
    /// SQL of your own.
    ///
    /// ```
    /// # use qsessions::{Key, Store, deadpool_postgres::Pool};
    /// # async fn example(pool: Pool, store: Store, key: Key) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut connection = pool.get().await?;
    /// let transaction = connection.transaction().await?;
    /// store.on(&transaction).logout(&key).await?;
    /// transaction.execute("DELETE FROM users WHERE id = 42", &[]).await?;
    /// transaction.commit().await?;
    /// store.catch_up().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn catch_up(&self) {
        if let Some(cache) = &self.cache {
            cache.catch_up().await;
        }
    }

    /// For a call that changes this session: its cached copy is dropped when what is returned is,
    /// whether the call succeeded, failed with the connection, or was given up.
    pub(super) fn changes(&self, id: Option<Uuid>) -> Option<Change<'_>> {
        Some(self.cache.as_deref()?.changes(id?))
    }

    /// The same for the session of a key.
    pub(super) fn changes_session_of(&self, key: &Key) -> Option<Change<'_>> {
        self.changes(key.identify().map(|(id, _)| id))
    }

    /// For a call that may give this key a session: that it had none is forgotten when what is
    /// returned is dropped.
    pub(super) fn begins<'a>(&'a self, key: &'a Key) -> Option<Begin<'a>> {
        let cache = self.cache.as_deref()?;
        Some(Begin { cache, key })
    }

    /// A visit, with what a cache needs to know of the answer: the size of the data, and which
    /// server has answered.
    pub(crate) async fn resume_for_cache(
        &self,
        key: &Key,
        ip: Option<IpAddr>,
        user_agent: Option<&str>,
    ) -> Result<Option<(Session, usize, SystemTime)>, Error> {
        let seen: Option<Seen> = self
            .optional_row(
                concat!(
                    "SELECT ",
                    session_columns!(),
                    ", pg_catalog.pg_postmaster_start_time() \
                     FROM qsessions.resume_session(key => $1::text, ip => $2::inet, \
                     user_agent => $3::text)"
                ),
                &[
                    (&key.argument(), Type::TEXT),
                    (&ip, Type::INET),
                    (&user_agent, Type::TEXT),
                ],
            )
            .await?;
        Ok(seen.map(|Seen(session, data_bytes, server)| (session, data_bytes, server)))
    }

    /// Announces an id that no session has.
    pub(crate) async fn announce(&self, probe: Uuid) -> Result<Announced, Error> {
        self.row(
            "SELECT pg_catalog.clock_timestamp(), pg_catalog.pg_postmaster_start_time(), \
             qsessions.invalidation_channel(), qsessions.invalidate(id => $1::uuid)",
            &[(&probe, Type::UUID)],
        )
        .await
    }
}

/// What a server that has announced something says of itself.
pub(crate) struct Announced {
    /// What its clock has shown, after it was asked.
    pub(crate) server_clock: SystemTime,
    /// Tells servers apart.
    pub(crate) server_started_at: SystemTime,
    /// Where it announces.
    pub(crate) channel: String,
}

impl TryFrom<Row> for Announced {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            server_clock: past_instant(&row, 0)?,
            server_started_at: past_instant(&row, 1)?,
            channel: row.try_get(2)?,
        })
    }
}

struct Seen(Session, usize, SystemTime);

impl TryFrom<Row> for Seen {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let data_bytes = row.try_get::<_, Jsonb<'_>>(2)?.bytes;
        let server = past_instant(&row, 11)?;
        Ok(Self(row.try_into()?, data_bytes, server))
    }
}

/// A session that is being begun through this store, under a key that somebody may have asked for.
pub(super) struct Begin<'a> {
    cache: &'a Cache,
    key: &'a Key,
}

impl Drop for Begin<'_> {
    fn drop(&mut self) {
        self.cache.drop_key(self.key);
    }
}
