//! Login, rotation of keys, and logout.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::call::sent_when_awaited;
use crate::client_hints::ClientHints;
use crate::create::NewSession;
use crate::database::Executor;
use crate::error::Error;
use crate::expiry::Expiry;
use crate::key::Key;
use crate::store::Store;
use crate::user_id::UserId;
use crate::wire::{Data, integer, interval};

/// A session that [`Store::login`] has begun or gone on with: a row of the SQL type `new_login`.
///
/// It does not serialize, because it holds the key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewLogin {
    /// The secret, for the cookie. The database does not keep it.
    pub key: Key,
    /// The public id, safe in a URL or a log.
    pub id: Uuid,
    /// When the session expires if nothing moves its expiry. `None`: never.
    pub expires_at: Option<SystemTime>,
    /// Whether the user has never logged in from such a device before. `None`: there is no table of
    /// events, which would tell.
    pub is_new_device: Option<bool>,
    /// Whether the user has never logged in from this city or country before. `None`: there is no
    /// table of events, or the location is unknown.
    pub is_new_place: Option<bool>,
}

impl NewLogin {
    fn from_row(row: &Row) -> Result<Self, Error> {
        let session = NewSession::from_row(row)?;
        Ok(Self {
            key: session.key,
            id: session.id,
            expires_at: session.expires_at,
            is_new_device: row.try_get(3)?,
            is_new_place: row.try_get(4)?,
        })
    }
}

/// For code that treats the sessions of visitors and of users in the same way.
impl From<NewLogin> for NewSession {
    fn from(login: NewLogin) -> Self {
        Self {
            key: login.key,
            id: login.id,
            expires_at: login.expires_at,
        }
    }
}

/// The arguments of [`Store::login`]. Awaiting it sends the call.
#[must_use = "a call is sent when it is awaited"]
pub struct Login<'a, E> {
    store: &'a Store<E>,
    user_id: UserId,
    key: Option<&'a Key>,
    ip: Option<IpAddr>,
    user_agent: Option<&'a str>,
    client_hints: Option<&'a ClientHints>,
    data: Data,
    max_sessions: Option<u32>,
    expiry: Expiry,
}

/// The arguments of [`Store::rotate_key`]. Awaiting it sends the call.
#[must_use = "a call is sent when it is awaited"]
pub struct RotateKey<'a, E> {
    store: &'a Store<E>,
    key: &'a Key,
    grace: Option<Duration>,
}

impl<E: Executor> Store<E> {
    /// Makes a session the user's, always under a new key: a key that an attacker has planted in
    /// the visitor's browser before the login is worthless after it.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if `max_sessions` is zero, the durations do not make an expiry,
    /// or the column cannot hold the user id; [`Error::DataTooLarge`]; [`Error::Data`] if the data
    /// cannot be written as JSON. A user who is not in the table of users is [`Error::Database`]
    /// with SQLSTATE 23503.
    ///
    /// ```
    /// use std::net::IpAddr;
    /// use qsessions::{Error, Key, NewLogin, Store};
    ///
    /// async fn log_in(
    ///     store: &Store,
    ///     user: i64,
    ///     cookie: Option<&Key>,
    ///     peer: IpAddr,
    /// ) -> Result<NewLogin, Error> {
    ///     let login = store.login(user).key(cookie).ip(peer).max_sessions(10).await?;
    ///     if login.is_new_device == Some(true) {
    ///         println!("A login from a new device. Was it you?");
    ///     }
    ///     Ok(login)
    /// }
    /// ```
    pub fn login(&self, user_id: impl Into<UserId>) -> Login<'_, E> {
        Login {
            store: self,
            user_id: user_id.into(),
            key: None,
            ip: None,
            user_agent: None,
            client_hints: None,
            data: Data::default(),
            max_sessions: None,
            expiry: Expiry::default(),
        }
    }

    /// Gives a session a new key and returns it. Id, data and user stay. The old key opens nothing
    /// from the commit on, or from the end of a [`grace`](RotateKey::grace) on.
    ///
    /// Call it whenever a visitor gains rights. [`login`](Self::login) does it by itself.
    ///
    /// # Errors
    ///
    /// [`Error::SessionNotFound`], also for a key that was rotated already and whose grace is not
    /// over: the request that has rotated it sets the cookie. [`Error::InvalidArgument`] if the
    /// grace is zero or longer than a minute.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # async fn example(store: qsessions::Store, key: qsessions::Key) -> Result<(), qsessions::Error> {
    /// let key = store.rotate_key(&key).await?;
    /// let key = store.rotate_key(&key).grace(Duration::from_secs(10)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn rotate_key<'a>(&'a self, key: &'a Key) -> RotateKey<'a, E> {
        RotateKey {
            store: self,
            key,
            grace: None,
        }
    }

    /// Ends the session of a key. Returns `false` if there was none, which is no error.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, key: qsessions::Key) -> Result<(), qsessions::Error> {
    /// store.logout(&key).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn logout(&self, key: &Key) -> Result<bool, Error> {
        self.write_visit(key).await;
        let _change = self.changes(key.id());
        self.database
            .value(
                "SELECT qsessions.logout(key => $1::text)",
                &[(&key.argument(), Type::TEXT)],
            )
            .await
    }
}

