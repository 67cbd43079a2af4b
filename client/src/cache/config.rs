use std::time::Duration;

use crate::Error;

/// How much a [`Store`](crate::Store)'s cache holds, and how late it may be.
///
/// ```
/// use std::time::Duration;
/// use qsessions::CacheConfig;
///
/// let config = CacheConfig {
///     capacity: 100_000,
///     max_staleness: Duration::from_secs(1),
///     ..CacheConfig::default()
/// };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    /// How many sessions it holds at most. By default 10,000.
    pub capacity: u64,
    /// How long after another process's commit a load may still show what was before it: the bound
    /// that holds whatever breaks. Usually a change is known within some milliseconds.
    ///
    /// Four times within this time the pool announces a probe for the listening connection to hear, and nothing is answered
    /// from the cache when none was heard for that long. By default two seconds; 20 ms to an hour.
    pub max_staleness: Duration,
    /// Sessions with more data than this, in bytes of JSON, are not cached. By default 64 KiB. Parsed,
    /// data takes two to three times that in memory, and up to fifty times if it is made of tiny
    /// values.
    pub max_data_bytes: usize,
    /// How many keys without a session are remembered at most, apart from sessions, so that a flood of made-up
    /// keys drives out nothing. By default 10,000.
    pub negative_capacity: u64,
    /// How long a key without a session is remembered; at most `max_staleness`. By default one
    /// second.
    pub negative_ttl: Duration,
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
        }
    }
}

impl CacheConfig {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let hint = if self.max_staleness < SHORTEST_STALENESS {
            "max_staleness must be at least 20 ms"
        } else if self.max_staleness > LONGEST_STALENESS {
            "max_staleness must be at most an hour"
        } else {
            return Ok(());
        };
        Err(Error::Configuration {
            message: hint.to_owned(),
        })
    }

    /// How often the pool announces a probe.
    pub(crate) fn probe_interval(&self) -> Duration {
        self.max_staleness / 4
    }
}
