//! One session, and what has happened to it or to a user.

use crate::database::{Rights, moment};
use crate::problem::Problem;
use qsessions::Uuid;
use qsessions::deadpool_postgres::Transaction;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// How many characters of a session's data are shown.
const LONGEST_DATA: i32 = 50_000;
/// How many events are shown.
const MOST_EVENTS: i64 = 100;

pub(crate) struct Session {
    pub(crate) user: Option<String>,
    pub(crate) data: String,
    pub(crate) data_is_cut: bool,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) location: Result<Option<String>, Problem>,
    pub(crate) device: Option<String>,
    pub(crate) user_agent: Option<String>,
    pub(crate) client_hints: Option<String>,
    pub(crate) created_at: Option<SystemTime>,
    pub(crate) authenticated_at: Option<SystemTime>,
    pub(crate) updated_at: Option<SystemTime>,
    pub(crate) last_seen_at: Option<SystemTime>,
    pub(crate) expires_at: Option<SystemTime>,
    pub(crate) deadline: Option<SystemTime>,
    pub(crate) idle_timeout: Option<String>,
    pub(crate) version: i64,
    pub(crate) is_active: bool,
}

/// The session, or `None`. The server writes the data as text, so that no data is nested too deep
/// for a page.
pub(crate) async fn read(
    transaction: &Transaction<'_>,
    id: Uuid,
) -> Result<Option<Session>, Problem> {
    let rows = transaction
        .query_typed(
            "SELECT s.user_id::text, left(d.text, $2::integer), length(d.text) > $2::integer, s.ip,
                    qsessions.device(s.user_agent, s.client_hints), s.user_agent,
                    jsonb_pretty(s.client_hints), extract(epoch FROM s.created_at)::float8,
                    extract(epoch FROM s.authenticated_at)::float8, extract(epoch FROM s.updated_at)::float8,
                    extract(epoch FROM s.last_seen_at)::float8, extract(epoch FROM s.expires_at)::float8,
                    extract(epoch FROM s.deadline)::float8, s.idle_timeout::text, s.version,
                    s.expires_at > now(), has_function_privilege('qsessions.location(inet, text)', 'EXECUTE')
             FROM qsessions.session AS s CROSS JOIN LATERAL jsonb_pretty(s.data) AS d (text)
             WHERE s.id = $1::uuid",
            &[(&id, Type::UUID), (&LONGEST_DATA, Type::INT4)],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let ip: Option<IpAddr> = row.try_get(3)?;
    let location = if row.try_get(16)? {
        let rows = transaction
            .query_typed("SELECT qsessions.location($1::inet)", &[(&ip, Type::INET)])
            .await?;
        Ok(rows
            .first()
            .map(|row| row.try_get(0))
            .transpose()?
            .flatten())
    } else {
        Err(Problem::locations_denied())
    };
    Ok(Some(Session {
        user: row.try_get(0)?,
        data: row.try_get(1)?,
        data_is_cut: row.try_get(2)?,
        ip,
        location,
        device: row.try_get(4)?,
        user_agent: row.try_get(5)?,
        client_hints: row.try_get(6)?,
        created_at: moment(row, 7)?,
        authenticated_at: moment(row, 8)?,
        updated_at: moment(row, 9)?,
        last_seen_at: moment(row, 10)?,
        expires_at: moment(row, 11)?,
        deadline: moment(row, 12)?,
        idle_timeout: row.try_get(13)?,
        version: row.try_get(14)?,
        is_active: row.try_get(15)?,
    }))
}

pub(crate) struct Event {
    pub(crate) at: Option<SystemTime>,
    pub(crate) event: String,
    pub(crate) revoked_by: Option<String>,
    pub(crate) session: Uuid,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) location: Option<String>,
    pub(crate) device: Option<String>,
    pub(crate) is_new_device: bool,
    pub(crate) is_new_place: bool,
}

/// Whose events are read.
pub(crate) enum Whose<'a> {
    /// Of a session. With its user the index finds them, and its age leaves out older partitions.
    Session {
        id: Uuid,
        user: Option<&'a str>,
        since: Option<SystemTime>,
    },
    User(&'a str),
}

/// The events, latest first.
pub(crate) async fn events(
    transaction: &Transaction<'_>,
    rights: Rights,
    whose: Whose<'_>,
) -> Result<Vec<Event>, Problem> {
    if !rights.has_events {
        return Err(Problem::no_events());
    }
    if !rights.can_read_events {
        return Err(Problem::events_denied());
    }
    let (id, user, since) = match whose {
        Whose::Session { id, user, since } => (Some(id), user, since),
        Whose::User(user) => (None, Some(user), None),
    };
    // A clock of the server may have been set back since.
    let since = since.and_then(|since| since.checked_sub(Duration::from_secs(60)));
    let mut filters = "true".to_owned();
    if id.is_some() {
        filters += " AND e.session_id = $1::uuid";
    }
    if user.is_some() {
        filters += " AND e.user_id = $2::text::qsessions.user_key::text";
    }
    if since.is_some() {
        filters += " AND e.at >= $3::timestamptz";
    }
    let rows = transaction
        .query_typed(
            &format!(
                "SELECT extract(epoch FROM p.at)::float8, p.event, p.revoked_by, p.session_id, p.ip,
                        CASE WHEN has_function_privilege('qsessions.location(inet, text)', 'EXECUTE')
                             THEN qsessions.location(p.ip) END,
                        qsessions.device(p.user_agent, p.client_hints),
                        coalesce(p.is_new_device, false), coalesce(p.is_new_place, false)
                 FROM (SELECT e.* FROM qsessions.session_event AS e
                       WHERE {filters}
                       ORDER BY e.at DESC LIMIT $4::bigint) AS p
                 ORDER BY p.at DESC"
            ),
            &[
                (&id, Type::UUID),
                (&user, Type::TEXT),
                (&since, Type::TIMESTAMPTZ),
                (&MOST_EVENTS, Type::INT8),
            ],
        )
        .await?;
    rows.iter().map(Event::from_row).collect()
}

impl Event {
    fn from_row(row: &Row) -> Result<Self, Problem> {
        Ok(Self {
            at: moment(row, 0)?,
            event: row.try_get(1)?,
            revoked_by: row.try_get(2)?,
            session: row.try_get(3)?,
            ip: row.try_get(4)?,
            location: row.try_get(5)?,
            device: row.try_get(6)?,
            is_new_device: row.try_get(7)?,
            is_new_place: row.try_get(8)?,
        })
    }

    /// What has happened, for a person.
    pub(crate) fn words(&self) -> String {
        match (self.event.as_str(), self.revoked_by.as_deref()) {
            ("login", _) => "Signed in".to_owned(),
            ("logout", _) => "Signed out".to_owned(),
            ("rotated", _) => "Key replaced".to_owned(),
            ("expired", _) => "Expired".to_owned(),
            ("imported", _) => "Imported".to_owned(),
            ("deleted", _) => "Deleted".to_owned(),
            ("revoked", Some("user")) => "Ended by the user".to_owned(),
            ("revoked", Some("administrator")) => "Ended by an administrator".to_owned(),
            ("revoked", Some("limit")) => "Ended by the limit of sessions".to_owned(),
            (event, _) => event.to_owned(),
        }
    }
}

/// When an id was made, if it says so.
pub(crate) fn id_time(id: Uuid) -> Option<SystemTime> {
    if id.get_version_num() != 7 {
        return None;
    }
    let milliseconds = id.as_u128() >> 80;
    Some(SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(milliseconds).ok()?))
}
