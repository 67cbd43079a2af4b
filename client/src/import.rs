//! Sessions that another store has begun.

use std::net::IpAddr;
use std::time::SystemTime;

use serde::Serialize;
use tokio_postgres::types::Type;

use crate::call::sent_when_awaited;
use crate::client_hints::ClientHints;
use crate::database::Executor;
use crate::error::Error;
use crate::key::Key;
use crate::store::Store;
use crate::user_id::UserId;
use crate::wire::Data;

/// The arguments of [`Store::import`]. Awaiting it sends the call.
#[must_use = "a call is sent when it is awaited"]
pub struct Import<'a, E> {
    store: &'a Store<E>,
    key: &'a Key,
    user_id: Option<UserId>,
    data: Data,
    ip: Option<IpAddr>,
    user_agent: Option<&'a str>,
    client_hints: Option<&'a ClientHints>,
    created_at: Option<SystemTime>,
    authenticated_at: Option<SystemTime>,
    last_seen_at: Option<SystemTime>,
    expires_at: Option<SystemTime>,
}

impl<E: Executor> Store<E> {
    /// Brings a session of another store along under its key, so that users
    /// stay logged in. Returns `false` if the key has a session already or the session has expired, so that
    /// an import can be repeated.
    ///
    /// Times that the other store does not know are derived from those that it knows.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`]; [`Error::DataTooLarge`]; [`Error::Data`] if the data cannot be
    /// written as JSON; [`Error::InvalidArgument`] if the column cannot hold the user id. A user
    /// who is not in the table of users is [`Error::Database`] with SQLSTATE 23503.
    ///
    /// ```
    /// use std::time::SystemTime;
    /// use qsessions::{Error, Key, Store};
    ///
    /// struct Former {
    ///     cookie: String,
    ///     user: Option<i64>,
    ///     data: serde_json::Value,
    ///     expires_at: SystemTime,
    /// }
    ///
    /// async fn move_session(store: &Store, former: Former) -> Result<bool, Error> {
    ///     let key = Key::from(former.cookie);
    ///     let mut import = store.import(&key).data(former.data).expires_at(former.expires_at);
    ///     if let Some(user) = former.user {
    ///         import = import.user(user);
    ///     }
    ///     import.await
    /// }
    /// ```
    pub fn import<'a>(&'a self, key: &'a Key) -> Import<'a, E> {
        Import {
            store: self,
            key,
            user_id: None,
            data: Data::default(),
            ip: None,
            user_agent: None,
            client_hints: None,
            created_at: None,
            authenticated_at: None,
            last_seen_at: None,
            expires_at: None,
        }
    }
}

impl<'a, E> Import<'a, E> {
    /// The user that the session belongs to.
    pub fn user(mut self, user_id: impl Into<UserId>) -> Self {
        self.user_id = Some(user_id.into());
        self
    }

    /// The data of the session, as JSON.
    pub fn data(mut self, data: impl Serialize) -> Self {
        self.data = Data::new(data);
        self
    }

    /// The last known address.
    pub fn ip(mut self, ip: impl Into<Option<IpAddr>>) -> Self {
        self.ip = ip.into();
        self
    }

    /// The last known `User-Agent` header.
    pub fn user_agent(mut self, user_agent: impl Into<Option<&'a str>>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// The last known client hints.
    pub fn client_hints(mut self, hints: impl Into<Option<&'a ClientHints>>) -> Self {
        self.client_hints = hints.into();
        self
    }

    /// When the session was created.
    pub fn created_at(mut self, instant: impl Into<Option<SystemTime>>) -> Self {
        self.created_at = instant.into();
        self
    }

    /// The last login of the session.
    pub fn authenticated_at(mut self, instant: impl Into<Option<SystemTime>>) -> Self {
        self.authenticated_at = instant.into();
        self
    }

    /// The last visit of the session.
    pub fn last_seen_at(mut self, instant: impl Into<Option<SystemTime>>) -> Self {
        self.last_seen_at = instant.into();
        self
    }

    /// When the session expires: by default after the time in the setting `qsessions.default_ttl`.
    pub fn expires_at(mut self, instant: impl Into<Option<SystemTime>>) -> Self {
        self.expires_at = instant.into();
        self
    }
}

impl<E: Executor> Import<'_, E> {
    async fn send(self) -> Result<bool, Error> {
        let user_id = self.user_id.as_ref().map(UserId::as_str);
        let data = self.data.into_json()?;
        let _begins = self.store.begins(self.key);
        self.store
            .database
            .value(
                "SELECT qsessions.import_session(key => $1::text, user_id => $2::text, \
                 data => $3::jsonb, ip => $4::inet, user_agent => $5::text, \
                 created_at => $6::timestamptz, authenticated_at => $7::timestamptz, \
                 last_seen_at => $8::timestamptz, expires_at => $9::timestamptz, \
                 client_hints => $10::jsonb)",
                &[
                    (&self.key.argument(), Type::TEXT),
                    (&user_id, Type::TEXT),
                    (&data, Type::JSONB),
                    (&self.ip, Type::INET),
                    (&self.user_agent, Type::TEXT),
                    (&self.created_at, Type::TIMESTAMPTZ),
                    (&self.authenticated_at, Type::TIMESTAMPTZ),
                    (&self.last_seen_at, Type::TIMESTAMPTZ),
                    (&self.expires_at, Type::TIMESTAMPTZ),
                    (&ClientHints::argument(self.client_hints), Type::JSONB),
                ],
            )
            .await
    }
}

sent_when_awaited!(Import -> bool);
