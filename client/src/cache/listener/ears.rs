//! What announcements do to the cache, and which probes are among them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use uuid::Uuid;

use super::inbox::Batch;
use crate::cache::freshness::Moment;
use crate::cache::{Cache, lock};

/// What was heard on a connection, and what should be.
pub(super) struct Ears<'a> {
    cache: &'a Cache,
    probes: Mutex<Probes>,
    /// For one who waits for a probe.
    changed: Notify,
    /// A probe that was waited for may have been swallowed.
    pub(super) probe_lost: Notify,
}

#[derive(Default)]
struct Probes {
    /// Those that were not heard yet, and a moment shortly before each was sent.
    waiting: VecDeque<(Uuid, Moment)>,
    is_one_heard: bool,
}

impl<'a> Ears<'a> {
    pub(super) fn new(cache: &'a Cache) -> Self {
        Self {
            cache,
            probes: Mutex::default(),
            changed: Notify::new(),
            probe_lost: Notify::new(),
        }
    }

    /// One that is about to be sent, and the moment.
    pub(super) fn new_probe(&self) -> (Uuid, Moment) {
        let probe = (Uuid::new_v4(), self.cache.freshness.now());
        self.probes().waiting.push_back(probe);
        probe
    }

    /// This one may not have been sent, and must not be waited for.
    pub(super) fn forget(&self, probe: Uuid) {
        self.probes().waiting.retain(|(other, _)| *other != probe);
    }

    /// Until this one can't come any more; whether any has.
    pub(super) async fn wait_for(&self, probe: Uuid) -> bool {
        loop {
            {
                let probes = self.probes();
                let waits = probes.waiting.iter().any(|(other, _)| *other == probe);
                if probes.is_one_heard || !waits {
                    return probes.is_one_heard;
                }
            }
            self.changed.notified().await;
        }
    }

    pub(super) fn waits_longer_than(&self, time: Duration) -> bool {
        let now = self.cache.freshness.now();
        let probes = self.probes();
        let oldest = probes.waiting.front();
        oldest.is_some_and(|(_, sent)| now.since(*sent) > time)
    }

    pub(super) fn apply(&self, batch: &Batch) {
        if batch.everything {
            self.cache.shelf.drop_all();
            // Those that were sent may be a part of it, and must not be waited for; others will come.
            let lost = std::mem::take(&mut self.probes().waiting);
            if !lost.is_empty() {
                self.probe_lost.notify_one();
            }
        }
        let mut heard = None;
        for id in &batch.ids {
            heard = self.apply_id(*id).or(heard);
        }
        if let Some(sent) = heard {
            let freshness = &self.cache.freshness;
            freshness.reached(sent);
            let staleness = freshness.now().since(sent);
            self.cache.counters.staleness.record(staleness);
            self.probes().is_one_heard = true;
            // Wakes who waits for this, too.
            self.cache.state.send_modify(|state| {
                if state.is_serving {
                    state.trouble = None;
                }
            });
        }
        if batch.everything || heard.is_some() {
            self.changed.notify_one();
        }
    }

    /// When it was sent, if it was a probe of ours.
    fn apply_id(&self, id: Uuid) -> Option<Moment> {
        let mut probes = self.probes();
        let Some(at) = probes.waiting.iter().position(|(probe, _)| *probe == id) else {
            drop(probes);
            self.cache.shelf.drop_session(id);
            return None;
        };
        // Those before it were never sent, or were swallowed by a "drop everything".
        let (_, sent) = probes.waiting.drain(..=at).next_back()?;
        Some(sent)
    }

    fn probes(&self) -> MutexGuard<'_, Probes> {
        lock(&self.probes)
    }
}
