use std::net::IpAddr;
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::wire::{Jsonb, instant, past_instant};
use crate::{Error, Key};

/// A session that was just made, or made anew under another key.
///
/// ```
/// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
/// let session = store.create(qsessions::NewSession::new()).await?;
/// println!("session {} begins", session.id);
/// let cookie = format!("id={}; Path=/; Secure; HttpOnly; SameSite=Lax", session.key.expose());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CreatedSession {
    /// The secret, for the cookie. It can't be had again.
    pub key: Key,
    /// The public id, safe in a URL or a log.
    pub id: Uuid,
    /// When it ends, if nothing happens until then. `None`: never.
    pub expires_at: Option<SystemTime>,
}

/// From a row of key, id and expires_at.
impl TryFrom<Row> for CreatedSession {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            key: Key::new(row.try_get::<_, String>(0)?),
            id: row.try_get(1)?,
            expires_at: instant(&row, 2)?,
        })
    }
}

/// A session with its data, as the application works with it.
///
/// ```
/// # async fn example(store: qsessions::Store, key: qsessions::Key) -> Result<(), qsessions::Error> {
/// match store.load(&key).await? {
///     Some(session) => println!("{:?} at version {}", session.user_id, session.version),
///     None => println!("nobody"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Session {
    /// The public id.
    pub id: Uuid,
    /// Whose session it is. `None`: anonymous.
    pub user_id: Option<String>,
    /// What the application keeps.
    ///
    /// jsonb holds any number, and a [`Value`] does not. An integer from `i64::MIN` to `u64::MAX` is exact; any other number
    /// is the nearest `f64`, and [`f64::MAX`] where it is larger than all of them. Where that is not enough, an
    /// application turns on the feature `arbitrary_precision` of serde_json, which is for all of its crates and changes
    /// how they read numbers, or reads with [`data_as`](Self::data_as).
    pub data: Value,
    /// The last address seen.
    pub ip: Option<IpAddr>,
    /// The last `User-Agent` seen.
    pub user_agent: Option<String>,
    /// When it began.
    pub created_at: SystemTime,
    /// The last login.
    pub authenticated_at: Option<SystemTime>,
    /// The last time that data or user were saved.
    pub updated_at: SystemTime,
    /// The last activity, to within the setting `qsessions.touch_interval`.
    pub last_seen_at: SystemTime,
    /// The instant from which it is dead. `None`: it never expires.
    pub expires_at: Option<SystemTime>,
    /// Goes up by one with every save.
    pub version: i64,
    /// The data as it was sent, where [`data`](Self::data) has a number that is another one there.
    exact: Option<Box<str>>,
}

impl Session {
    /// The data as a type of the application.
    ///
    /// Data with a number that is larger than any `f64` is read from its text, so that a field of type
    /// [`RawValue`](serde_json::value::RawValue) has all the digits.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] if the data is not of that type.
    ///
    /// ```
    /// #[derive(serde::Deserialize)]
    /// struct Visit { cart: Vec<u64> }
    ///
    /// # fn example(session: qsessions::Session) -> Result<(), qsessions::Error> {
    /// let visit: Visit = session.data_as()?;
    /// println!("{} things in the cart", visit.cart.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn data_as<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let exact = self.exact.as_deref().map(serde_json::from_str);
        match exact {
            Some(Ok(data)) => Ok(data),
            // The type may ask for an `f64`, or a Value.
            Some(Err(_)) | None => Ok(T::deserialize(&self.data)?),
        }
    }
}

macro_rules! session_columns {
    () => {
        "id, user_id, data, ip, user_agent, created_at, \
         authenticated_at, updated_at, last_seen_at, expires_at, version"
    };
}
pub(crate) use session_columns;

impl TryFrom<Row> for Session {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let data = row.try_get::<_, Jsonb<'_>>(2)?.decode()?;
        Ok(Self {
            id: row.try_get(0)?,
            user_id: row.try_get(1)?,
            data: data.value,
            exact: data.exact,
            ip: row.try_get(3)?,
            user_agent: row.try_get(4)?,
            created_at: past_instant(&row, 5)?,
            authenticated_at: instant(&row, 6)?,
            updated_at: past_instant(&row, 7)?,
            last_seen_at: past_instant(&row, 8)?,
            expires_at: instant(&row, 9)?,
            version: row.try_get(10)?,
        })
    }
}

/// A session as a person sees it on a page of their devices, or an administrator in a list.
///
/// ```
/// # async fn example(store: qsessions::Store, key: qsessions::Key) -> Result<(), qsessions::Error> {
/// for session in store.user_sessions(42, Some(&key)).await? {
///     println!(
///         "{} in {}{}",
///         session.device.as_deref().unwrap_or("an unknown device"),
///         session.location.as_deref().unwrap_or("an unknown place"),
///         if session.is_current { " (this one)" } else { "" },
///     );
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The public id: what [`Store::revoke`](crate::Store::revoke) takes.
    pub id: Uuid,
    /// Whose session it is. `None`: anonymous.
    pub user_id: Option<String>,
    /// The last address seen.
    pub ip: Option<IpAddr>,
    /// Where the address is, such as `Paris, France`, if a database of places is configured and
    /// knows.
    pub location: Option<String>,
    /// The device in one line, such as `iPhone / iOS 17.1 / Safari 17.1`.
    pub device: Option<String>,
    /// The last `User-Agent` seen.
    pub user_agent: Option<String>,
    /// When it began.
    pub created_at: SystemTime,
    /// The last login.
    pub authenticated_at: Option<SystemTime>,
    /// The last time that data or user were saved.
    pub updated_at: SystemTime,
    /// The last activity, to within the setting `qsessions.touch_interval`.
    pub last_seen_at: SystemTime,
    /// The instant from which it is dead. `None`: it never expires.
    pub expires_at: Option<SystemTime>,
    /// Whether it is alive.
    pub is_active: bool,
    /// Whether it is the session of the key that the caller passed.
    pub is_current: bool,
}

macro_rules! session_info_columns {
    () => {
        "id, user_id, ip, location, device, user_agent, created_at, \
         authenticated_at, updated_at, last_seen_at, expires_at, is_active, is_current"
    };
}
pub(crate) use session_info_columns;

impl TryFrom<Row> for SessionInfo {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.try_get(0)?,
            user_id: row.try_get(1)?,
            ip: row.try_get(2)?,
            location: row.try_get(3)?,
            device: row.try_get(4)?,
            user_agent: row.try_get(5)?,
            created_at: past_instant(&row, 6)?,
            authenticated_at: instant(&row, 7)?,
            updated_at: past_instant(&row, 8)?,
            last_seen_at: past_instant(&row, 9)?,
            expires_at: instant(&row, 10)?,
            is_active: row.try_get(11)?,
            is_current: row.try_get(12)?,
        })
    }
}
