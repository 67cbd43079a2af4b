//! A session as the application works with it.

use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use tokio_postgres::Row;
use uuid::Uuid;

#[cfg(feature = "cache")]
use crate::cache::facts::Facts;
use crate::data::{Data, DataColumn};
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

/// In one piece of memory, of which an answer from a cache touches the beginning, and a look at a
/// member what follows.
#[repr(C)]
struct Shared {
    /// What a cache knows of the session. `None`: no cache has read it.
    #[cfg(feature = "cache")]
    facts: Option<Facts>,
    data: SessionData,
}

/// The columns of a [`Session`]: a row of the SQL type `session_data`. The data is in the field
/// [`data`](DataColumn::data).
#[derive(Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SessionData {
    /// The public id.
    pub id: Uuid,
    /// The user that the session belongs to. `None`: it is anonymous.
    pub user_id: Option<String>,
    /// [`data`](DataColumn::data), as the server has sent it.
    #[serde(rename = "data")]
    column: Data,
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
}

impl Deref for Session {
    type Target = SessionData;

    fn deref(&self) -> &SessionData {
        &self.0.data
    }
}

/// The field `data`.
impl Deref for SessionData {
    type Target = DataColumn;

    fn deref(&self) -> &DataColumn {
        self.column.column()
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

impl fmt::Debug for SessionData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionData")
            .field("id", &self.id)
            .field("user_id", &self.user_id)
            .field("data", &self.column)
            .field("ip", &self.ip)
            .field("user_agent", &self.user_agent)
            .field("created_at", &self.created_at)
            .field("authenticated_at", &self.authenticated_at)
            .field("updated_at", &self.updated_at)
            .field("last_seen_at", &self.last_seen_at)
            .field("expires_at", &self.expires_at)
            .field("version", &self.version)
            .finish()
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
    /// It is read from the text that PostgreSQL has sent, so that a field of type
    /// [`RawValue`](serde_json::value::RawValue) has all the digits of a number.
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
        self.column.read_as()
    }

    /// A member of the data, if that is an object and has one of this name.
    ///
    /// It reads the text of this member only, unless the data is [unusual](DataColumn).
    ///
    /// # Errors
    ///
    /// [`Error::Data`] if the member is not of that type.
    ///
    /// ```
    /// # fn example(session: qsessions::Session) -> Result<(), qsessions::Error> {
    /// let theme: Option<String> = session.member("theme")?;
    /// println!("{}", theme.as_deref().unwrap_or("light"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn member<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        self.column.member(name)
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
    /// The size of the data's text in bytes.
    #[cfg(feature = "cache")]
    pub(crate) fn data_bytes(&self) -> usize {
        self.column.bytes()
    }

    #[cfg(all(test, feature = "cache"))]
    pub(crate) fn for_tests(last_seen_at: SystemTime, expires_at: Option<SystemTime>) -> Self {
        Self {
            id: Uuid::nil(),
            user_id: None,
            column: Data::for_tests("{}"),
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
        Ok(Self {
            id: row.try_get(0)?,
            user_id: row.try_get(1)?,
            column: Data::read(row.try_get::<_, Jsonb<'_>>(2)?)?,
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