impl<'a, E> Login<'a, E> {
    /// The key that the visitor has had until now.
    ///
    /// An anonymous session, or one of the same user, goes on under the new key with its id and
    /// data. The session of another user is ended with its data, and a new one begins, as it does
    /// if the key opens no session.
    pub fn key(mut self, key: impl Into<Option<&'a Key>>) -> Self {
        self.key = key.into();
        self
    }

    /// The address that the login comes from.
    pub fn ip(mut self, ip: impl Into<Option<IpAddr>>) -> Self {
        self.ip = ip.into();
        self
    }

    /// The `User-Agent` header of the login.
    pub fn user_agent(mut self, user_agent: impl Into<Option<&'a str>>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// The client hints that the browser has sent beside the `User-Agent`.
    pub fn client_hints(mut self, hints: impl Into<Option<&'a ClientHints>>) -> Self {
        self.client_hints = hints.into();
        self
    }

    /// Data for the session, in place of the data that an anonymous session has gathered.
    pub fn data(mut self, data: impl Serialize) -> Self {
        self.data = Data::new(data);
        self
    }

    /// How many sessions the user may have, this one included. The sessions beyond this number that
    /// were not seen for the longest time are revoked in the same transaction.
    pub fn max_sessions(mut self, max_sessions: u32) -> Self {
        self.max_sessions = Some(max_sessions);
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

    /// The expiry as one value. Without any, a session that goes on keeps its expiry, and a new one
    /// gets that of the setting `qsessions.default_ttl`.
    pub fn expiry(mut self, expiry: Expiry) -> Self {
        self.expiry = expiry;
        self
    }
}

impl<E> RotateKey<'_, E> {
    /// Lets the old key open the session for this time too, at most a minute. Requests that are
    /// under way with the old cookie then find the session.
    ///
    /// A logout, a revocation, a login and another rotation end it at once.
    pub fn grace(mut self, grace: impl Into<Option<Duration>>) -> Self {
        self.grace = grace.into();
        self
    }
}

impl<E: Executor> RotateKey<'_, E> {
    async fn send(self) -> Result<Key, Error> {
        let grace = interval("grace", self.grace)?;
        self.store.write_visit(self.key).await;
        let _change = self.store.changes(self.key.id());
        let new: String = self
            .store
            .database
            .value(
                "SELECT qsessions.rotate_key(key => $1::text, grace => $2::interval)",
                &[(&self.key.argument(), Type::TEXT), (&grace, Type::INTERVAL)],
            )
            .await?;
        Ok(Key::new(new))
    }
}

impl<E: Executor> Login<'_, E> {
    async fn send(self) -> Result<NewLogin, Error> {
        let store = self.store;
        let key = self.key.map(Key::argument);
        let data = self.data.into_json()?;
        let max_sessions = integer("max_sessions", self.max_sessions)?;
        let [ttl, idle_timeout, max_age] = self.expiry.intervals()?;
        if let Some(key) = self.key {
            store.write_visit(key).await;
        }
        let _change = store.changes(self.key.and_then(Key::id));
        let session = store
            .database
            .row(
                "SELECT key, id, expires_at, is_new_device, is_new_place \
                 FROM qsessions.login(key => $1::text, \
                 user_id => $2::text, ip => $3::inet, user_agent => $4::text, data => $5::jsonb, \
                 max_sessions => $6::integer, ttl => $7::interval, idle_timeout => $8::interval, \
                 max_age => $9::interval, client_hints => $10::jsonb)",
                &[
                    (&key, Type::TEXT),
                    (&self.user_id.as_str(), Type::TEXT),
                    (&self.ip, Type::INET),
                    (&self.user_agent, Type::TEXT),
                    (&data, Type::JSONB),
                    (&max_sessions, Type::INT4),
                    (&ttl, Type::INTERVAL),
                    (&idle_timeout, Type::INTERVAL),
                    (&max_age, Type::INTERVAL),
                    (&ClientHints::argument(self.client_hints), Type::JSONB),
                ],
                NewLogin::from_row,
            )
            .await;
        if max_sessions.is_some() {
            // Only the notification names the sessions that were revoked.
            store.hear_of_changes().await;
        }
        session
    }
}

sent_when_awaited!(Login -> NewLogin);
sent_when_awaited!(RotateKey -> Key);
