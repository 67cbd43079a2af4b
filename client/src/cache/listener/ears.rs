//! What announcements do to the cache, and which probes are among them.

use std::collections::VecDeque;
use std::time::Duration;

use tokio_postgres::Notification;
use uuid::Uuid;

use crate::cache::Cache;
use crate::cache::freshness::Moment;

/// What was heard, and what should be.
pub(super) struct Ears<'a> {
    cache: &'a Cache,
    pub(super) channel: String,
    /// Probes that were not heard yet, and when they were sent.
    probes: VecDeque<(Uuid, Moment)>,
    /// The last one that was.
    heard: Option<Uuid>,
}

impl<'a> Ears<'a> {
    pub(super) fn new(cache: &'a Cache, channel: String) -> Self {
        Self {
            cache,
            channel,
            probes: VecDeque::new(),
            heard: None,
        }
    }

    pub(super) fn new_probe(&mut self) -> Uuid {
        let probe = Uuid::new_v4();
        self.probes.push_back((probe, self.cache.freshness.now()));
        probe
    }

    /// Whether this one may still come.
    pub(super) fn waits_for(&self, probe: Uuid) -> bool {
        self.probes.iter().any(|(waiting, _)| *waiting == probe)
    }

    /// Whether this one was named.
    pub(super) fn has_heard(&self, probe: Uuid) -> bool {
        self.heard == Some(probe)
    }

    pub(super) fn waits_longer_than(&self, time: Duration) -> bool {
        let now = self.cache.freshness.now();
        self.probes
            .front()
            .is_some_and(|(_, sent)| now.since(*sent) > time)
    }

    pub(super) fn hear(&mut self, notification: &Notification) {
        if notification.channel() != self.channel {
            return;
        }
        let mut known_until = None;
        let mut heard = 0;
        for id in notification.payload().split(',') {
            heard += 1;
            match Uuid::try_parse(id) {
                Ok(id) => known_until = self.hear_id(id).or(known_until),
                // Everything; or what a later version may say, which is better taken for everything.
                Err(_) => self.hear_everything(),
            }
        }
        self.cache.counters.invalidations.increment(heard);
        if let Some(sent) = known_until {
            let freshness = &self.cache.freshness;
            freshness.reached(sent);
            let staleness = freshness.now().since(sent);
            self.cache.counters.staleness.record(staleness);
            // Wakes who waits for this.
            self.cache.state.send_modify(|_| ());
        }
    }

    /// When it was sent, if it was a probe of ours.
    fn hear_id(&mut self, id: Uuid) -> Option<Moment> {
        let Some(at) = self.probes.iter().position(|(probe, _)| *probe == id) else {
            self.cache.shelf.drop_session(id);
            return None;
        };
        // Those before it were swallowed by a "drop everything".
        let (probe, sent) = self.probes.drain(..=at).next_back()?;
        self.heard = Some(probe);
        Some(sent)
    }

    /// The probes that wait may be a part of it, and must not be waited for; others will come.
    fn hear_everything(&mut self) {
        self.cache.shelf.drop_all();
        self.probes.clear();
    }
}
