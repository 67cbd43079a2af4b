//! What notifications do to the cache, and which probes are among them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use uuid::Uuid;

use crate::cache::core::Cache;
use crate::cache::freshness::Moment;
use crate::cache::listener::inbox::Batch;
use crate::cache::lock::lock;
use crate::cache::station::Station;

/// How many ids are kept while a heartbeat is requested. There are more only in a flood, and then
/// another heartbeat is requested.
const MAX_CANDIDATES: usize = 1024;

/// A notification that shows up to when all changes are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Probe {
    /// An id that this process sends.
    Own(Uuid),
    /// An id that the server sends once for all processes. They know only the SHA-256 of its text
    /// beforehand: any role can send notifications, and could otherwise send the id too early.
    Heartbeat(Vec<u8>),
    /// An id that one of several servers sends for this process. It is known by its SHA-256 too.
    OfServer(Vec<u8>),
}

impl Probe {
    fn is(&self, id: Uuid) -> bool {
        match self {
            Self::Own(own) => *own == id,
            Self::Heartbeat(digest) | Self::OfServer(digest) => self::digest(id) == **digest,
        }
    }
}

/// What was heard on one connection, and the probes that should be.
pub(crate) struct Subscription {
    cache: Arc<Cache>,
    /// The station that the connection belongs to.
    station: u8,
    probes: Mutex<Probes>,
    /// Wakes the task that waits for a probe.
    changed: Notify,
}

#[derive(Default)]
struct Probes {
    /// Probes that were not heard yet, in the order in which they were sent.
    awaited: VecDeque<Awaited>,
    request: Option<Request>,
    is_one_heard: bool,
}

struct Awaited {
    probe: Probe,
    /// Since when it is awaited.
    since: Moment,
    /// A moment shortly before it was sent or, if it was requested several times, before the last
    /// time.
    sent: Moment,
}

/// A heartbeat is requested, or a cluster is asked for one. It may be heard before the answer.
#[derive(Default)]
struct Request {
    /// The ids that were heard since. The heartbeat may be one of them.
    heard: Vec<Uuid>,
    /// A "drop everything" may stand for it.
    may_be_lost: bool,
}

