//! The state of the cache, for operators.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// The state of the cache of a [`CachedStore`](crate::CachedStore).
///
/// ```
/// # fn example(store: qsessions::CachedStore) {
/// let health = store.health();
/// if let Some(error) = health.error {
///     eprintln!("the database answers all loads: {error}");
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// Whether the cache answers loads at this moment.
    pub serving: bool,
    /// Every change that was committed longer ago than this is known. `None`: none is known. It
    /// serializes as a number of seconds.
    #[serde(serialize_with = "seconds")]
    pub staleness: Option<Duration>,
    /// Why the cache does not answer, or may soon stop to.
    pub error: Option<String>,
    /// The approximate number of cached sessions.
    pub sessions: u64,
    /// The number of sessions with a visit that is [not written
    /// yet](crate::CachedStore::flush_visits).
    pub pending_visits: u64,
}

fn seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.as_ref()
        .map(Duration::as_secs_f64)
        .serialize(serializer)
}
