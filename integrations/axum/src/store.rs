//! The store behind a layer.

use std::fmt;

use qsessions::Store;

/// The store of a layer: a [`qsessions::Store`], or with the feature `cache` also a
/// [`qsessions::CachedStore`].
#[derive(Clone)]
pub struct SessionStore(pub(crate) AnyStore);

#[derive(Clone)]
pub(crate) enum AnyStore {
    Plain(Store),
    #[cfg(feature = "cache")]
    Cached(qsessions::CachedStore),
}

/// Runs the same call on either kind of store, whose types differ.
macro_rules! on_store {
    ($store:expr, $it:ident => $call:expr) => {
        match &$store.0 {
            $crate::store::AnyStore::Plain($it) => $call,
            #[cfg(feature = "cache")]
            $crate::store::AnyStore::Cached($it) => $call,
        }
    };
}
pub(crate) use on_store;

impl From<Store> for SessionStore {
    fn from(store: Store) -> Self {
        Self(AnyStore::Plain(store))
    }
}

#[cfg(feature = "cache")]
impl From<qsessions::CachedStore> for SessionStore {
    fn from(store: qsessions::CachedStore) -> Self {
        Self(AnyStore::Cached(store))
    }
}

impl fmt::Debug for SessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionStore").finish_non_exhaustive()
    }
}
