//! How a session begins.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::call::sent_when_awaited;
use crate::client_hints::ClientHints;
use crate::database::Executor;
use crate::error::Error;
use crate::expiry::Expiry;
use crate::key::Key;
use crate::store::Store;
use crate::user_id::UserId;
use crate::wire::{Data, instant, integer};

/// A session that [`Store::create`] has begun: a row of the SQL type `new_session`.
///
/// It does not serialize, because it holds the key.
///
/// ```
/// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
/// let session = store.create().await?;
/// println!("session {} begins", session.id);
/// let cookie = format!("id={}; Path=/; Secure; HttpOnly; SameSite=Lax", session.key.expose());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewSession {
    /// The secret, for the cookie. The database does not keep it.
    pub key: Key,
    /// The public id, safe in a URL or a log.
    pub id: Uuid,
    /// When the session expires if nothing moves its expiry. `None`: never.
    pub expires_at: Option<SystemTime>,
}

impl NewSession {
    /// From a row of key, id and expires_at.
    pub(crate) fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            key: Key::new(row.try_get::<_, String>(0)?),
            id: row.try_get(1)?,
            expires_at: instant(row, 2)?,
        })
    }
}

/// The arguments of [`Store::create`]. Awaiting it sends the call.
#[must_use = "a call is sent when it is awaited"]
pub struct Create<'a, E> {
    store: &'a Store<E>,
    user_id: Option<UserId>,
    data: Data,
    ip: Option<IpAddr>,
    user_agent: Option<&'a str>,
    client_hints: Option<&'a ClientHints>,
    expiry: Expiry,
    key: Option<&'a Key>,
    max_sessions: Option<u32>,
}

impl<E: Executor> Store<E> {
    /// Begins a session. Without arguments it is anonymous and empty, has a new key, and expires
    /// after the time in the setting `qsessions.default_ttl`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if the durations do not make an expiry, or `max_sessions` is zero;
    /// [`Error::DataTooLarge`]; [`Error::Data`] if the data cannot be written as JSON;
    /// [`Error::InvalidKey`] and [`Error::KeyExists`] for the key that was passed. A user who is not
    /// in the table of users is [`Error::Database`] with SQLSTATE 23503.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// let session = store
    ///     .create()
    ///     .data(serde_json::json!({ "theme": "dark" }))
    ///     .idle_timeout(Duration::from_secs(30 * 60))
    ///     .max_age(Duration::from_secs(8 * 3600))
    ///     .await?;
    /// let cookie = session.key.expose();
    /// # Ok(())
    /// # }
    /// ```
    pub fn create(&self) -> Create<'_, E> {
        Create {
            store: self,
            user_id: None,
            data: Data::default(),
            ip: None,
            user_agent: None,
            client_hints: None,
            expiry: Expiry::default(),
            key: None,
            max_sessions: None,
        }
    }

    /// A fresh key for [`Create::key`], for an application that has to know it beforehand.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// let key = store.generate_key().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn generate_key(&self) -> Result<Key, Error> {
        let key: String = self
            .database
            .value("SELECT qsessions.generate_key()", &[])
            .await?;
        Ok(Key::new(key))
    }
}

impl<'a, E> Create<'a, E> {
    /// The user that the session belongs to.
    ///
    /// For a visitor who has just logged in use [`Store::login`], which also changes the key of the
    /// session that was there before.
    pub fn user(mut self, user_id: impl Into<UserId>) -> Self {
        self.user_id = Some(user_id.into());
        self
    }

    /// The data that the application keeps, as JSON: at most `qsessions.max_data_bytes`. An object
    /// can be [patched](Store::patch) later.
    pub fn data(mut self, data: impl Serialize) -> Self {
        self.data = Data::new(data);
        self
    }

    /// The address that the visitor comes from.
    pub fn ip(mut self, ip: impl Into<Option<IpAddr>>) -> Self {
        self.ip = ip.into();
        self
    }

    /// The `User-Agent` header. The database cuts it to `qsessions.user_agent_max_length`
    /// characters.
    pub fn user_agent(mut self, user_agent: impl Into<Option<&'a str>>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// The client hints that the browser has sent beside the `User-Agent`.
    pub fn client_hints(mut self, hints: impl Into<Option<&'a ClientHints>>) -> Self {
        self.client_hints = hints.into();
        self
    }

    /// Fixed expiry: this long from now. It cannot be combined with
    /// [`idle_timeout`](Self::idle_timeout).
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.expiry.ttl = Some(ttl);
        self
    }

    /// Sliding expiry: this long after the last visit that was recorded.
    pub fn idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.expiry.idle_timeout = Some(idle_timeout);
        self
    }

    /// A deadline that activity cannot move, as a time from now.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.expiry.max_age = Some(max_age);
        self
    }

    /// The expiry as one value.
    pub fn expiry(mut self, expiry: Expiry) -> Self {
        self.expiry = expiry;
        self
    }

    /// A key from elsewhere, such as one that another session store has put into the visitor's
    /// cookie. Without it the database makes a key of 160 random bits, as a new visitor needs.
    pub fn key(mut self, key: impl Into<Option<&'a Key>>) -> Self {
        self.key = key.into();
        self
    }

    /// How many sessions the [`user`](Self::user) may have, this one included. The sessions beyond
    /// this number that were not seen for the longest time are revoked in the same transaction.
    pub fn max_sessions(mut self, max_sessions: impl Into<Option<u32>>) -> Self {
        self.max_sessions = max_sessions.into();
        self
    }
}

impl<E: Executor> Create<'_, E> {
    async fn send(self) -> Result<NewSession, Error> {
        let user_id = self.user_id.as_ref().map(UserId::as_str);
        let key = self.key.map(Key::argument);
        let data = self.data.into_json()?;
        let max_sessions = integer("max_sessions", self.max_sessions)?;
        let [ttl, idle_timeout, max_age] = self.expiry.intervals()?;
        let _begins = self.key.and_then(|key| self.store.begins(key));
        let session = self
            .store
            .database
            .row(
                // In FROM, the row would be put into a tuple store first, which takes longer.
                "SELECT (made).key, (made).id, (made).expires_at FROM (SELECT \
                 qsessions.create_session(user_id => $1::text, data => $2::jsonb, ip => $3::inet, \
                 user_agent => $4::text, ttl => $5::interval, idle_timeout => $6::interval, \
                 max_age => $7::interval, key => $8::text, client_hints => $9::jsonb, \
                 max_sessions => $10::integer) AS made) AS call",
                &[
                    (&user_id, Type::TEXT),
                    (&data, Type::JSONB),
                    (&self.ip, Type::INET),
                    (&self.user_agent, Type::TEXT),
                    (&ttl, Type::INTERVAL),
                    (&idle_timeout, Type::INTERVAL),
                    (&max_age, Type::INTERVAL),
                    (&key, Type::TEXT),
                    (&ClientHints::argument(self.client_hints), Type::JSONB),
                    (&max_sessions, Type::INT4),
                ],
                NewSession::from_row,
            )
            .await;
        if max_sessions.is_some() {
            // Only the notification names the sessions that were revoked.
            self.store.hear_of_changes().await;
        }
        session
    }
}

sent_when_awaited!(Create -> NewSession);
