//! Sessions that end when they are no longer visited.
//!
//! Only the process that has begun such a session knows its key, so that nothing else moves its
//! expiry. The cache writes most of the visits in the background.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::json;

use super::attempt::{Attempt, attempt};
use super::sessions::began;
use super::{Known, Worker};
use crate::history::{Effect, Nanos, Outcome, now};

const IDLE_TIMEOUT: Duration = Duration::from_secs(8);
/// A visit is left to the background only if the session does not expire within this time. It lives
/// that long, also if the visit cannot be written.
const MARGIN: Nanos = 5_000_000_000;
/// A visit that was written keeps the session for at least so long: a pending one stands for those of
/// the next second.
const WRITTEN: Nanos = 6_500_000_000;
/// By this much the cache can take the clock of the server to be ahead: a probe that stalls for as
/// long tells no more. A visit then counts as later, but not as later than it is written.
const CLOCK_LEAD: Nanos = 2_000_000_000;

impl Worker {
    pub(super) async fn keep_alive(self: Arc<Self>, mut rng: Rng, until: Nanos) {
        while now() < until {
            match self.begin_sliding(&mut rng).await {
                Some(known) => self.visit_until_it_ends(&mut rng, &known, until).await,
                None => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn begin_sliding(&self, rng: &mut Rng) -> Option<Known> {
        let token = self.token();
        let call = self.call("create a sliding session");
        let new = self.store.create().data(json!({ "token": token }));
        let created = attempt(rng, new.idle_timeout(IDLE_TIMEOUT)).await;
        let effects = match &created {
            Attempt::Done(created) => began(created, None, token),
            _ => vec![],
        };
        self.note(call, &created, effects);
        let Attempt::Done(created) = created else {
            return None;
        };
        let (key, id) = (created.key, created.id);
        Some(Known { key, id })
    }

    /// Most visits come long before the session would end, some shortly before, and some too late.
    async fn visit_until_it_ends(&self, rng: &mut Rng, known: &Known, until: Nanos) {
        let id = known.id;
        loop {
            let gap = match rng.u32(0..10) {
                0..7 => rng.u64(0..2_500),
                7..9 => rng.u64(2_500..7_500),
                _ => rng.u64(8_000..11_000),
            };
            tokio::time::sleep(Duration::from_millis(gap)).await;
            let begin = now();
            if begin >= until {
                return;
            }
            let call = self.call("visit");
            let visit = attempt(rng, self.store.resume(&known.key)).await;
            let Attempt::Done(session) = visit else {
                // It may have been written.
                return call.failed();
            };
            let end = now();
            call.loaded(known.hash(), session.as_ref());
            if session.is_none() {
                return;
            }
            let at = end + IDLE_TIMEOUT.as_nanos() as Nanos + CLOCK_LEAD;
            let is_written = rng.u32(0..4) == 0
                && self.store.flush_visits().await.is_ok()
                && self.store.health().pending_visits == 0;
            let until = begin + if is_written { WRITTEN } else { MARGIN };
            let effects = vec![Effect::Expires { id, at }, Effect::Visited { id, until }];
            let call = self.call("visited");
            let end = now();
            call.changed(Outcome::Done, end, Some(end), effects);
        }
    }
}
