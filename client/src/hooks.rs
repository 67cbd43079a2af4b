//! What a [`Store`](crate::Store) asks of a cache, and what it reports to it.
//!
//! The store knows a cache by this trait only, so that neither is built on the other.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use uuid::Uuid;

use crate::answer::Answer;
use crate::client_hints::ClientHints;
use crate::key::Key;
use crate::session::Session;

/// Where a visit comes from.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Visitor<'a> {
    pub(crate) ip: Option<IpAddr>,
    pub(crate) user_agent: Option<&'a str>,
    pub(crate) client_hints: Option<&'a ClientHints>,
}

/// A visit is being written.
pub(crate) type Writing<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A cache between a store and its database.
pub(crate) trait SessionCache: Send + Sync {
    /// The live session of a key, from memory or from the database.
    fn load<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Session>>;

    /// The same, and the visit is recorded if it has to be.
    fn resume<'a>(&'a self, key: &'a Key, visitor: Visitor<'a>) -> Answer<'a, Option<Session>>;

    /// Writes the visit of this key that is pending. `None`: there is none.
    fn write_visit<'a>(&'a self, key: &Key) -> Option<Writing<'a>>;

    /// Drops the copy of a session, and keeps out what is being read of it.
    fn drop_session(&self, id: Uuid);

    /// Forgets that a key had no session.
    fn drop_absence(&self, key: &Key);

    /// Waits until every change that was committed before the call is known.
    fn catch_up(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// A call that changes a session through a store. When this is dropped, so is the cached copy:
/// after the call has succeeded, has failed with the connection, or was given up.
pub(crate) struct Change<'a> {
    cache: &'a dyn SessionCache,
    id: Uuid,
}

impl<'a> Change<'a> {
    pub(crate) fn new(cache: &'a dyn SessionCache, id: Uuid) -> Self {
        Self { cache, id }
    }

    /// The cache has taken in the new state of the session, so that nothing has to be dropped.
    #[cfg(feature = "cache")]
    pub(crate) fn applied(self) {
        std::mem::forget(self);
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.cache.drop_session(self.id);
    }
}

/// A call that may give a session to a key that had none. When this is dropped, the cache forgets
/// that there was none.
pub(crate) struct Begin<'a> {
    pub(crate) cache: &'a dyn SessionCache,
    pub(crate) key: &'a Key,
}

impl Drop for Begin<'_> {
    fn drop(&mut self) {
        self.cache.drop_absence(self.key);
    }
}
