//! Which visits a request leaves to the [writer](super::writer).

use crate::cache::core::Cache;
use crate::cache::entries::CacheKey;
use crate::cache::entry::{Entry, Visit as Kind};
use crate::cache::freshness::ServerMicros;
use crate::cache::server_time::instant;
use crate::hooks::Visitor;
use crate::session::Session;
use crate::visits::Visit;

impl Cache {
    /// The session as it is after this visit, if the visit can be written later. `None`: the
    /// request has to write it.
    pub(crate) fn defer_visit(
        &self,
        key: CacheKey,
        visitor: Visitor<'_>,
        known: &Entry,
        now: ServerMicros,
    ) -> Option<Session> {
        // PostgreSQL refuses such a text, and would refuse all visits of the same statement.
        let is_text = visitor.user_agent.is_none_or(|agent| !agent.contains('\0'));
        if !is_text || known.is_near_expiry(now) || !self.visits.accepts() {
            return None;
        }
        let change = |entry: &Entry| {
            let is_new = entry.visit(visitor, now) != Kind::Known;
            (is_new && !entry.is_near_expiry(now)).then(|| entry.after_visit(visitor, now))
        };
        let session = match self.entries.change(&key, change) {
            Some((entry, true)) => entry.into_session(),
            // Another request of the same visitor has come first, or the entry was replaced.
            Some((entry, false)) => {
                let is_known = entry.visit(visitor, now) == Kind::Known;
                return (is_known && entry.is_alive(now)).then_some(entry.into_session());
            }
            // It was not kept, or was dropped since.
            None => known.after_visit(visitor, now).into_session(),
        };
        // Headers can be far longer than what is kept of them.
        let visitor = Visitor {
            user_agent: visitor
                .user_agent
                .map(|agent| known.visits.kept_part(agent)),
            ..visitor
        };
        let visit = Visit::of(key.id, key.digest, instant(now), visitor);
        self.visits.add(key, visit);
        Some(session)
    }
}
