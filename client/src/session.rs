//! A session as the application works with it.

use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

#[cfg(feature = "cache")]
use crate::cache::facts::Facts;
use crate::error::Error;
use crate::json::Jsonb;
use crate::rfc3339;
use crate::wire::{instant, past_instant};

/// A session with its data. Cloning it is cheap: all clones share one [`SessionData`], whose fields
/// can be read on the session itself.
///
/// It serializes as its fields do, without the key.
///
/// ```
/// # async fn example(store: qsessions::Store, key: qsessions::Key) -> Result<(), qsessions::Error> {
/// match store.load(&key).await? {
///     Some(session) => println!("{:?} at version {}", session.user_id, session.version),
///     None => println!("no session"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Session(Arc<Shared>);

/// In one piece of memory, of which an answer from a cache touches little.
struct Shared {
    /// What a cache knows of the session. `None`: no cache has read it.
    #[cfg(feature = "cache")]
    facts: Option<Facts>,
    data: SessionData,
}

/// The columns of a [`Session`]: a row of the SQL type `session_data`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SessionData {
    /// The public id.
    pub id: Uuid,
    /// The user that the session belongs to. `None`: it is anonymous.
    pub user_id: Option<String>,
    /// The data that the application keeps.
    ///
    /// jsonb holds any number, and a [`Value`] does not. An integer from `i64::MIN` to `u64::MAX`
    /// is exact. Any other number is the nearest `f64`, or [`f64::MAX`] if it is larger than every
    /// `f64`. An application that needs more can read with [`data_as`](Self::data_as), or enable
    /// the feature `arbitrary_precision` of serde_json, which changes how all of its crates read
    /// numbers.
    pub data: Value,
    /// The address of the last recorded visit.
    pub ip: Option<IpAddr>,
    /// The `User-Agent` header of the last recorded visit.
    pub user_agent: Option<String>,
    /// When the session was created.
    #[serde(with = "rfc3339")]
    pub created_at: SystemTime,
    /// The last login.
    #[serde(with = "rfc3339::option")]
    pub authenticated_at: Option<SystemTime>,
    /// When data or user were last saved.
    #[serde(with = "rfc3339")]
    pub updated_at: SystemTime,
    /// The last visit, to within the setting `qsessions.touch_interval`.
    #[serde(with = "rfc3339")]
    pub last_seen_at: SystemTime,
    /// The instant at which the session expires. `None`: never.
    #[serde(with = "rfc3339::option")]
    pub expires_at: Option<SystemTime>,
    /// The version of the data. Each save adds one.
    pub version: i64,
    /// The data as it was sent, if [`data`](Self::data) had to round a number.
    #[serde(skip)]
    exact: Option<Box<str>>,
}

impl Deref for Session {
    type Target = SessionData;

    fn deref(&self) -> &SessionData {
        &self.0.data
    }
}

impl PartialEq for Session {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(&**self).finish()
    }
}

impl Serialize for Session {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl SessionData {
    /// The data as a type of the application.
    ///
    /// Data with a number larger than every `f64` is read from its text, so that a field of type
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
            // The type may want an `f64`, or a `Value`.
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

impl Session {
    pub(crate) fn from_row(row: &Row) -> Result<Self, Error> {
        let data = SessionData::from_row(row)?;
        Ok(Self(Arc::new(Shared {
            #[cfg(feature = "cache")]
            facts: None,
            data,
        })))
    }

    #[cfg(feature = "cache")]
    pub(crate) fn cached(data: SessionData, facts: Facts) -> Self {
        let facts = Some(facts);
        Self(Arc::new(Shared { facts, data }))
    }

    #[cfg(feature = "cache")]
    #[inline]
    pub(crate) fn facts(&self) -> Option<&Facts> {
        self.0.facts.as_ref()
    }
}

impl SessionData {
    #[cfg(all(test, feature = "cache"))]
    pub(crate) fn for_tests(last_seen_at: SystemTime, expires_at: Option<SystemTime>) -> Self {
        Self {
            id: Uuid::nil(),
            user_id: None,
            data: Value::Null,
            exact: None,
            ip: None,
            user_agent: None,
            created_at: last_seen_at,
            authenticated_at: None,
            updated_at: last_seen_at,
            last_seen_at,
            expires_at,
            version: 1,
        }
    }

    pub(crate) fn from_row(row: &Row) -> Result<Self, Error> {
        let data = row.try_get::<_, Jsonb<'_>>(2)?.decode()?;
        Ok(Self {
            id: row.try_get(0)?,
            user_id: row.try_get(1)?,
            data: data.value,
            exact: data.exact,
            ip: row.try_get(3)?,
            user_agent: row.try_get(4)?,
            created_at: past_instant(row, 5)?,
            authenticated_at: instant(row, 6)?,
            updated_at: past_instant(row, 7)?,
            last_seen_at: past_instant(row, 8)?,
            expires_at: instant(row, 9)?,
            version: row.try_get(10)?,
        })
    }
}