impl Subscription {
    pub(crate) fn new(cache: Arc<Cache>, station: u8) -> Self {
        Self {
            cache,
            station,
            probes: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn station(&self) -> &Station {
        &self.cache.stations[self.station]
    }

    /// A probe that is about to be sent, and the moment.
    pub(crate) fn new_probe(&self) -> (Uuid, Moment) {
        let (id, sent) = (Uuid::new_v4(), self.cache.stations.now());
        self.probes().awaited.push_back(Awaited {
            probe: Probe::Own(id),
            since: sent,
            sent,
        });
        (id, sent)
    }

    /// The probe may not have been sent, and is not awaited any more.
    pub(crate) fn forget(&self, id: Uuid) {
        let probe = Probe::Own(id);
        self.probes().awaited.retain(|other| other.probe != probe);
    }

    /// A heartbeat is about to be requested. The answer of an earlier request does not count any
    /// more.
    pub(crate) fn new_request(&self) -> Moment {
        self.probes().request = Some(Request::default());
        self.cache.stations.now()
    }

    /// This is what the answer to the request of that moment has told to wait for.
    pub(crate) fn requested(&self, probe: &Probe, sent: Moment) {
        let mut probes = self.probes();
        let request = probes.request.take().unwrap_or_default();
        if request.heard.iter().any(|id| probe.is(*id)) {
            // All others were sent earlier.
            probes.awaited.clear();
            drop(probes);
            self.reached(sent);
            return;
        }
        match probes.awaited.back_mut() {
            // The server has not sent it yet, and will do so after this request too.
            Some(last) if last.probe == *probe => last.sent = sent,
            _ => probes.awaited.push_back(Awaited {
                probe: probe.clone(),
                since: sent,
                sent,
            }),
        }
        if request.may_be_lost {
            self.cache.probe_lost.notify_one();
        }
    }

    /// Waits until any probe is heard.
    pub(crate) async fn first_heard(&self) {
        while !self.probes().is_one_heard {
            self.changed.notified().await;
        }
    }

    /// Waits until this probe is not awaited any more. Returns whether any probe was heard.
    pub(crate) async fn wait_for(&self, probe: &Probe) -> bool {
        loop {
            {
                let probes = self.probes();
                let is_awaited = probes.awaited.iter().any(|other| other.probe == *probe);
                if probes.is_one_heard || !is_awaited {
                    return probes.is_one_heard;
                }
            }
            self.changed.notified().await;
        }
    }

    /// Whether a probe has been awaited for longer than this time.
    pub(crate) fn is_silent_for(&self, time: Duration) -> bool {
        let now = self.cache.stations.now();
        let probes = self.probes();
        let oldest = probes.awaited.front();
        oldest.is_some_and(|oldest| now.since(oldest.since) > time)
    }

    pub(crate) fn apply(&self, batch: &Batch) {
        if batch.everything {
            self.cache.entries.drop_station(self.station);
            self.probes_may_be_lost();
        }
        let mut heard = None;
        for id in &batch.ids {
            heard = self.apply_id(*id).or(heard);
        }
        if let Some(sent) = heard {
            self.reached(sent);
        } else if batch.everything {
            self.changed.notify_one();
        }
    }

    /// Awaited probes may be part of a "drop everything", and would then never come. The server
    /// never puts a heartbeat there, so that it may still come.
    fn probes_may_be_lost(&self) {
        let mut probes = self.probes();
        if let Some(request) = &mut probes.request {
            request.may_be_lost = true;
        }
        if !probes.awaited.is_empty() {
            let is_heartbeat = |awaited: &Awaited| matches!(awaited.probe, Probe::Heartbeat(_));
            probes.awaited.retain(is_heartbeat);
            self.cache.probe_lost.notify_one();
        }
    }

    /// A probe of this moment was heard, and all before it was applied.
    fn reached(&self, sent: Moment) {
        let station = self.station();
        station.freshness.advance_to(sent);
        let staleness = station.freshness.now().since(sent);
        self.cache.counters.staleness.record(staleness);
        self.probes().is_one_heard = true;
        // This also wakes the tasks that wait for the moment that was reached.
        station.link.send_modify(|link| {
            if link.is_serving() {
                link.serve();
            }
        });
        self.changed.notify_one();
    }

    /// Returns when it was sent, if the id is a probe that is awaited.
    fn apply_id(&self, id: Uuid) -> Option<Moment> {
        let mut probes = self.probes();
        // Also if it is awaited: a later request may be answered with the same one.
        probes.keep_candidate(id);
        let Some(at) = probes.position(id) else {
            drop(probes);
            self.cache.entries.drop_session(id);
            return None;
        };
        // Earlier probes were never sent, or were part of a "drop everything".
        let heard = probes.awaited.drain(..=at).next_back()?;
        Some(heard.sent)
    }

    fn probes(&self) -> MutexGuard<'_, Probes> {
        lock(&self.probes)
    }
}

impl Probes {
    fn position(&self, id: Uuid) -> Option<usize> {
        let own = Probe::Own(id);
        let at = self.awaited.iter().position(|other| other.probe == own);
        if at.is_some() || !is_random(id) {
            return at;
        }
        let has_digest = |other: &Awaited| !matches!(other.probe, Probe::Own(_));
        if !self.awaited.iter().any(has_digest) {
            return None;
        }
        let digest = digest(id);
        self.awaited.iter().position(|other| match &other.probe {
            Probe::Own(_) => false,
            Probe::Heartbeat(awaited) | Probe::OfServer(awaited) => **awaited == digest,
        })
    }

    /// Keeps an id that may be the heartbeat that is being requested.
    fn keep_candidate(&mut self, id: Uuid) {
        let Some(request) = self.request.as_mut().filter(|_| is_random(id)) else {
            return;
        };
        if request.heard.len() < MAX_CANDIDATES {
            request.heard.push(id);
        } else {
            request.may_be_lost = true;
        }
    }
}

/// Probes are random ids. Those of sessions are of other kinds, unless they were made by hand.
fn is_random(id: Uuid) -> bool {
    id.get_version_num() == 4
}

/// The digest of a heartbeat, as `request_heartbeat` returns it.
fn digest(id: Uuid) -> [u8; 32] {
    let mut buffer = Uuid::encode_buffer();
    qsessions_key::digest(id.hyphenated().encode_lower(&mut buffer))
}
