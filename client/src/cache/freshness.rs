//! Up to when all changes are known, by this process's clock and by the server's.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// An instant of this process, in nanoseconds since the cache was made. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

impl Moment {
    /// How long after an earlier one this is.
    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub(super) fn nanos(self) -> u64 {
        self.0
    }

    fn micros(self) -> i64 {
        (self.0 / 1000) as i64
    }
}

/// An instant of the server, in microseconds since 1970.
pub(super) type ServerMicros = i64;

/// What the probes have shown.
///
/// A probe is an id of no session that the pool announces like any other. Announcements come in the order of the
/// commits, so once a probe is heard, everything is known that was committed before the probe was sent, on the server that
/// the pool led to then.
#[derive(Debug)]
pub(super) struct Freshness {
    began: Instant,
    max_staleness: u64,
    /// The moment up to which everything is known; zero while nothing is.
    known_until: AtomicU64,
    /// How far the server's clock is ahead of this process's, in microseconds: rather too far than
    /// not far enough, so that a session is never held for alive that isn't.
    clock_lead: AtomicI64,
}

impl Freshness {
    pub(super) fn new(max_staleness: Duration) -> Self {
        Self {
            began: Instant::now(),
            max_staleness: max_staleness.as_nanos() as u64,
            known_until: AtomicU64::new(0),
            clock_lead: AtomicI64::new(0),
        }
    }

    pub(super) fn max_staleness(&self) -> Duration {
        Duration::from_nanos(self.max_staleness)
    }

    pub(super) fn now(&self) -> Moment {
        Moment(self.began.elapsed().as_nanos() as u64 + 1)
    }

    /// Whether the cache may answer a request that has come at this moment.
    ///
    /// Has to be asked before the cache is: what is then found there includes all that was known.
    #[inline]
    pub(super) fn suffices(&self, now: Moment) -> bool {
        let known = self.known_until.load(Ordering::Acquire);
        known != 0 && now.0.saturating_sub(known) <= self.max_staleness
    }

    /// How late the knowledge is, if there is any.
    pub(super) fn staleness(&self, now: Moment) -> Option<Duration> {
        match self.known_until.load(Ordering::Acquire) {
            0 => None,
            known => Some(now.since(Moment(known))),
        }
    }

    /// Whether everything is known that was committed before this moment.
    pub(super) fn reaches(&self, moment: Moment) -> bool {
        self.known_until.load(Ordering::Acquire) >= moment.0
    }

    /// Everything is known that was committed before this moment.
    ///
    /// Has to be called after what was announced has been applied.
    pub(super) fn reached(&self, moment: Moment) {
        self.known_until.fetch_max(moment.0, Ordering::Release);
    }

    /// From now on changes can be missed.
    pub(super) fn lost(&self) {
        self.known_until.store(0, Ordering::Release);
    }

    /// The server read its clock after the moment at which it was asked to.
    pub(super) fn server_clock(&self, asked: Moment, read: ServerMicros) {
        self.clock_lead
            .store(read.saturating_sub(asked.micros()), Ordering::Relaxed);
    }

    /// What the server's clock shows at this moment, or a little more.
    #[inline]
    pub(super) fn server_time(&self, now: Moment) -> ServerMicros {
        now.micros()
            .saturating_add(self.clock_lead.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn freshness() -> Freshness {
        Freshness::new(Duration::from_secs(2))
    }

    #[test]
    fn nothing_suffices_before_a_probe_and_after_a_loss() {
        let freshness = freshness();
        assert!(!freshness.suffices(Moment(1)));
        freshness.reached(Moment(1));
        assert!(freshness.suffices(Moment(1)));
        freshness.lost();
        assert!(!freshness.suffices(Moment(1)));
        assert_eq!(freshness.staleness(Moment(1)), None);
    }

    #[test]
    fn knowledge_suffices_for_as_long_as_staleness_is_allowed() {
        let freshness = freshness();
        freshness.reached(Moment(5 * SECOND));
        assert!(freshness.suffices(Moment(7 * SECOND)));
        assert!(!freshness.suffices(Moment(7 * SECOND + 1)));
    }

    #[test]
    fn a_probe_that_was_overtaken_takes_nothing_back() {
        let freshness = freshness();
        freshness.reached(Moment(5 * SECOND));
        freshness.reached(Moment(3 * SECOND));
        assert!(freshness.reaches(Moment(5 * SECOND)));
        assert!(!freshness.reaches(Moment(5 * SECOND + 1)));
    }

    #[test]
    fn the_servers_clock_is_never_taken_for_slower_than_it_is() {
        let freshness = freshness();
        // Asked at second 10; the server read its clock somewhere between then and the answer.
        freshness.server_clock(Moment(10 * SECOND), 1_000_000_000);
        assert_eq!(freshness.server_time(Moment(10 * SECOND)), 1_000_000_000);
        assert_eq!(freshness.server_time(Moment(11 * SECOND)), 1_001_000_000);
    }
}
