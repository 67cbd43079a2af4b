//! A session as the cache holds it.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use foldhash::quality::RandomState;

use crate::cache::facts::{Digest, Facts};
use crate::cache::freshness::ServerMicros;
use crate::cache::row::CachedRow;
use crate::cache::server_time::instant;
pub(crate) use crate::cache::server_time::micros;
use crate::client_hints::ClientHints;
use crate::hooks::Visitor;
use crate::session::{Session, SessionData};

/// This long before it expires, the visits of a session are written at once: a visit that is
/// pending does not keep it alive.
const WRITE_MARGIN: ServerMicros = 5_000_000;

/// A visit that is pending stands for those of the next second, also if the server would record
/// each of them.
const SHORTEST_TOUCH_INTERVAL: ServerMicros = 1_000_000;

/// A session and what the cache knows of it. Clones are cheap.
#[derive(Debug, Clone)]
pub(crate) struct Entry(Session);

/// What a session is after a visit was written.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) last_seen_at: SystemTime,
    pub(crate) expires_at: Option<SystemTime>,
    pub(crate) visit_due_at: SystemTime,
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

impl Deref for Entry {
    type Target = Facts;

    #[inline]
    fn deref(&self) -> &Facts {
        let facts = self.0.facts();
        facts.expect("an entry is made with them")
    }
}

impl Entry {
    pub(crate) fn new(row: CachedRow, digest: Digest, generation: u64, station: u8) -> Self {
        let (session, visits) = (row.session, row.visits);
        let due = session.last_seen_at.checked_add(visits.touch_interval);
        let hints = row.client_hints;
        let facts = Facts {
            digest,
            generation,
            station,
            client_hints: (!hints.is_empty()).then(|| Arc::new(hints)),
            expires_at: session.expires_at.map_or(ServerMicros::MAX, micros),
            visits,
            visit_due_at: due.map_or(ServerMicros::MAX, micros),
            has_pending_visit: false,
            agent_hash: None,
            ip: None,
        };
        Self::of(session, facts)
    }

    fn of(session: SessionData, mut facts: Facts) -> Self {
        facts.ip = session.ip.map(|ip| ip.to_canonical());
        facts.agent_hash = session.user_agent.as_deref().map(hash_agent);
        Self(Session::cached(session, facts))
    }

    #[inline]
    pub(crate) fn into_session(self) -> Session {
        self.0
    }

    /// The entry with what a visit shows. When the session expires is still what the table says.
    pub(crate) fn after_visit(&self, visitor: Visitor<'_>, seen_at: ServerMicros) -> Self {
        let visits = self.visits;
        let agent = visitor.user_agent.map(|agent| visits.kept_part(agent));
        let mut session = SessionData::clone(&self.0);
        let other_browser = agent.is_some_and(|agent| session.user_agent.as_deref() != Some(agent));
        let seen_hints = visitor.client_hints.filter(|hints| !hints.is_empty());
        let client_hints = match (seen_hints, &self.client_hints) {
            (None, _) if other_browser => None,
            (None, known) => known.clone(),
            (Some(seen), Some(known)) if !other_browser => Some(Arc::new(known.with(seen))),
            (Some(seen), _) => Some(Arc::new(seen.clone())),
        };
        if let Some(ip) = visitor.ip {
            session.ip = Some(ip.to_canonical());
        }
        if let Some(agent) = agent {
            session.user_agent = Some(agent.to_owned());
        }
        session.last_seen_at = session.last_seen_at.max(instant(seen_at));
        session.expires_at = latest(session.expires_at, visits.expires_at(seen_at));
        let touch_interval = visits.touch_interval.as_micros();
        let touch_interval = ServerMicros::try_from(touch_interval).unwrap_or(ServerMicros::MAX);
        let facts = Facts {
            client_hints,
            visit_due_at: seen_at.saturating_add(touch_interval.max(SHORTEST_TOUCH_INTERVAL)),
            has_pending_visit: true,
            ..Facts::clone(self)
        };
        Self::of(session, facts)
    }

    /// The entry after a visit was written, unless that changes nothing. If the visit is not the
    /// last one, another is still pending.
    pub(crate) fn after_write(&self, recorded: &Recorded, is_last: bool) -> Option<Self> {
        // An earlier expiry is announced, so that of two the later one was read later.
        let expires_at = recorded.expires_at.map_or(ServerMicros::MAX, micros);
        let expires_at = self.expires_at.max(expires_at);
        if !is_last && expires_at == self.expires_at {
            return None;
        }
        let mut session = SessionData::clone(&self.0);
        let mut facts = Facts {
            expires_at,
            ..Facts::clone(self)
        };
        if is_last {
            facts.has_pending_visit = false;
            facts.visit_due_at = micros(recorded.visit_due_at);
            session.last_seen_at = recorded.last_seen_at;
            session.expires_at = (expires_at < ServerMicros::MAX).then(|| instant(expires_at));
        }
        Some(Self::of(session, facts))
    }

    /// Whether a visit must be written at once, so that it keeps the session alive.
    pub(crate) fn is_near_expiry(&self, now: ServerMicros) -> bool {
        self.expires_at.saturating_sub(WRITE_MARGIN) <= now
    }

