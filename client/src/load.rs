//! Which session a key opens.

use std::net::IpAddr;

use tokio_postgres::types::Type;

use crate::answer::Answer;
use crate::call::debug_without_fields;
use crate::database::Executor;
use crate::error::Error;
use crate::key::Key;
use crate::session::{Session, session_columns};
use crate::store::Store;

/// The arguments of [`Store::resume`]. Awaiting it sends the call.
#[must_use = "a call is sent when it is awaited"]
pub struct Resume<'a, E> {
    store: &'a Store<E>,
    key: &'a Key,
    ip: Option<IpAddr>,
    user_agent: Option<&'a str>,
}

impl<E: Executor> Store<E> {
    /// The live session of a key, or `None`. It only reads, and works on a standby.
    ///
    /// A [`CachedStore`](crate::CachedStore) usually answers from memory.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, key: qsessions::Key) -> Result<(), qsessions::Error> {
    /// if let Some(session) = store.load(&key).await? {
    ///     println!("theme: {}", session.data["theme"]);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn load(&self, key: &Key) -> Result<Option<Session>, Error> {
        if let Some(cache) = self.session_cache() {
            return cache.load(key).await;
        }
        self.database
            .optional_row(
                concat!(
                    "SELECT ",
                    session_columns!(),
                    " FROM qsessions.load_session(key => $1::text)"
                ),
                &[(&key.argument(), Type::TEXT)],
                Session::from_row,
            )
            .await
    }

    /// The live session of a key, or `None`. It records the visit, which moves a sliding expiry.
    ///
    /// The database writes only if the address or the `User-Agent` has changed, or if the time in
    /// the setting `qsessions.touch_interval` has passed since the last write.
    ///
    /// ```
    /// use std::net::IpAddr;
    /// use qsessions::{Error, Key, Session, Store};
    ///
    /// async fn visitor(
    ///     store: &Store,
    ///     cookie: &str,
    ///     peer: IpAddr,
    ///     user_agent: Option<&str>,
    /// ) -> Result<Option<Session>, Error> {
    ///     store.resume(&Key::from(cookie)).ip(peer).user_agent(user_agent).await
    /// }
    /// ```
    pub fn resume<'a>(&'a self, key: &'a Key) -> Resume<'a, E> {
        Resume {
            store: self,
            key,
            ip: None,
            user_agent: None,
        }
    }

    /// Whether the key opens a live session.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, key: qsessions::Key) -> Result<(), qsessions::Error> {
    /// if !store.exists(&key).await? {
    ///     println!("please log in");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn exists(&self, key: &Key) -> Result<bool, Error> {
        if let Some(cache) = self.session_cache() {
            match cache.load(key).await {
                // The session may exist although its data cannot be read.
                Err(Error::Data(_)) => {}
                session => return Ok(session?.is_some()),
            }
        }
        self.database
            .value(
                "SELECT qsessions.session_exists(key => $1::text)",
                &[(&key.argument(), Type::TEXT)],
            )
            .await
    }
}

impl<'a, E> Resume<'a, E> {
    /// The address that the visitor comes from. Without it, the last known address stays.
    pub fn ip(mut self, ip: impl Into<Option<IpAddr>>) -> Self {
        self.ip = ip.into();
        self
    }

    /// The `User-Agent` header. Without it, the last known one stays.
    pub fn user_agent(mut self, user_agent: impl Into<Option<&'a str>>) -> Self {
        self.user_agent = user_agent.into();
        self
    }
}

impl<E: Executor> Resume<'_, E> {
    async fn send(self) -> Result<Option<Session>, Error> {
        self.store
            .database
            .optional_row(
                concat!(
                    "SELECT ",
                    session_columns!(),
                    " FROM qsessions.resume_session(key => $1::text, ip => $2::inet, \
                     user_agent => $3::text)"
                ),
                &[
                    (&self.key.argument(), Type::TEXT),
                    (&self.ip, Type::INET),
                    (&self.user_agent, Type::TEXT),
                ],
                Session::from_row,
            )
            .await
    }
}

debug_without_fields!(Resume<'_, E>);

impl<'a, E: Executor> IntoFuture for Resume<'a, E> {
    type Output = Result<Option<Session>, Error>;
    type IntoFuture = Answer<'a, Option<Session>>;

    fn into_future(self) -> Self::IntoFuture {
        match self.store.session_cache() {
            Some(cache) => cache.resume(self.key, self.ip, self.user_agent),
            None => Answer::asked(self.send()),
        }
    }
}
