//! Which session a key opens.

use std::net::IpAddr;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::answer::Answer;
use crate::call::debug_without_fields;
use crate::client_hints::ClientHints;
use crate::database::{Database, Executor, Parameter};
use crate::error::Error;
use crate::hooks::Visitor;
use crate::key::Key;
use crate::session::{Session, session_columns};
use crate::store::Store;

/// The arguments of [`Store::resume`]. Awaiting it sends the call.
#[must_use = "a call is sent when it is awaited"]
pub struct Resume<'a, E> {
    store: &'a Store<E>,
    key: &'a Key,
    visitor: Visitor<'a>,
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
    /// The database writes only if the address, the `User-Agent` or the client hints have changed,
    /// or if the time in the setting `qsessions.touch_interval` has passed since the last write. A
    /// [`CachedStore`](crate::CachedStore) answers from memory, and writes within a second.
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
            visitor: Visitor::default(),
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

    /// Whether the key opens a live session, and is not a former key in its
    /// [grace](crate::RotateKey::grace). It always asks the database.
    ///
    /// Ask it before you set a cookie again, for example with a later `Max-Age`: the response to
    /// another request may have set a new key in the meantime.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, key: qsessions::Key) -> Result<(), qsessions::Error> {
    /// if store.is_present_key(&key).await? {
    ///     println!("the cookie can be set again");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn is_present_key(&self, key: &Key) -> Result<bool, Error> {
        self.database
            .value(
                "SELECT EXISTS (SELECT FROM qsessions.load_for_cache(key => $1::text) \
                 WHERE NOT is_former_key)",
                &[(&key.argument(), Type::TEXT)],
            )
            .await
    }
}

/// Where the visit comes from, for calls that record it.
macro_rules! visitor_setters {
    ($call:ident) => {
        impl<'a, E> $call<'a, E> {
            /// The address that the visitor comes from. Without it, the last known address stays.
            pub fn ip(mut self, ip: impl Into<Option<IpAddr>>) -> Self {
                self.visitor.ip = ip.into();
                self
            }

            /// The `User-Agent` header. Without it, the last known one stays.
            pub fn user_agent(mut self, user_agent: impl Into<Option<&'a str>>) -> Self {
                self.visitor.user_agent = user_agent.into();
                self
            }

            /// The client hints that the browser has sent beside the `User-Agent`. They are added
            /// to those of earlier requests.
            pub fn client_hints(mut self, hints: impl Into<Option<&'a ClientHints>>) -> Self {
                self.visitor.client_hints = hints.into();
                self
            }
        }
    };
}
pub(crate) use visitor_setters;

visitor_setters!(Resume);

/// Sends a statement with the arguments of `resume_session`.
pub(crate) async fn visit<E: Executor, T>(
    database: &Database<E>,
    sql: &str,
    key: &Key,
    visitor: Visitor<'_>,
    read: impl Fn(&Row) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    let hints = ClientHints::argument(visitor.client_hints);
    let parameters: &[Parameter<'_>] = &[
        (&key.argument(), Type::TEXT),
        (&visitor.ip, Type::INET),
        (&visitor.user_agent, Type::TEXT),
        (&hints, Type::JSONB),
    ];
    database.optional_row(sql, parameters, read).await
}

pub(crate) async fn resume<E: Executor>(
    database: &Database<E>,
    key: &Key,
    visitor: Visitor<'_>,
) -> Result<Option<Session>, Error> {
    const RESUME: &str = concat!(
        "SELECT ",
        session_columns!(),
        " FROM qsessions.resume_session(key => $1::text, ip => $2::inet, user_agent => $3::text, \
         client_hints => $4::jsonb)"
    );
    visit(database, RESUME, key, visitor, Session::from_row).await
}

debug_without_fields!(Resume<'_, E>);

impl<'a, E: Executor> IntoFuture for Resume<'a, E> {
    type Output = Result<Option<Session>, Error>;
    type IntoFuture = Answer<'a, Option<Session>>;

    fn into_future(self) -> Self::IntoFuture {
        match self.store.session_cache() {
            Some(cache) => cache.resume(self.key, self.visitor),
            None => Answer::asked(resume(&self.store.database, self.key, self.visitor)),
        }
    }
}
