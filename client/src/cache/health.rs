use std::time::Duration;

/// How a [`Store`](crate::Store)'s cache is.
///
/// ```
/// # fn example(store: qsessions::Store) {
/// let health = store.health();
/// if let Some(trouble) = health.trouble {
///     eprintln!("sessions come from the database: {trouble}");
/// }
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Whether loads are answered from the cache at this moment.
    pub serving: bool,
    /// Every change is known that was committed longer ago than this. `None`: nothing is known.
    pub staleness: Option<Duration>,
    /// Why nothing is answered from the cache, in words for an operator.
    pub trouble: Option<String>,
    /// About how many sessions are cached.
    pub sessions: u64,
}

impl Health {
    pub(crate) fn without_cache() -> Self {
        Self {
            trouble: Some("this store was built without a cache".to_owned()),
            ..Self::default()
        }
    }
}

/// What the listener says of itself.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// Announcements are heard.
    pub(super) is_listening: bool,
    /// And it was shown that they are those of the pool's server.
    pub(super) is_serving: bool,
    /// What went wrong last.
    pub(super) trouble: Option<String>,
    /// Trying again won't help.
    pub(super) is_hopeless: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            is_listening: false,
            is_serving: false,
            trouble: Some("the listening connection is being made".to_owned()),
            is_hopeless: false,
        }
    }
}
