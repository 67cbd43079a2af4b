//! What notifications do to the cache, and which probes are among them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use uuid::Uuid;

use crate::cache::core::Cache;
use crate::cache::freshness::Moment;
use crate::cache::listener::inbox::Batch;
use crate::cache::lock::lock;

/// What was heard on one connection, and the probes that should be.
pub(crate) struct Subscription<'a> {
    cache: &'a Cache,
    probes: Mutex<Probes>,
    /// Wakes the task that waits for a probe.
    changed: Notify,
    /// A "drop everything" may stand for a probe that is awaited.
    pub(crate) probe_lost: Notify,
}

#[derive(Default)]
struct Probes {
    /// Probes that were not heard yet, and a moment shortly before each was sent.
    awaited: VecDeque<(Uuid, Moment)>,
    is_one_heard: bool,
}

impl<'a> Subscription<'a> {
    pub(crate) fn new(cache: &'a Cache) -> Self {
        Self {
            cache,
            probes: Mutex::default(),
            changed: Notify::new(),
            probe_lost: Notify::new(),
        }
    }

    /// A probe that is about to be sent, and the moment.
    pub(crate) fn new_probe(&self) -> (Uuid, Moment) {
        let probe = (Uuid::new_v4(), self.cache.freshness.now());
        self.probes().awaited.push_back(probe);
        probe
    }

    /// The probe may not have been sent, and is not awaited any more.
    pub(crate) fn forget(&self, probe: Uuid) {
        self.probes().awaited.retain(|(other, _)| *other != probe);
    }

    /// Waits until this probe is not awaited any more. Returns whether any probe was heard.
    pub(crate) async fn wait_for(&self, probe: Uuid) -> bool {
        loop {
            {
                let probes = self.probes();
                let is_awaited = probes.awaited.iter().any(|(other, _)| *other == probe);
                if probes.is_one_heard || !is_awaited {
                    return probes.is_one_heard;
                }
            }
            self.changed.notified().await;
        }
    }

    /// Whether a probe has been awaited for longer than this time.
    pub(crate) fn is_silent_for(&self, time: Duration) -> bool {
        let now = self.cache.freshness.now();
        let probes = self.probes();
        let oldest = probes.awaited.front();
        oldest.is_some_and(|(_, sent)| now.since(*sent) > time)
    }

    pub(crate) fn apply(&self, batch: &Batch) {
        if batch.everything {
            self.cache.entries.drop_all();
            // Awaited probes may be part of it, and would then never come.
            let lost = std::mem::take(&mut self.probes().awaited);
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
            freshness.advance_to(sent);
            let staleness = freshness.now().since(sent);
            self.cache.counters.staleness.record(staleness);
            self.probes().is_one_heard = true;
            // This also wakes the tasks that wait for the moment that was reached.
            self.cache.link.send_modify(|link| {
                if link.is_serving() {
                    link.serve();
                }
            });
        }
        if batch.everything || heard.is_some() {
            self.changed.notify_one();
        }
    }

    /// Returns when it was sent, if the id is a probe of this process.
    fn apply_id(&self, id: Uuid) -> Option<Moment> {
        let mut probes = self.probes();
        let Some(at) = probes.awaited.iter().position(|(probe, _)| *probe == id) else {
            drop(probes);
            self.cache.entries.drop_session(id);
            return None;
        };
        // Earlier probes were never sent, or were part of a "drop everything".
        let (_, sent) = probes.awaited.drain(..=at).next_back()?;
        Some(sent)
    }

    fn probes(&self) -> MutexGuard<'_, Probes> {
        lock(&self.probes)
    }
}
