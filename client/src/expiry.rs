//! When sessions expire.

use std::time::{Duration, SystemTime};

use tokio_postgres::types::Type;

use crate::database::Executor;
use crate::error::Error;
use crate::key::Key;
use crate::store::Store;
use crate::wire::{Interval, instant, interval};

/// When a session expires: after a fixed time, or after a time without activity, and in any case at
/// a deadline.
///
/// ```
/// use std::time::Duration;
/// use qsessions::Expiry;
///
/// const HOUR: Duration = Duration::from_secs(3600);
///
/// let remember_me = Expiry::ttl(30 * 24 * HOUR);
/// // The session expires after half an hour without a visit, and after a working day in any case.
/// let bank = Expiry::idle_timeout(HOUR / 2).max_age(8 * HOUR);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Expiry {
    pub(crate) ttl: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_age: Option<Duration>,
}

impl Expiry {
    /// Fixed expiry: the session expires this long from now.
    pub fn ttl(ttl: Duration) -> Self {
        Self {
            ttl: Some(ttl),
            ..Self::default()
        }
    }

    /// Sliding expiry: the session expires this long after the last visit that was recorded.
    pub fn idle_timeout(idle_timeout: Duration) -> Self {
        Self {
            idle_timeout: Some(idle_timeout),
            ..Self::default()
        }
    }

    /// A deadline only: the session expires at most this long from now, and otherwise as before.
    pub fn within(max_age: Duration) -> Self {
        Self::default().max_age(max_age)
    }

    /// A deadline that activity cannot move, as a time from now.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Whether visits move the expiry.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use qsessions::Expiry;
    /// let hour = Duration::from_secs(3600);
    /// assert!(Expiry::idle_timeout(hour).max_age(8 * hour).is_sliding());
    /// assert!(!Expiry::ttl(hour).is_sliding());
    /// ```
    #[must_use]
    pub fn is_sliding(&self) -> bool {
        self.idle_timeout.is_some()
    }

    /// The arguments `ttl`, `idle_timeout` and `max_age` of the SQL functions.
    pub(crate) fn intervals(&self) -> Result<[Option<Interval>; 3], Error> {
        Ok([
            interval("ttl", self.ttl)?,
            interval("idle_timeout", self.idle_timeout)?,
            interval("max_age", self.max_age)?,
        ])
    }
}

impl<E: Executor> Store<E> {
    /// Gives a session another expiry, counted from now, and returns when it expires. `None`:
    /// never.
    ///
    /// # Errors
    ///
    /// [`Error::SessionNotFound`]; [`Error::InvalidArgument`] if the durations do not make an
    /// expiry.
    ///
    /// ```
    /// use std::time::Duration;
    /// use qsessions::Expiry;
    ///
    /// # async fn example(store: qsessions::Store, key: qsessions::Key) -> Result<(), qsessions::Error> {
    /// let remember_me = Expiry::ttl(Duration::from_secs(30 * 24 * 3600));
    /// let expires_at = store.set_expiry(&key, remember_me).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set_expiry(&self, key: &Key, expiry: Expiry) -> Result<Option<SystemTime>, Error> {
        let [ttl, idle_timeout, max_age] = expiry.intervals()?;
        let _change = self.changes(key.id());
        self.database
            .row(
                "SELECT qsessions.set_expiry(key => $1::text, ttl => $2::interval, \
                 idle_timeout => $3::interval, max_age => $4::interval)",
                &[
                    (&key.argument(), Type::TEXT),
                    (&ttl, Type::INTERVAL),
                    (&idle_timeout, Type::INTERVAL),
                    (&max_age, Type::INTERVAL),
                ],
                |row| instant(row, 0),
            )
            .await
    }
}
