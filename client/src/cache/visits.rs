//! Visits that are known and not yet written.
//!
//! A request does not wait for the visit that it makes: the visit is added to the pending ones, and
//! the cached session shows it. The [writer](super::writer) writes them soon after. The rules, and
//! what can be lost, are in docs/cache.md.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use foldhash::fast::RandomState;
use tokio::sync::Notify;

use crate::cache::entries::CacheKey;
use crate::cache::link::Origin;
use crate::cache::lock::lock;
use crate::visits::Visit;

/// How many visits one statement writes. If so many are pending, they are written at once.
pub(crate) const BATCH: usize = 1000;
/// If so many are pending, requests write their visits themselves.
const CAPACITY: usize = 65_536;

/// The visits that are pending, by session and key. While the grace of a former key lasts, a
/// session has two keys.
pub(crate) struct PendingVisits {
    /// The server has made their ids, so that a fast hash cannot be attacked.
    visits: Mutex<HashMap<CacheKey, Arc<Visit>, RandomState>>,
    is_enabled: bool,
    /// Where they belong, as far as the writer has seen it.
    pub(crate) origins: Mutex<Vec<Origin>>,
    /// The last write has failed. Requests write their visits themselves until one succeeds, and
    /// see its error.
    is_failing: AtomicBool,
    /// A request has written its own visit since the writer looked last, or the writer has written
    /// others beside those that it tries again.
    are_others_written: AtomicBool,
    /// A visit was added when none was pending.
    pub(crate) any: Notify,
    /// There are enough for a batch.
    pub(crate) many: Notify,
    /// Held by the task that writes. The visits stay pending meanwhile, so that a write that is given
    /// up loses none.
    pub(crate) writing: tokio::sync::Mutex<()>,
}

impl PendingVisits {
    pub(crate) fn new(is_enabled: bool) -> Self {
        Self {
            visits: Mutex::default(),
            is_enabled,
            origins: Mutex::default(),
            is_failing: AtomicBool::new(false),
            are_others_written: AtomicBool::new(false),
            any: Notify::new(),
            many: Notify::new(),
            writing: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.visits).len()
    }

    /// Whether a request may leave its visit here.
    pub(crate) fn accepts(&self) -> bool {
        self.is_enabled && !self.is_failing.load(Ordering::Relaxed) && self.len() < CAPACITY
    }

    /// Returns whether this is news.
    pub(crate) fn set_failing(&self, is_failing: bool) -> bool {
        self.is_failing.swap(is_failing, Ordering::Relaxed) != is_failing
    }

    /// Other visits can be written.
    pub(crate) fn note_others_written(&self) {
        self.are_others_written.store(true, Ordering::Relaxed);
    }

    /// Whether visits were [noted](Self::note_others_written) since the last call of this.
    pub(crate) fn take_others_written(&self) -> bool {
        self.are_others_written.swap(false, Ordering::Relaxed)
    }

    /// Adds a visit, or what it shows to the one that is pending.
    pub(crate) fn add(&self, key: CacheKey, visit: Visit) {
        let mut visits = lock(&self.visits);
        let visit = match visits.get(&key) {
            Some(earlier) => visit.after(earlier),
            None => visit,
        };
        visits.insert(key, Arc::new(visit));
        let count = visits.len();
        drop(visits);
        // The writer looks at the number before it waits, so that none of this is missed.
        if count == 1 {
            self.any.notify_one();
        }
        if count == BATCH {
            self.many.notify_one();
        }
    }

    pub(crate) fn get(&self, key: &CacheKey) -> Option<Arc<Visit>> {
        lock(&self.visits).get(key).cloned()
    }

    /// All of them in the order of the ids, which is nearly that of the rows in the table.
    pub(crate) fn all(&self) -> Vec<(CacheKey, Arc<Visit>)> {
        let visits = lock(&self.visits);
        let mut all: Vec<_> = visits
            .iter()
            .map(|(key, visit)| (*key, Arc::clone(visit)))
            .collect();
        drop(visits);
        all.sort_unstable_by_key(|(key, _)| (key.id, key.digest));
        all
    }

    /// Notes that a request has written a visit itself, and takes out the one that was pending
    /// before: it would bring back an older address.
    pub(crate) fn supersede(&self, key: &CacheKey, pending: Option<&Arc<Visit>>) {
        self.note_others_written();
        if let Some(visit) = pending {
            self.settle(key, visit);
        }
    }

    /// Takes out a visit that is written or that never will be. Returns false if a later one was
    /// added to it since, which stays pending.
    pub(crate) fn settle(&self, key: &CacheKey, visit: &Arc<Visit>) -> bool {
        let mut visits = lock(&self.visits);
        let is_last = visits
            .get(key)
            .is_none_or(|pending| Arc::ptr_eq(pending, visit));
        if is_last {
            visits.remove(key);
        }
        is_last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::Visitor;
    use std::net::IpAddr;
    use std::time::{Duration, SystemTime};
    use uuid::Uuid;

    fn key(id: u128) -> CacheKey {
        CacheKey {
            id: Uuid::from_u128(id),
            digest: [7; 32],
        }
    }

    fn visit(id: u128, second: u64, visitor: Visitor<'_>) -> Visit {
        let seen_at = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        Visit::of(Uuid::from_u128(id), [7; 32], seen_at, visitor)
    }

    #[test]
    fn later_visits_are_added_to_the_one_that_is_pending() {
        let pending = PendingVisits::new(true);
        let ip = Some(IpAddr::from([192, 0, 2, 1]));
        let at = |ip, user_agent| Visitor {
            ip,
            user_agent,
            client_hints: None,
        };
        pending.add(key(1), visit(1, 1, at(ip, Some("a"))));
        pending.add(key(1), visit(1, 3, at(None, Some("b"))));
        pending.add(key(1), visit(1, 2, at(None, None)));
        assert_eq!(pending.len(), 1);
        let expected = visit(1, 3, at(ip, Some("b")));
        assert!(*pending.all()[0].1 == expected);
    }

    #[test]
    fn a_visit_that_came_during_a_write_stays_pending() {
        let pending = PendingVisits::new(true);
        pending.add(key(2), visit(2, 1, Visitor::default()));
        pending.add(key(1), visit(1, 1, Visitor::default()));
        let written = pending.all();
        assert!(written[0].0 == key(1) && written[1].0 == key(2));
        pending.add(key(2), visit(2, 2, Visitor::default()));
        assert!(pending.settle(&written[0].0, &written[0].1));
        assert!(!pending.settle(&written[1].0, &written[1].1));
        assert_eq!(pending.len(), 1);
        assert!(pending.get(&key(2)).is_some());
    }

    #[test]
    fn no_more_are_accepted_than_there_is_room_for() {
        let pending = PendingVisits::new(true);
        for id in 0..CAPACITY as u128 {
            assert!(pending.accepts());
            pending.add(key(id), visit(id, 1, Visitor::default()));
        }
        assert!(!pending.accepts());
        assert!(!PendingVisits::new(false).accepts());
    }

    #[test]
    fn none_is_accepted_after_a_write_that_has_failed() {
        let pending = PendingVisits::new(true);
        assert!(pending.set_failing(true));
        assert!(!pending.accepts());
        assert!(!pending.set_failing(true));
        assert!(pending.set_failing(false));
        assert!(pending.accepts());
    }
}
