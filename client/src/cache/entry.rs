//! A session as the cache holds it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use crate::cache::freshness::ServerMicros;
use crate::cache::row::{CachedRow, Visits};
use crate::client_hints::ClientHints;
use crate::hooks::Visitor;
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
    /// `None`: it has none.
    client_hints: Option<Arc<ClientHints>>,
    expires_at: ServerMicros,
    visits: Visits,
    visit_due_at: ServerMicros,
}

/// Whether a request has to record its visit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Visit {
    /// It does not.
    Known,
    /// The last recorded visit is too long ago.
    Due,
    /// The address or the `User-Agent` is not that of the last recorded visit, or the client hints
    /// are not all among those of earlier ones.
    Moved,
}

impl Entry {
    pub(crate) fn new(row: CachedRow, digest: Digest, generation: u64) -> Self {
        let (session, visits) = (row.session, row.visits);
        let due = session.last_seen_at.checked_add(visits.touch_interval);
        let hints = row.client_hints;
        Self {
            digest,
            generation,
            client_hints: (!hints.is_empty()).then(|| Arc::new(hints)),
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

    /// What a visit is to the session.
    pub(crate) fn visit(&self, visitor: Visitor<'_>, now: ServerMicros) -> Visit {
        let moved = visitor.ip.is_some_and(|ip| !self.has_ip(ip))
            || visitor
                .user_agent
                .is_some_and(|agent| !self.has_user_agent(agent))
            || visitor
                .client_hints
                .is_some_and(|hints| !self.has_client_hints(hints));
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

    fn has_client_hints(&self, hints: &ClientHints) -> bool {
        match self.client_hints.as_deref() {
            Some(known) => known.contains(hints),
            None => hints.is_empty(),
        }
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
