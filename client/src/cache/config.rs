//! How much the cache holds, and how late it may be.

use std::time::Duration;

use crate::error::Error;

/// How much the cache of a [`CachedStore`](crate::CachedStore) holds, and how late it may be.
///
/// ```
/// use std::time::Duration;
/// use qsessions::CacheConfig;
///
/// let config = CacheConfig::new()
///     .capacity(100_000)
///     .max_staleness(Duration::from_secs(1));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct CacheConfig {
    pub(crate) capacity: u64,
    pub(crate) max_staleness: Duration,
    pub(crate) max_data_bytes: usize,
    pub(crate) negative_capacity: u64,
    pub(crate) negative_ttl: Duration,
    pub(crate) name: String,
    pub(crate) background_visits: bool,
}

const SHORTEST_STALENESS: Duration = Duration::from_millis(20);
const LONGEST_STALENESS: Duration = Duration::from_secs(3600);

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            capacity: 10_000,
            max_staleness: Duration::from_secs(2),
            max_data_bytes: 64 * 1024,
            negative_capacity: 10_000,
            negative_ttl: Duration::from_secs(1),
            name: "default".to_owned(),
            background_visits: true,
        }
    }
}

impl CacheConfig {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// About how many sessions the cache holds at most: by default 10,000.
    pub fn capacity(mut self, sessions: u64) -> Self {
        self.capacity = sessions;
        self
    }

    /// How long after a commit of another process a load may still show the state before it: by
    /// default two seconds, and between 20 ms and one hour. This bound holds whatever fails.
    /// Usually a change is known after some milliseconds.
    ///
    /// Four times within this time the cache sends a probe through the pool, or requests a heartbeat
    /// of the server, and waits for it on the listening connection. If none has come back for this
    /// time, the database answers all loads. Heartbeats are shared by all processes, and need at
    /// least 400 ms.
    pub fn max_staleness(mut self, max_staleness: Duration) -> Self {
        self.max_staleness = max_staleness;
        self
    }

    /// The largest data, in bytes of JSON, of a session that is cached: by default 64 KiB. Parsed
    /// data takes two to three times as much memory, and up to fifty times if it consists of tiny
    /// values.
    pub fn max_data_bytes(mut self, bytes: usize) -> Self {
        self.max_data_bytes = bytes;
        self
    }

    /// About how many keys without a session the cache remembers at most: by default 10,000. They are
    /// kept apart from sessions, so that a flood of invented keys evicts no session.
    pub fn negative_capacity(mut self, keys: u64) -> Self {
        self.negative_capacity = keys;
        self
    }

    /// How long the cache remembers that a key had no session: by default one second, and at most
    /// `max_staleness`.
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.negative_ttl = ttl;
        self
    }

    /// Whether [`resume`](crate::Store::resume) answers from memory although its visit has to be
    /// recorded, and the store writes the visit within a second: by default it does.
    ///
    /// A process that crashes loses the visits of the last second. Turn this off if each visit must
    /// be in the table before `resume` returns; `resume` then waits for the database when a visit
    /// is due.
    pub fn background_visits(mut self, background_visits: bool) -> Self {
        self.background_visits = background_visits;
        self
    }

    /// The value of the label `store` of the metrics: by default `default`. It tells several cached
    /// stores of one process apart.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.max_staleness < SHORTEST_STALENESS {
            Err(Error::configuration("max_staleness must be at least 20 ms"))
        } else if self.max_staleness > LONGEST_STALENESS {
            Err(Error::configuration(
                "max_staleness must be at most one hour",
            ))
        } else {
            Ok(())
        }
    }

    /// The time between two probes.
    pub(crate) fn probe_interval(&self) -> Duration {
        self.max_staleness / 4
    }
}
