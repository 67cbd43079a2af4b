use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use tokio_postgres::types::Json;

use crate::{Error, Expiry, Key, UserId, wire};

/// A session to be made by [`Store::create`](crate::Store::create). Everything is optional.
///
/// ```
/// use std::time::Duration;
/// use qsessions::NewSession;
///
/// let session = NewSession::new()
///     .user("42")
///     .data(serde_json::json!({ "theme": "dark" }))
///     .ip([192, 0, 2, 7])
///     .user_agent("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
///     .idle_timeout(Duration::from_secs(30 * 60))
///     .max_age(Duration::from_secs(8 * 3600));
/// ```
#[derive(Debug, Default)]
#[must_use]
pub struct NewSession {
    pub(crate) user_id: Option<UserId>,
    pub(crate) data: Data,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) user_agent: Option<String>,
    pub(crate) expiry: Expiry,
    pub(crate) key: Option<Key>,
}

impl NewSession {
    /// An anonymous session without data, under a fresh key, that lives as long as the setting
    /// `qsessions.default_ttl` says.
    ///
    /// ```
    /// let session = qsessions::NewSession::new();
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Whose session it is. Without it the session is anonymous.
    ///
    /// Someone who just typed a password wants [`Store::login`](crate::Store::login), which changes
    /// the key of the session that was there before.
    ///
    /// ```
    /// let session = qsessions::NewSession::new().user(42);
    /// ```
    pub fn user(mut self, user_id: impl Into<UserId>) -> Self {
        self.user_id = Some(user_id.into());
        self
    }

    /// What the application keeps, as JSON; at most `qsessions.max_data_bytes`. An object can be
    /// [patched](crate::Store::patch) later.
    ///
    /// Data that can't be written as JSON is an error of the call that uses it.
    ///
    /// ```
    /// #[derive(serde::Serialize)]
    /// struct Visit { cart: Vec<u64> }
    ///
    /// let session = qsessions::NewSession::new().data(Visit { cart: vec![7] });
    /// ```
    pub fn data(mut self, data: impl Serialize) -> Self {
        self.data.set(data);
        self
    }

    /// The address that the visitor comes from.
    ///
    /// ```
    /// # use std::net::IpAddr;
    /// # fn example(peer: IpAddr) {
    /// let session = qsessions::NewSession::new().ip(peer);
    /// # }
    /// ```
    pub fn ip(mut self, ip: impl Into<IpAddr>) -> Self {
        self.ip = Some(ip.into());
        self
    }

    /// The `User-Agent` header. The database cuts it to `qsessions.user_agent_max_length`
    /// characters.
    ///
    /// ```
    /// let session = qsessions::NewSession::new().user_agent("curl/8.5.0");
    /// ```
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = Some(user_agent.into());
        self
    }

    /// Fixed expiry, this long from now. Together with [`idle_timeout`](Self::idle_timeout) it is
    /// [`Error::InvalidArgument`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// let session = qsessions::NewSession::new().ttl(Duration::from_secs(3600));
    /// ```
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.expiry.ttl = Some(ttl);
        self
    }

    /// Sliding expiry, this long after the last activity.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let session = qsessions::NewSession::new().idle_timeout(Duration::from_secs(1800));
    /// ```
    pub fn idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.expiry.idle_timeout = Some(idle_timeout);
        self
    }

    /// The deadline that activity can't move, as a time from now.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let session = qsessions::NewSession::new().max_age(Duration::from_secs(8 * 3600));
    /// ```
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.expiry.max_age = Some(max_age);
        self
    }

    /// The expiry as one value, where an application keeps it as such.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use qsessions::{Expiry, NewSession};
    /// let session = NewSession::new().expiry(Expiry::ttl(Duration::from_secs(3600)));
    /// ```
    pub fn expiry(mut self, expiry: Expiry) -> Self {
        self.expiry = expiry;
        self
    }

    /// A key from elsewhere, such as the one that another session store has put into the visitor's
    /// cookie. Without it the database makes one of 160 random bits, as it should for anyone new.
    ///
    /// ```
    /// # use qsessions::NewSession;
    /// let moved = NewSession::new().key("q9kqs2h0xg0ynmw7kqz2qy7hd1kfg3sb").user(42);
    /// ```
    pub fn key(mut self, key: impl Into<Key>) -> Self {
        self.key = Some(key.into());
        self
    }
}

/// Data on its way to the database. A builder can't fail half-way, so the error waits for the call.
#[derive(Debug, Default)]
pub(crate) struct Data(Option<Result<Json<Box<RawValue>>, serde_json::Error>>);

impl Data {
    pub(crate) fn set(&mut self, data: impl Serialize) {
        self.0 = Some(wire::json(data));
    }

    pub(crate) fn take(&mut self) -> Result<Option<Json<Box<RawValue>>>, Error> {
        Ok(self.0.take().transpose()?)
    }
}