    #[inline]
    pub(crate) fn is_alive(&self, now: ServerMicros) -> bool {
        now < self.expires_at
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
        } else if now >= self.visit_due_at || self.has_pending_visit && self.is_near_expiry(now) {
            Visit::Due
        } else {
            Visit::Known
        }
    }

    /// A dual-stack socket gives the same address as `::ffff:192.0.2.1`.
    fn has_ip(&self, ip: IpAddr) -> bool {
        self.ip == Some(ip.to_canonical())
    }

    fn has_client_hints(&self, hints: &ClientHints) -> bool {
        match self.client_hints.as_deref() {
            Some(known) => known.contains(hints),
            None => hints.is_empty(),
        }
    }

    /// The server cuts a long header.
    fn has_user_agent(&self, agent: &str) -> bool {
        if self.agent_hash == Some(hash_agent(agent)) {
            return true;
        }
        let known = self.0.user_agent.as_deref();
        known.is_some_and(|known| {
            agent.starts_with(known) && known.chars().count() == self.visits.user_agent_max_length
        })
    }
}

/// Two browsers have the same hash once in 2^64 times. Visitors gain nothing by it: they can send
/// the `User-Agent` of any browser.
fn hash_agent(agent: &str) -> u64 {
    static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);
    HASHER.hash_one(agent)
}

/// The later of two expiries. `None`: never.
fn latest(one: Option<SystemTime>, other: Option<Option<SystemTime>>) -> Option<SystemTime> {
    match other {
        Some(other) => one.zip(other).map(|(one, other)| one.max(other)),
        None => one,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::facts::Visits;
    use std::time::Duration;

    const SECOND: ServerMicros = 1_000_000;
    const HOUR: ServerMicros = 3600 * SECOND;

    /// A session that idles for an hour, seen last at zero.
    fn entry() -> Entry {
        entry_with(Duration::from_secs(60))
    }

    fn entry_with(touch_interval: Duration) -> Entry {
        let session = SessionData::for_tests(instant(0), Some(instant(HOUR)));
        let facts = Facts {
            digest: [0; 32],
            generation: 0,
            station: 0,
            client_hints: None,
            expires_at: HOUR,
            visits: Visits {
                touch_interval,
                user_agent_max_length: 5,
                idle_timeout: Some(HOUR),
                deadline: 2 * HOUR,
            },
            visit_due_at: 60 * SECOND,
            has_pending_visit: false,
            agent_hash: None,
            ip: None,
        };
        Entry::of(session, facts)
    }

    fn from_browser(user_agent: &str) -> Visitor<'_> {
        Visitor {
            user_agent: Some(user_agent),
            ..Visitor::default()
        }
    }

    #[test]
    fn a_pending_visit_is_shown_and_keeps_no_session_alive() {
        let entry = entry().after_visit(Visitor::default(), 100 * SECOND);
        assert_eq!(entry.0.last_seen_at, instant(100 * SECOND));
        assert_eq!(entry.0.expires_at, Some(instant(HOUR + 100 * SECOND)));
        assert!(entry.is_alive(HOUR - 1) && !entry.is_alive(HOUR));
        // Not past the deadline.
        let entry = entry.after_visit(Visitor::default(), HOUR + HOUR / 2);
        assert_eq!(entry.0.expires_at, Some(instant(2 * HOUR)));
    }

    #[test]
    fn a_pending_visit_stands_for_those_that_follow_until_the_session_is_about_to_expire() {
        let known = |entry: &Entry, at| entry.visit(Visitor::default(), at) == Visit::Known;
        let entry = entry();
        let last = HOUR - WRITE_MARGIN;
        assert!(known(&entry, 59 * SECOND) && !known(&entry, 60 * SECOND));
        let entry = entry_with(Duration::ZERO);
        let entry = entry.after_visit(Visitor::default(), last - SECOND / 2);
        assert!(known(&entry, last - 1));
        assert!(!entry.is_near_expiry(last - 1));
        assert!(!known(&entry, last) && entry.is_near_expiry(last));
        let recorded = Recorded {
            last_seen_at: instant(last),
            expires_at: Some(instant(last + HOUR)),
            visit_due_at: instant(last + 60 * SECOND),
        };
        let entry = entry.after_write(&recorded, true).unwrap();
        assert!(known(&entry, last) && entry.is_alive(last + HOUR - 1));
    }

    #[test]
    fn a_write_moves_no_expiry_back_and_leaves_a_later_visit_pending() {
        let earlier = Recorded {
            last_seen_at: instant(SECOND),
            expires_at: Some(instant(HOUR / 2)),
            visit_due_at: instant(61 * SECOND),
        };
        let entry = entry().after_visit(Visitor::default(), 100 * SECOND);
        let shown = entry.0.last_seen_at;
        let entry = entry.after_write(&earlier, false).unwrap_or(entry);
        assert!(entry.has_pending_visit && entry.is_alive(HOUR - 1));
        assert_eq!(entry.0.last_seen_at, shown);
    }

    #[test]
    fn hints_of_another_browser_are_not_kept() {
        let hints = |value| [("Sec-CH-UA-Model", value)].into_iter().collect();
        let (one, other): (ClientHints, ClientHints) = (hints("1"), hints("2"));
        let with = |hints| Visitor {
            client_hints: Some(hints),
            ..from_browser("ab")
        };
        let entry = entry().after_visit(with(&one), SECOND);
        assert_eq!(entry.visit(with(&one), SECOND), Visit::Known);
        assert_eq!(entry.visit(with(&other), SECOND), Visit::Moved);
        let entry = entry.after_visit(from_browser("äöüxyz"), SECOND);
        assert_eq!(entry.0.user_agent.as_deref(), Some("äöüxy"));
        assert_eq!(entry.visit(from_browser("äöüxyz"), SECOND), Visit::Known);
        assert!(entry.client_hints.is_none());
    }
}
