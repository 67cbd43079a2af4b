//! What has happened to sessions.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::call::sent_when_awaited;
use crate::database::{Executor, Parameter};
use crate::error::Error;
use crate::named::named;
use crate::rfc3339;
use crate::store::Store;
use crate::user_id::UserId;
use crate::wire::{integer, interval, past_instant};

/// Something that has happened to a session of a user, as the user sees it on a page of what has
/// happened lately: a row of the SQL type `event_info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UserEvent {
    /// When it happened.
    #[serde(with = "rfc3339")]
    pub at: SystemTime,
    /// What happened.
    pub event: EventKind,
    /// Who revoked the session, if it was revoked.
    pub revoked_by: Option<RevokedBy>,
    /// The public id of the session.
    pub session_id: Uuid,
    /// The address from which the session was last seen.
    pub ip: Option<IpAddr>,
    /// The location of the address, such as `Paris, France`.
    pub location: Option<String>,
    /// The device in one line, such as `iPhone / iOS 17.1 / Safari 17.1`.
    pub device: Option<String>,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
    /// Of a login: whether the user had never logged in from such a device before. `None`: that
    /// cannot be told.
    pub is_new_device: Option<bool>,
    /// Of a login: whether the user had never logged in from this city or country before. `None`:
    /// that cannot be told.
    pub is_new_place: Option<bool>,
}

/// What has happened to a session. It serializes as [its name](Self::as_str).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// The user logged in.
    Login,
    /// The session got a new key.
    Rotated,
    /// The user logged out.
    Logout,
    /// The session was revoked: [`UserEvent::revoked_by`] says by whom.
    Revoked,
    /// The session expired, and was purged.
    Expired,
    /// The session was brought along from another store.
    Imported,
    /// The session was deleted by other means, such as a cascade from the table of users.
    Deleted,
    /// Something that only a later version of the extension knows.
    Other,
}

named!(EventKind {
    Login = "login",
    Rotated = "rotated",
    Logout = "logout",
    Revoked = "revoked",
    Expired = "expired",
    Imported = "imported",
    Deleted = "deleted",
    Other = "other",
});

/// Who has revoked a session. It serializes as [its name](Self::as_str).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevokedBy {
    /// The user, from another session.
    User,
    /// An administrator.
    Administrator,
    /// A login of the user with [`max_sessions`](crate::Login::max_sessions).
    Limit,
}

named!(RevokedBy {
    User = "user",
    Administrator = "administrator",
    Limit = "limit",
});

impl UserEvent {
    fn from_row(row: &Row) -> Result<Self, Error> {
        let revoked_by: Option<&str> = row.try_get(2)?;
        Ok(Self {
            at: past_instant(row, 0)?,
            event: EventKind::from_name(row.try_get(1)?).unwrap_or(EventKind::Other),
            revoked_by: revoked_by.and_then(RevokedBy::from_name),
            session_id: row.try_get(3)?,
            ip: row.try_get(4)?,
            location: row.try_get(5)?,
            device: row.try_get(6)?,
            user_agent: row.try_get(7)?,
            is_new_device: row.try_get(8)?,
            is_new_place: row.try_get(9)?,
        })
    }
}

/// The arguments of [`Store::create_event_table`]. Awaiting it sends the call.
#[must_use = "a call is sent when it is awaited"]
pub struct CreateEventTable<'a, E> {
    store: &'a Store<E>,
    retention: Option<Duration>,
}

/// The arguments of [`Store::user_events`]. Awaiting it sends the call.
#[must_use = "a call is sent when it is awaited"]
pub struct UserEvents<'a, E> {
    store: &'a Store<E>,
    user_id: UserId,
    max_rows: Option<u32>,
}

impl<E: Executor> Store<E> {
    /// Creates the table of events, in which the database then records logins, rotations and ends
    /// of sessions: for a migration.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if the retention is zero; [`Error::Database`] if the table exists
    /// or the session table does not.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// let year = Duration::from_secs(365 * 24 * 3600);
    /// store.create_event_table().retention(year).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn create_event_table(&self) -> CreateEventTable<'_, E> {
        CreateEventTable {
            store: self,
            retention: None,
        }
    }

    /// What has happened to the sessions of a user, latest first, for the page of their account.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if `max_rows` is zero or the column cannot hold the user id;
    /// [`Error::Database`] if there is no table of events.
    ///
    /// ```
    /// use qsessions::EventKind;
    ///
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// for event in store.user_events(42).max_rows(20).await? {
    ///     if event.event == EventKind::Login && event.is_new_place == Some(true) {
    ///         println!("a login from {:?}, where you had never been", event.location);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn user_events(&self, user_id: impl Into<UserId>) -> UserEvents<'_, E> {
        UserEvents {
            store: self,
            user_id: user_id.into(),
            max_rows: None,
        }
    }
}

impl<E> CreateEventTable<'_, E> {
    /// How long events are kept: by default 180 days.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = Some(retention);
        self
    }
}

impl<E> UserEvents<'_, E> {
    /// The number of events: by default at most 50.
    pub fn max_rows(mut self, max_rows: u32) -> Self {
        self.max_rows = Some(max_rows);
        self
    }
}

impl<E: Executor> CreateEventTable<'_, E> {
    async fn send(self) -> Result<(), Error> {
        let database = &self.store.database;
        match interval("retention", self.retention)? {
            None => {
                database
                    .run("SELECT qsessions.create_event_table()", &[])
                    .await
            }
            Some(retention) => {
                let sql = "SELECT qsessions.create_event_table(retention => $1::interval)";
                database.run(sql, &[(&retention, Type::INTERVAL)]).await
            }
        }
    }
}

impl<E: Executor> UserEvents<'_, E> {
    async fn send(self) -> Result<Vec<UserEvent>, Error> {
        let user_id = self.user_id.as_str();
        let max_rows = integer("max_rows", self.max_rows)?;
        let mut parameters: Vec<Parameter<'_>> = vec![(&user_id, Type::TEXT)];
        let limit = match &max_rows {
            None => "",
            Some(rows) => {
                parameters.push((rows, Type::INT4));
                ", max_rows => $2::integer"
            }
        };
        let sql = format!(
            "SELECT at, event, revoked_by, session_id, ip, location, device, user_agent, \
             is_new_device, is_new_place FROM qsessions.user_events(user_id => $1::text{limit})"
        );
        let database = &self.store.database;
        database.rows(&sql, &parameters, UserEvent::from_row).await
    }
}

sent_when_awaited!(CreateEventTable -> ());
sent_when_awaited!(UserEvents -> Vec<UserEvent>);
