//! Sessions with what a cache needs to know of them, as the server sends them.

use tokio_postgres::Row;

use crate::cache::facts::Visits;
use crate::cache::freshness::ServerMicros;
use crate::cache::link::Origin;
use crate::cache::server_time::micros;
use crate::client_hints::ClientHints;
use crate::error::Error;
use crate::session::{SessionData, session_columns};
use crate::wire::instant;

/// A session that was read, and where from.
#[derive(Debug)]
pub(crate) struct CachedRow {
    pub(crate) session: SessionData,
    pub(crate) visits: Visits,
    pub(crate) client_hints: ClientHints,
    /// The database that has the row. `None`: another session has had the key.
    pub(crate) origin: Option<Origin>,
    pub(crate) is_standby: bool,
    /// The key was rotated, and opens the session for the grace that is left.
    pub(crate) is_former_key: bool,
}

impl CachedRow {
    pub(crate) const LOAD: &str = concat!(
        "SELECT ",
        session_columns!(),
        ", server_started_at, pg_catalog.current_database(), visit_due_at, \
         user_agent_max_length, is_standby, client_hints, is_former_key, \
         pg_catalog.date_part('epoch', pg_catalog.now() OPERATOR(pg_catalog.+) idle_timeout \
         OPERATOR(pg_catalog.-) pg_catalog.now()), deadline \
         FROM qsessions.load_for_cache(key => $1::text)"
    );

    pub(crate) fn from_load(row: &Row) -> Result<Self, Error> {
        let session = SessionData::from_row(row)?;
        let is_former_key = row.try_get(17)?;
        // Without a time at which a visit is due, each visit is.
        let visit_due_at = instant(row, 13)?.unwrap_or(session.last_seen_at);
        let touch_interval = visit_due_at.duration_since(session.last_seen_at);
        let idle_timeout = row.try_get::<_, Option<f64>>(18)?;
        let deadline = instant(row, 19)?;
        Ok(Self {
            visits: Visits {
                touch_interval: touch_interval.unwrap_or_default(),
                user_agent_max_length: row.try_get::<_, i32>(14)?.unsigned_abs() as usize,
                idle_timeout: idle_timeout.map(|seconds| (seconds * 1e6).round() as ServerMicros),
                deadline: deadline.map_or(ServerMicros::MAX, micros),
            },
            origin: origin(row)?,
            client_hints: ClientHints::from_column(row, 16),
            is_standby: row.try_get(15)?,
            is_former_key,
            session,
        })
    }

    /// What the visit itself does not return is read beside it, and so as it was before the
    /// statement.
    ///
    /// The session may have been cached under a key that was rotated in the meantime and that
    /// still opens it. If the rotation was committed before the statement, this says so. If it was
    /// committed later, its notification is still to come.
    pub(crate) const RESUME: &str = concat!(
        "SELECT ",
        session_columns!(),
        ", server_started_at, pg_catalog.current_database(), kept_hints, is_former_key \
         FROM qsessions.resume_session(key => $1::text, ip => $2::inet, user_agent => $3::text, \
         client_hints => $4::jsonb) \
         LEFT JOIN LATERAL (SELECT l.server_started_at, l.client_hints AS kept_hints, l.is_former_key \
         FROM qsessions.load_for_cache(key => $1::text) AS l) AS before ON true"
    );

    /// The session is cached already, so that it is known how its visits are recorded.
    pub(crate) fn from_resume(row: &Row, visits: Visits) -> Result<Self, Error> {
        Ok(Self {
            session: SessionData::from_row(row)?,
            visits,
            origin: origin(row)?,
            // A standby records no visit, and is told apart by when it was started.
            is_standby: false,
            client_hints: ClientHints::from_column(row, 13),
            is_former_key: row.try_get::<_, Option<bool>>(14)?.unwrap_or(true),
        })
    }
}

fn origin(row: &Row) -> Result<Option<Origin>, Error> {
    let Some(started_at) = instant(row, 11)? else {
        return Ok(None);
    };
    Ok(Some(Origin {
        started_at,
        database: row.try_get(12)?,
    }))
}
