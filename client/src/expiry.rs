use std::time::Duration;

use crate::Error;
use crate::wire::{Interval, interval};

/// When a session ends: after a fixed time, or after a time without activity; and at the latest
/// when.
///
/// ```
/// use std::time::Duration;
/// use qsessions::Expiry;
///
/// const HOUR: Duration = Duration::from_secs(3600);
///
/// let remember_me = Expiry::ttl(30 * 24 * HOUR);
/// // Half an hour without a click ends it, and a working day does whatever happens.
/// let bank = Expiry::idle_timeout(HOUR / 2).max_age(8 * HOUR);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expiry {
    pub(crate) ttl: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_age: Option<Duration>,
}

impl Expiry {
    /// Fixed: the session ends this long from now, whatever happens.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let expiry = qsessions::Expiry::ttl(Duration::from_secs(3600));
    /// ```
    #[must_use]
    pub fn ttl(ttl: Duration) -> Self {
        Self {
            ttl: Some(ttl),
            ..Self::default()
        }
    }

    /// Sliding: the session ends this long after the last activity that was recorded.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let expiry = qsessions::Expiry::idle_timeout(Duration::from_secs(1800));
    /// ```
    #[must_use]
    pub fn idle_timeout(idle_timeout: Duration) -> Self {
        Self {
            idle_timeout: Some(idle_timeout),
            ..Self::default()
        }
    }

    /// Only the deadline: the session ends no later than this long from now, and otherwise as
    /// before.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let expiry = qsessions::Expiry::within(Duration::from_secs(8 * 3600));
    /// ```
    #[must_use]
    pub fn within(max_age: Duration) -> Self {
        Self::default().max_age(max_age)
    }

    /// The deadline that activity can't move, as a time from now.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use qsessions::Expiry;
    /// let expiry = Expiry::idle_timeout(Duration::from_secs(1800))
    ///     .max_age(Duration::from_secs(8 * 3600));
    /// ```
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// As the arguments `ttl`, `idle_timeout` and `max_age` of the SQL functions.
    pub(crate) fn intervals(&self) -> Result<[Option<Interval>; 3], Error> {
        Ok([
            interval("ttl", self.ttl)?,
            interval("idle_timeout", self.idle_timeout)?,
            interval("max_age", self.max_age)?,
        ])
    }
}
