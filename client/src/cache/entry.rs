//! A session as the cache holds it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_postgres::Row;

use super::freshness::ServerMicros;
use crate::wire::{Jsonb, instant, past_instant};
use crate::{Error, Session};

/// SHA-256 of a key.
pub(super) type Digest = [u8; 32];

/// What is known of a session beside itself. Cloned for each load, which costs less than sharing it would.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) session: Arc<Session>,
    pub(super) digest: Digest,
    /// The generation of the cache in which it was read; it is void in any other.
    pub(super) generation: u64,
    expires_at: ServerMicros,
    visits: Visits,
    visit_due_at: ServerMicros,
}

/// How visits of a session are recorded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visits {
    /// The time between two that are.
    grain: Duration,
    user_agent_max_length: usize,
}

/// Whether a request has to record its visit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Visit {
    Known,
    /// Too much time has passed since the last one was recorded.
    Due,
    /// It comes from elsewhere than the last one.
    Moved,
}

impl Entry {
    pub(super) fn new(session: Session, digest: Digest, generation: u64, visits: Visits) -> Self {
        let due = session.last_seen_at.checked_add(visits.grain);
        Self {
            digest,
            generation,
            expires_at: session.expires_at.map_or(ServerMicros::MAX, micros),
            visits,
            visit_due_at: due.map_or(ServerMicros::MAX, micros),
            session: Arc::new(session),
        }
    }

    #[inline]
    pub(super) fn is_alive(&self, now: ServerMicros) -> bool {
        now < self.expires_at
    }

    pub(super) fn visits(&self) -> Visits {
        self.visits
    }

    /// What a visit from there is to this session.
    pub(super) fn visit(
        &self,
        ip: Option<IpAddr>,
        user_agent: Option<&str>,
        now: ServerMicros,
    ) -> Visit {
        let moved = ip.is_some_and(|ip| !self.has_ip(ip))
            || user_agent.is_some_and(|agent| !self.has_user_agent(agent));
        if moved {
            Visit::Moved
        } else if now >= self.visit_due_at {
            Visit::Due
        } else {
            Visit::Known
        }
    }

    /// The same address may come in the form of a dual-stack socket, `::ffff:192.0.2.1`.
    fn has_ip(&self, ip: IpAddr) -> bool {
        self.session
            .ip
            .is_some_and(|known| known.to_canonical() == ip.to_canonical())
    }

    /// The server cuts what it keeps.
    fn has_user_agent(&self, agent: &str) -> bool {
        let Some(known) = self.session.user_agent.as_deref() else {
            return false;
        };
        known == agent
            || (agent.starts_with(known)
                && known.chars().count() == self.visits.user_agent_max_length)
    }
}

/// A session with what a cache needs to know of it, as the server gives it.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) session: Session,
    pub(super) data_bytes: usize,
    pub(super) visits: Visits,
    pub(super) server: Server,
}

/// Which server has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Server {
    /// Tells servers apart.
    pub(super) started_at: SystemTime,
    pub(super) is_standby: bool,
}

macro_rules! cacheable_columns {
    () => {
        "id, user_id, data, ip, user_agent, created_at, authenticated_at, updated_at, \
         last_seen_at, expires_at, version, visit_due_at, user_agent_max_length, \
         server_started_at, is_standby"
    };
}
pub(super) use cacheable_columns;

impl TryFrom<Row> for Read {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let data_bytes = row.try_get::<_, Jsonb<'_>>(2)?.bytes;
        let last_seen_at = past_instant(&row, 8)?;
        // A visit that can't be said to be due at some time is always due.
        let visit_due_at = instant(&row, 11)?.unwrap_or(last_seen_at);
        let visits = Visits {
            grain: visit_due_at
                .duration_since(last_seen_at)
                .unwrap_or_default(),
            user_agent_max_length: row.try_get::<_, i32>(12)?.unsigned_abs() as usize,
        };
        let server = Server {
            started_at: past_instant(&row, 13)?,
            is_standby: row.try_get(14)?,
        };
        Ok(Self {
            session: row.try_into()?,
            data_bytes,
            visits,
            server,
        })
    }
}

pub(super) fn micros(instant: SystemTime) -> ServerMicros {
    match instant.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => ServerMicros::try_from(after.as_micros()).unwrap_or(ServerMicros::MAX),
        Err(before) => {
            ServerMicros::try_from(before.duration().as_micros()).map_or(ServerMicros::MIN, |n| -n)
        }
    }
}
