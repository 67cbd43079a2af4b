//! How the data of a session changes.

use std::time::Duration;

use serde::Serialize;
use tokio_postgres::types::Type;

use crate::call::sent_when_awaited;
use crate::database::Executor;
use crate::error::Error;
use crate::key::Key;
use crate::store::Store;
use crate::user_id::UserId;
use crate::wire::{Data, interval};

/// The arguments of [`Store::save`]. Awaiting it sends the call.
#[must_use = "a call is sent when it is awaited"]
pub struct Save<'a, E> {
    store: &'a Store<E>,
    key: &'a Key,
    data: Data,
    expected_version: Option<i64>,
    ttl: Option<Duration>,
    user_id: Option<UserId>,
}

/// The arguments of [`Store::patch`]. Awaiting it sends the call.
#[must_use = "a call is sent when it is awaited"]
pub struct Patch<'a, E> {
    store: &'a Store<E>,
    key: &'a Key,
    changes: Data,
    remove: &'a [&'a str],
}

impl<E: Executor> Store<E> {
    /// Replaces the data of a session, and returns its new version.
    ///
    /// Of two saves the last one wins. A save with an
    /// [`expected_version`](Save::expected_version) fails instead, and [`patch`](Self::patch)
    /// changes only the members that it names.
    ///
    /// # Errors
    ///
    /// [`Error::SessionNotFound`]: a save never brings back a session that has ended.
    /// [`Error::VersionConflict`] with an expected version; [`Error::InvalidArgument`] if the
    /// session belongs to another [`user`](Save::user); [`Error::DataTooLarge`]; [`Error::Data`] if
    /// the data cannot be written as JSON, or is nested too deeply.
    ///
    /// ```
    /// use qsessions::{Error, Key, Store};
    ///
    /// async fn count_visit(store: &Store, key: &Key) -> Result<i64, Error> {
    ///     loop {
    ///         let session = store.load(key).await?.ok_or(Error::SessionNotFound)?;
    ///         let mut data = session.data.clone();
    ///         data["visits"] = (data["visits"].as_u64().unwrap_or(0) + 1).into();
    ///         match store.save(key, &data).expected_version(session.version).await {
    ///             Err(Error::VersionConflict) => continue,
    ///             result => return result,
    ///         }
    ///     }
    /// }
    /// ```
    pub fn save<'a>(&'a self, key: &'a Key, data: impl Serialize) -> Save<'a, E> {
        Save {
            store: self,
            key,
            data: Data::new(data),
            expected_version: None,
            ttl: None,
            user_id: None,
        }
    }

    /// Sets and removes top-level members of the data, and returns the new version. Concurrent
    /// patches of different members all survive.
    ///
    /// # Errors
    ///
    /// [`Error::SessionNotFound`]; [`Error::DataTooLarge`]; [`Error::InvalidArgument`] if the
    /// changes or the data of the session are not an object; [`Error::Data`] as for
    /// [`save`](Self::save).
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, key: qsessions::Key) -> Result<(), qsessions::Error> {
    /// use serde_json::json;
    ///
    /// store.patch(&key, json!({ "theme": "dark" })).remove(&["cart", "coupon"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn patch<'a>(&'a self, key: &'a Key, changes: impl Serialize) -> Patch<'a, E> {
        Patch {
            store: self,
            key,
            changes: Data::new(changes),
            remove: &[],
        }
    }
}

impl<E> Save<'_, E> {
    /// Saves only if the session still has this version: the one that it was loaded with.
    pub fn expected_version(mut self, version: i64) -> Self {
        self.expected_version = Some(version);
        self
    }

    /// Lets the session expire this long from now: an expiry that each save moves.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Makes an anonymous session that of this user, under the key that it has.
    ///
    /// It is for a framework that rotates keys by itself. Anyone who knew the key before the login
    /// knows it after. [`login`](Store::login) changes the key. The grace of a former key ends, and
    /// saving under a former key is [`Error::SessionNotFound`].
    pub fn user(mut self, user_id: impl Into<UserId>) -> Self {
        self.user_id = Some(user_id.into());
        self
    }
}

impl<'a, E> Patch<'a, E> {
    /// Removes these members of the data.
    pub fn remove(mut self, members: &'a [&'a str]) -> Self {
        self.remove = members;
        self
    }
}

impl<E: Executor> Save<'_, E> {
    async fn send(self) -> Result<i64, Error> {
        let data = self.data.into_json()?;
        let ttl = interval("ttl", self.ttl)?;
        let user_id = self.user_id.as_ref().map(UserId::as_str);
        let _change = self.store.changes(self.key.id());
        self.store
            .database
            .value(
                "SELECT qsessions.save_session(key => $1::text, data => $2::jsonb, \
                 expected_version => $3::bigint, ttl => $4::interval, \
                 user_id => $5::text)",
                &[
                    (&self.key.argument(), Type::TEXT),
                    (&data, Type::JSONB),
                    (&self.expected_version, Type::INT8),
                    (&ttl, Type::INTERVAL),
                    (&user_id, Type::TEXT),
                ],
            )
            .await
    }
}

impl<E: Executor> Patch<'_, E> {
    async fn send(self) -> Result<i64, Error> {
        let changes = self.changes.into_json()?;
        let _change = self.store.changes(self.key.id());
        self.store
            .database
            .value(
                "SELECT qsessions.patch_session(key => $1::text, changes => $2::jsonb, \
                 remove => $3::text[])",
                &[
                    (&self.key.argument(), Type::TEXT),
                    (&changes, Type::JSONB),
                    (&self.remove, Type::TEXT_ARRAY),
                ],
            )
            .await
    }
}

sent_when_awaited!(Save -> i64);
sent_when_awaited!(Patch -> i64);
