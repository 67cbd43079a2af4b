//! Sessions as users and administrators see them.

use std::net::IpAddr;
use std::time::SystemTime;

use ipnet::IpNet;
use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::call::sent_when_awaited;
use crate::database::{Executor, Parameter};
use crate::error::Error;
use crate::key::Key;
use crate::rfc3339;
use crate::session::{Session, session_columns};
use crate::store::Store;
use crate::user_id::UserId;
use crate::wire::{instant, integer, past_instant};

/// A session as a user sees it on the page of their devices, or an administrator in a list: a row
/// of the SQL type `session_info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The public id, for [`Store::revoke_for_user`] and [`Store::revoke`].
    pub id: Uuid,
    /// The user that the session belongs to. `None`: it is anonymous.
    pub user_id: Option<String>,
    /// The address of the last recorded visit.
    pub ip: Option<IpAddr>,
    /// The location of the address, such as `Paris, France`, if the server has a GeoIP database
    /// that knows it.
    pub location: Option<String>,
    /// The device in one line, such as `iPhone / iOS 17.1 / Safari 17.1`.
    pub device: Option<String>,
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
    /// Whether the session is alive.
    pub is_active: bool,
    /// Whether it is the session of the key that was passed.
    pub is_current: bool,
}

macro_rules! session_info_columns {
    () => {
        "id, user_id, ip, location, device, user_agent, created_at, \
         authenticated_at, updated_at, last_seen_at, expires_at, is_active, is_current"
    };
}

impl SessionInfo {
    fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.try_get(0)?,
            user_id: row.try_get(1)?,
            ip: row.try_get(2)?,
            location: row.try_get(3)?,
            device: row.try_get(4)?,
            user_agent: row.try_get(5)?,
            created_at: past_instant(row, 6)?,
            authenticated_at: instant(row, 7)?,
            updated_at: past_instant(row, 8)?,
            last_seen_at: past_instant(row, 9)?,
            expires_at: instant(row, 10)?,
            is_active: row.try_get(11)?,
            is_current: row.try_get(12)?,
        })
    }
}

/// The arguments of [`Store::user_sessions`]. Awaiting it sends the call.
#[must_use = "a call is sent when it is awaited"]
pub struct UserSessions<'a, E> {
    store: &'a Store<E>,
    user_id: UserId,
    current: Option<&'a Key>,
    max_rows: Option<u32>,
}

/// The arguments of [`Store::list_sessions`]. Awaiting it sends the call.
#[must_use = "a call is sent when it is awaited"]
pub struct ListSessions<'a, E> {
    store: &'a Store<E>,
    user_id: Option<UserId>,
    active: Option<bool>,
    network: Option<IpNet>,
    after: Option<Uuid>,
    max_rows: Option<u32>,
    device: Option<&'a str>,
    country: Option<&'a str>,
    last_seen_after: Option<SystemTime>,
}

impl<E: Executor> Store<E> {
    /// The live sessions of a user, last seen first, for the page of their devices.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, key: qsessions::Key) -> Result<(), qsessions::Error> {
    /// for session in store.user_sessions(42).current(&key).await? {
    ///     println!(
    ///         "{} in {}{}",
    ///         session.device.as_deref().unwrap_or("an unknown device"),
    ///         session.location.as_deref().unwrap_or("an unknown location"),
    ///         if session.is_current { " (this device)" } else { "" },
    ///     );
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn user_sessions(&self, user_id: impl Into<UserId>) -> UserSessions<'_, E> {
        UserSessions {
            store: self,
            user_id: user_id.into(),
            current: None,
            max_rows: None,
        }
    }

    /// A page of sessions for administrators, newest first. Without arguments it lists all
    /// sessions.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if `max_rows` is zero, the country is no code, or the column cannot
    /// hold the user id.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), Box<dyn std::error::Error>> {
    /// let network: ipnet::IpNet = "192.0.2.0/24".parse()?;
    /// let mut last = None;
    /// loop {
    ///     let page = store.list_sessions().active(true).network(network).after(last).await?;
    ///     let Some(session) = page.last() else { break };
    ///     last = Some(session.id);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn list_sessions(&self) -> ListSessions<'_, E> {
        ListSessions {
            store: self,
            user_id: None,
            active: None,
            network: None,
            after: None,
            max_rows: None,
            device: None,
            country: None,
            last_seen_after: None,
        }
    }

    /// A session by its public id, alive or not, or `None`: for administrators.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, id: qsessions::Uuid) -> Result<(), qsessions::Error> {
    /// if let Some(session) = store.get_session(id).await? {
    ///     println!("{}", session.data);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_session(&self, id: Uuid) -> Result<Option<Session>, Error> {
        self.database
            .optional_row(
                concat!(
                    "SELECT ",
                    session_columns!(),
                    " FROM qsessions.get_session(id => $1::uuid)"
                ),
                &[(&id, Type::UUID)],
                Session::from_row,
            )
            .await
    }
}

