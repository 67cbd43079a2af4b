use std::net::IpAddr;

use serde::Serialize;

use crate::new_session::Data;
use crate::{Expiry, Key, UserId};

/// Somebody has proved who they are: what [`Store::login`](crate::Store::login) should do about it.
///
/// ```
/// use qsessions::{Key, Login};
///
/// let login = Login::user(42)
///     .key("the key that the visitor's cookie held so far")
///     .ip([192, 0, 2, 7])
///     .user_agent("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
///     .max_sessions(5);
/// ```
#[derive(Debug)]
#[must_use]
pub struct Login {
    pub(crate) key: Option<Key>,
    pub(crate) user_id: UserId,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) user_agent: Option<String>,
    pub(crate) data: Data,
    pub(crate) max_sessions: Option<i32>,
    pub(crate) expiry: Expiry,
}

impl Login {
    /// This user logs in.
    ///
    /// ```
    /// let login = qsessions::Login::user("ada");
    /// ```
    pub fn user(user_id: impl Into<UserId>) -> Self {
        Self {
            key: None,
            user_id: user_id.into(),
            ip: None,
            user_agent: None,
            data: Data::default(),
            max_sessions: None,
            expiry: Expiry::default(),
        }
    }

    /// The key that the visitor had until now. An anonymous session, or one of the same user, goes
    /// on under the new key with its id and data; another user's is ended. A dead key begins a new
    /// session.
    ///
    /// ```
    /// # use qsessions::{Key, Login};
    /// # fn example(cookie: Option<Key>) {
    /// let mut login = Login::user(42);
    /// if let Some(key) = cookie {
    ///     login = login.key(key);
    /// }
    /// # }
    /// ```
    pub fn key(mut self, key: impl Into<Key>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The address that the login comes from.
    ///
    /// ```
    /// let login = qsessions::Login::user(42).ip([192, 0, 2, 7]);
    /// ```
    pub fn ip(mut self, ip: impl Into<IpAddr>) -> Self {
        self.ip = Some(ip.into());
        self
    }

    /// The `User-Agent` header of the login.
    ///
    /// ```
    /// let login = qsessions::Login::user(42).user_agent("curl/8.5.0");
    /// ```
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = Some(user_agent.into());
        self
    }

    /// Data for the session, in place of what an anonymous session has gathered.
    ///
    /// ```
    /// let login = qsessions::Login::user(42).data(serde_json::json!({ "roles": ["editor"] }));
    /// ```
    pub fn data(mut self, data: impl Serialize) -> Self {
        self.data.set(data);
        self
    }

    /// How many sessions the user may have, this one included. Those beyond it that were unseen
    /// longest are revoked in the same transaction.
    ///
    /// ```
    /// let login = qsessions::Login::user(42).max_sessions(1);
    /// ```
    pub fn max_sessions(mut self, max_sessions: i32) -> Self {
        self.max_sessions = Some(max_sessions);
        self
    }

    /// When the session ends, counted from now. Without it a session that goes on keeps the expiry
    /// that it has, and a new one gets that of the setting `qsessions.default_ttl`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use qsessions::{Expiry, Login};
    /// let login = Login::user(42).expiry(Expiry::idle_timeout(Duration::from_secs(1800)));
    /// ```
    pub fn expiry(mut self, expiry: Expiry) -> Self {
        self.expiry = expiry;
        self
    }
}
