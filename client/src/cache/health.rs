//! The state of the cache, for operators.

use std::time::Duration;

use serde::Serialize;

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
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// Whether the cache answers loads at this moment.
    pub serving: bool,
    /// Every change that was committed longer ago than this is known. `None`: none is known.
    pub staleness: Option<Duration>,
    /// Why the cache does not answer, or may soon stop to.
    pub error: Option<String>,
    /// The approximate number of cached sessions.
    pub sessions: u64,
}
