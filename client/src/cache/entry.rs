//! A session as the cache holds it.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use crate::cache::freshness::ServerMicros;
use crate::session::Session;

/// SHA-256 of a key.
pub(crate) type Digest = [u8; 32];

/// A session and what the cache knows of it. Each load clones it, which costs less than sharing it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) session: Session,
    pub(crate) digest: Digest,
    /// The generation of the cache in which it was read. In any other it is void.
    pub(crate) generation: u64,
    expires_at: ServerMicros,
    visits: Visits,
    visit_due_at: ServerMicros,
}

/// How visits of a session are recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visits {
    /// The time between two visits that are recorded.
    pub(crate) touch_interval: Duration,
    pub(crate) user_agent_max_length: usize,
}

/// Whether a request has to record its visit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Visit {
    /// It does not.
    Known,
    /// The last recorded visit is too long ago.
    Due,
    /// The address or the `User-Agent` is not that of the last recorded visit.
    Moved,
}

impl Entry {
    pub(crate) fn new(session: Session, digest: Digest, generation: u64, visits: Visits) -> Self {
        let due = session.last_seen_at.checked_add(visits.touch_interval);
        Self {
            digest,
            generation,
            expires_at: session.expires_at.map_or(ServerMicros::MAX, micros),
            visits,
            visit_due_at: due.map_or(ServerMicros::MAX, micros),
            session,
        }
    }

    #[inline]
    pub(crate) fn is_alive(&self, now: ServerMicros) -> bool {
        now < self.expires_at
    }

    pub(crate) fn visits(&self) -> Visits {
        self.visits
    }

    /// What a visit with this address and `User-Agent` is to the session.
    pub(crate) fn visit(
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

    /// A dual-stack socket gives the same address as `::ffff:192.0.2.1`.
    fn has_ip(&self, ip: IpAddr) -> bool {
        self.session
            .ip
            .is_some_and(|known| known.to_canonical() == ip.to_canonical())
    }

    /// The server cuts a long header.
    fn has_user_agent(&self, agent: &str) -> bool {
        let Some(known) = self.session.user_agent.as_deref() else {
            return false;
        };
        known == agent
            || (agent.starts_with(known)
                && known.chars().count() == self.visits.user_agent_max_length)
    }
}

pub(crate) fn micros(instant: SystemTime) -> ServerMicros {
    match instant.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => ServerMicros::try_from(after.as_micros()).unwrap_or(ServerMicros::MAX),
        Err(before) => {
            ServerMicros::try_from(before.duration().as_micros()).map_or(ServerMicros::MIN, |n| -n)
        }
    }
}