impl<'a, E> UserSessions<'a, E> {
    /// Marks the session of this key with [`is_current`](SessionInfo::is_current).
    pub fn current(mut self, key: impl Into<Option<&'a Key>>) -> Self {
        self.current = key.into();
        self
    }

    /// At most so many sessions: by default all.
    pub fn max_rows(mut self, max_rows: impl Into<Option<u32>>) -> Self {
        self.max_rows = max_rows.into();
        self
    }
}

impl<'a, E> ListSessions<'a, E> {
    /// Only the sessions of a user.
    pub fn user(mut self, user_id: impl Into<UserId>) -> Self {
        self.user_id = Some(user_id.into());
        self
    }

    /// Only live sessions, or only expired ones that were not purged yet.
    pub fn active(mut self, active: impl Into<Option<bool>>) -> Self {
        self.active = active.into();
        self
    }

    /// Only sessions that were last seen from this address or network.
    pub fn network(mut self, network: impl Into<IpNet>) -> Self {
        self.network = Some(network.into());
        self
    }

    /// The page that follows the one which ends with this id.
    pub fn after(mut self, id: impl Into<Option<Uuid>>) -> Self {
        self.after = id.into();
        self
    }

    /// The number of rows of a page: by default 100.
    pub fn max_rows(mut self, max_rows: u32) -> Self {
        self.max_rows = Some(max_rows);
        self
    }

    /// Only sessions whose [`device`](SessionInfo::device) has this part, in upper or lower case,
    /// such as `firefox`.
    pub fn device(mut self, part: impl Into<Option<&'a str>>) -> Self {
        self.device = part.into();
        self
    }

    /// Only sessions that were last seen from this country: its code of ISO 3166-1, such as `DE`.
    pub fn country(mut self, code: impl Into<Option<&'a str>>) -> Self {
        self.country = code.into();
        self
    }

    /// Only sessions that were last seen after this instant.
    pub fn last_seen_after(mut self, instant: impl Into<Option<SystemTime>>) -> Self {
        self.last_seen_after = instant.into();
        self
    }
}

impl<E: Executor> UserSessions<'_, E> {
    async fn send(self) -> Result<Vec<SessionInfo>, Error> {
        let max_rows = integer("max_rows", self.max_rows)?;
        self.store
            .database
            .rows(
                concat!(
                    "SELECT ",
                    session_info_columns!(),
                    " FROM qsessions.user_sessions(user_id => $1::text, current_key => $2::text, \
                     max_rows => $3::integer)"
                ),
                &[
                    (&self.user_id.as_str(), Type::TEXT),
                    (&self.current.map(Key::argument), Type::TEXT),
                    (&max_rows, Type::INT4),
                ],
                SessionInfo::from_row,
            )
            .await
    }
}

impl<E: Executor> ListSessions<'_, E> {
    async fn send(self) -> Result<Vec<SessionInfo>, Error> {
        // A null would mean all rows, and not the default of the function.
        const DEFAULT_PAGE: &str = concat!(
            "SELECT ",
            session_info_columns!(),
            " FROM qsessions.list_sessions(user_id => $1::text, active => $2::boolean, \
             ip => $3::text::inet, after => $4::uuid, device => $5::text, country => $6::text, \
             last_seen_after => $7::timestamptz)"
        );
        const PAGE: &str = concat!(
            "SELECT ",
            session_info_columns!(),
            " FROM qsessions.list_sessions(user_id => $1::text, active => $2::boolean, \
             ip => $3::text::inet, after => $4::uuid, device => $5::text, country => $6::text, \
             last_seen_after => $7::timestamptz, max_rows => $8::integer)"
        );
        let user_id = self.user_id.as_ref().map(UserId::as_str);
        let network = self.network.map(|network| network.to_string());
        let max_rows = integer("max_rows", self.max_rows)?;
        let mut parameters: Vec<Parameter<'_>> = vec![
            (&user_id, Type::TEXT),
            (&self.active, Type::BOOL),
            (&network, Type::TEXT),
            (&self.after, Type::UUID),
            (&self.device, Type::TEXT),
            (&self.country, Type::TEXT),
            (&self.last_seen_after, Type::TIMESTAMPTZ),
        ];
        let sql = match &max_rows {
            None => DEFAULT_PAGE,
            Some(rows) => {
                parameters.push((rows, Type::INT4));
                PAGE
            }
        };
        let database = &self.store.database;
        database.rows(sql, &parameters, SessionInfo::from_row).await
    }
}

sent_when_awaited!(UserSessions -> Vec<SessionInfo>);
sent_when_awaited!(ListSessions -> Vec<SessionInfo>);
