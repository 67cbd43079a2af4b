//! Up to when all changes are known, by the clock of this process and by the server's.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// An instant of this process, in nanoseconds since the cache was made. Never zero. Those of all
/// servers of a cache can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// How long after an earlier one this is.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub(crate) fn nanos(self) -> u64 {
        self.0
    }

    fn micros(self) -> i64 {
        (self.0 / 1000) as i64
    }
}

/// An instant of the server, in microseconds since 1970.
pub(crate) type ServerMicros = i64;

/// What the probes have shown of one server.
///
/// A probe is an id that no session has. The pool announces it like the id of a changed session.
/// Notifications come in the order of the commits. So once a probe is heard, every change is known
/// that was committed before the probe was sent, on the server that the pool led to then. A
/// heartbeat shows the same for the moment before it was requested.
#[derive(Debug)]
pub(crate) struct Freshness {
    began: Instant,
    max_staleness: u64,
    /// The moment up to which all changes are known. Zero: none are.
    known_until: AtomicU64,
    /// How far the server's clock is ahead of the clock of this process, in microseconds. It is
    /// rather too large than too small, so that an expired session never passes for a live one. It
    /// never decreases while the cache listens: a purge may have deleted what had expired before
    /// the server's clock was set back, and such a deletion is not announced.
    clock_lead: AtomicI64,
}

impl Freshness {
    pub(crate) fn new(max_staleness: Duration, began: Instant) -> Self {
        Self {
            began,
            max_staleness: max_staleness.as_nanos() as u64,
            known_until: AtomicU64::new(0),
            clock_lead: AtomicI64::new(0),
        }
    }

    pub(crate) fn max_staleness(&self) -> Duration {
        Duration::from_nanos(self.max_staleness)
    }

    pub(crate) fn now(&self) -> Moment {
        Moment(self.began.elapsed().as_nanos() as u64 + 1)
    }

    /// Whether the cache may answer a request that has come at this moment.
    ///
    /// The caller looks into the entries after this: they then include all that was known.
    #[inline]
    pub(crate) fn suffices(&self, now: Moment) -> bool {
        let known = self.known_until.load(Ordering::Acquire);
        known != 0 && now.0.saturating_sub(known) <= self.max_staleness
    }

    /// How late the cache is, if it knows of changes at all.
    pub(crate) fn staleness(&self, now: Moment) -> Option<Duration> {
        match self.known_until.load(Ordering::Acquire) {
            0 => None,
            known => Some(now.since(Moment(known))),
        }
    }

    /// Whether all changes are known that were committed before this moment.
    pub(crate) fn reaches(&self, moment: Moment) -> bool {
        self.known_until.load(Ordering::Acquire) >= moment.0
    }

    /// All changes are known that were committed before this moment.
    ///
    /// The caller has applied the notifications before this.
    pub(crate) fn advance_to(&self, moment: Moment) {
        self.known_until.fetch_max(moment.0, Ordering::Release);
    }

    /// From now on changes can be missed.
    pub(crate) fn reset(&self) {
        self.known_until.store(0, Ordering::Release);
    }

    /// The server read its clock after the moment at which it was asked to. No entry is left of
    /// the time before.
    pub(crate) fn begin_server_clock(&self, asked: Moment, read: ServerMicros) {
        self.clock_lead.store(lead(asked, read), Ordering::Relaxed);
    }

    /// The same, while entries are kept.
    pub(crate) fn server_clock(&self, asked: Moment, read: ServerMicros) {
        self.clock_lead
            .fetch_max(lead(asked, read), Ordering::Relaxed);
    }

    /// What the server's clock shows at this moment, or a little more.
    #[inline]
    pub(crate) fn server_time(&self, now: Moment) -> ServerMicros {
        now.micros()
            .saturating_add(self.clock_lead.load(Ordering::Relaxed))
    }
}

fn lead(asked: Moment, read: ServerMicros) -> i64 {
    read.saturating_sub(asked.micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn freshness() -> Freshness {
        Freshness::new(Duration::from_secs(2), Instant::now())
    }

    #[test]
    fn nothing_suffices_before_a_probe_and_after_a_loss() {
        let freshness = freshness();
        assert!(!freshness.suffices(Moment(1)));
        freshness.advance_to(Moment(1));
        assert!(freshness.suffices(Moment(1)));
        freshness.reset();
        assert!(!freshness.suffices(Moment(1)));
        assert_eq!(freshness.staleness(Moment(1)), None);
    }

    #[test]
    fn knowledge_suffices_for_as_long_as_staleness_is_allowed() {
        let freshness = freshness();
        freshness.advance_to(Moment(5 * SECOND));
        assert!(freshness.suffices(Moment(7 * SECOND)));
        assert!(!freshness.suffices(Moment(7 * SECOND + 1)));
    }

    #[test]
    fn a_probe_that_another_has_passed_takes_nothing_back() {
        let freshness = freshness();
        freshness.advance_to(Moment(5 * SECOND));
        freshness.advance_to(Moment(3 * SECOND));
        assert!(freshness.reaches(Moment(5 * SECOND)));
        assert!(!freshness.reaches(Moment(5 * SECOND + 1)));
    }

    #[test]
    fn the_servers_clock_is_never_taken_for_slower_than_it_is() {
        let freshness = freshness();
        // Asked at second 10; the server read its clock somewhere between then and the answer.
        freshness.begin_server_clock(Moment(10 * SECOND), 1_000_000_000);
        assert_eq!(freshness.server_time(Moment(10 * SECOND)), 1_000_000_000);
        assert_eq!(freshness.server_time(Moment(11 * SECOND)), 1_001_000_000);
    }

    #[test]
    fn what_has_expired_stays_so_when_the_servers_clock_is_set_back() {
        let freshness = freshness();
        freshness.begin_server_clock(Moment(10 * SECOND), 1_000_000_000);
        freshness.server_clock(Moment(11 * SECOND), 500_000_000);
        assert_eq!(freshness.server_time(Moment(12 * SECOND)), 1_002_000_000);
        // It may also have been set forward.
        freshness.server_clock(Moment(12 * SECOND), 3_000_000_000);
        assert_eq!(freshness.server_time(Moment(12 * SECOND)), 3_000_000_000);
        // A new connection may lead to another server.
        freshness.begin_server_clock(Moment(13 * SECOND), 600_000_000);
        assert_eq!(freshness.server_time(Moment(13 * SECOND)), 600_000_000);
    }
}
