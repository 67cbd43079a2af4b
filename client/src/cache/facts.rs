//! What a cache knows of a session. It is kept in one piece of memory with the session, and so does
//! not know what a session is.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::cache::freshness::ServerMicros;
use crate::cache::server_time::instant;
use crate::client_hints::ClientHints;

/// SHA-256 of a key.
pub(crate) type Digest = [u8; 32];

/// What the cache knows of a session. An answer needs all fields but the last. They are in this
/// order in memory.
#[derive(Debug, Clone)]
#[repr(C)]
pub(crate) struct Facts {
    pub(crate) digest: Digest,
    /// The generation of the cache in which it was read. It is void once everything of its station
    /// has been dropped in a later one.
    pub(crate) generation: u64,
    /// As the table has it. The session itself shows also what a pending visit will make of it.
    pub(crate) expires_at: ServerMicros,
    pub(crate) visit_due_at: ServerMicros,
    /// The hash of its `User-Agent`, which is not looked at for a visit with the same one.
    pub(crate) agent_hash: Option<u64>,
    /// `None`: it has none.
    pub(crate) client_hints: Option<Arc<ClientHints>>,
    /// Its address, canonical.
    pub(crate) ip: Option<IpAddr>,
    /// The station of the server that it was read from. [`ELSEWHERE`](super::station::ELSEWHERE)
    /// if the cache hears nothing of that server, and does not keep it.
    pub(crate) station: u8,
    /// The session shows a visit that may not be written yet.
    pub(crate) has_pending_visit: bool,
    pub(crate) visits: Visits,
}

/// How visits of a session are recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visits {
    /// The time between two visits that are recorded.
    pub(crate) touch_interval: Duration,
    pub(crate) user_agent_max_length: usize,
    /// For how long a visit keeps the session alive. `None`: its expiry is fixed.
    pub(crate) idle_timeout: Option<ServerMicros>,
    pub(crate) deadline: ServerMicros,
}

impl Visits {
    /// The part of a `User-Agent` that the server keeps.
    pub(crate) fn kept_part<'a>(&self, user_agent: &'a str) -> &'a str {
        let end = user_agent.char_indices().nth(self.user_agent_max_length);
        &user_agent[..end.map_or(user_agent.len(), |(end, _)| end)]
    }

    /// To when a visit moves the expiry of the session, or `None` if it does not. The server may
    /// compute another one if the clocks of its time zone are changed meanwhile.
    pub(crate) fn expires_at(&self, seen_at: ServerMicros) -> Option<Option<SystemTime>> {
        let expires_at = seen_at.saturating_add(self.idle_timeout?);
        let expires_at = expires_at.min(self.deadline);
        Some((expires_at < ServerMicros::MAX).then(|| instant(expires_at)))
    }
}
