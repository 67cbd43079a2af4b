//! What has been announced and not been applied yet.
//!
//! One task reads from the network, another one applies. Whoever may connect to the database can announce anything, and faster
//! than it is applied; so what waits here is bounded. What does not fit is not lost: "drop everything" takes its place,
//! and the place of all that waits.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use metrics::Counter;
use tokio::sync::Notify;
use uuid::Uuid;

/// A megabyte. The server announces 200 ids at once, and "drop everything" for more than 10,000 of one transaction.
const MOST_IDS: usize = 65_536;
/// Applied without a pause, in about a millisecond.
const BATCH: usize = 1024;

pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    changed: Notify,
    /// Ids and calls to drop everything, as they come.
    counter: Counter,
}

#[derive(Default)]
struct Waiting {
    /// Everything is to be dropped, and the ids come after that.
    everything: bool,
    ids: VecDeque<Uuid>,
    is_closed: bool,
}

/// What is to be applied next.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// Drop everything first.
    pub(super) everything: bool,
    /// In the order in which they were announced.
    pub(super) ids: Vec<Uuid>,
}

impl Inbox {
    pub(super) fn new(counter: Counter) -> Self {
        Self {
            waiting: Mutex::default(),
            changed: Notify::new(),
            counter,
        }
    }

    /// Takes in what a notification says: ids, or else everything, which is what `*` means and what a later version may mean.
    pub(super) fn put(&self, payload: &str) {
        let mut waiting = self.lock();
        let mut count = 0;
        let is_whole = payload.split(',').all(|text| {
            count += 1;
            let id = Uuid::try_parse(text).ok();
            id.is_some_and(|id| waiting.add(id))
        });
        if !is_whole {
            waiting.replace_by_everything();
        }
        drop(waiting);
        self.counter.increment(count);
        self.changed.notify_one();
    }

    /// Nothing comes any more.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Waits for something. `None` after the last of it. For one task at a time; what was not returned stays here.
    pub(super) async fn take(&self) -> Option<Batch> {
        loop {
            // Where there is always something, others on this thread must have their turn too.
            tokio::task::coop::consume_budget().await;
            if let Some(taken) = self.lock().take() {
                return taken;
            }
            self.changed.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // What is done under the lock can't panic halfway.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Whether it fits.
    fn add(&mut self, id: Uuid) -> bool {
        let fits = self.ids.len() < MOST_IDS;
        if fits {
            self.ids.push_back(id);
        }
        fits
    }

    /// What was to be dropped is among everything. Probes are lost with it, and others will come.
    fn replace_by_everything(&mut self) {
        self.ids.clear();
        self.everything = true;
    }

    /// `Some(None)` is the end.
    #[expect(clippy::option_option, reason = "read by one caller, above")]
    fn take(&mut self) -> Option<Option<Batch>> {
        if !self.everything && self.ids.is_empty() {
            return self.is_closed.then_some(None);
        }
        let count = self.ids.len().min(BATCH);
        Some(Some(Batch {
            everything: std::mem::take(&mut self.everything),
            ids: self.ids.drain(..count).collect(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn inbox() -> Inbox {
        Inbox::new(Counter::noop())
    }

    fn id(n: usize) -> Uuid {
        Uuid::from_u128(n as u128)
    }

    fn ids(range: std::ops::Range<usize>) -> String {
        let ids: Vec<_> = range.map(|n| id(n).to_string()).collect();
        ids.join(",")
    }

    fn taken(inbox: &Inbox) -> Option<Batch> {
        inbox.take().now_or_never().expect("there is something")
    }

    #[tokio::test]
    async fn ids_come_in_their_order() {
        let inbox = inbox();
        inbox.put(&ids(0..2));
        inbox.put(&ids(2..3));
        let (everything, ids) = (false, vec![id(0), id(1), id(2)]);
        assert_eq!(taken(&inbox), Some(Batch { everything, ids }));
        assert_eq!(inbox.take().now_or_never(), None);
    }

    #[tokio::test]
    async fn whatever_is_no_list_of_ids_is_everything_once() {
        for nonsense in [
            "*",
            "",
            ",",
            &",".repeat(7_999),
            &format!("{},x", ids(0..3)),
        ] {
            let inbox = inbox();
            inbox.put(&ids(0..5));
            inbox.put(nonsense);
            inbox.put(nonsense);
            inbox.put(&ids(7..8));
            let (everything, ids) = (true, vec![id(7)]);
            assert_eq!(taken(&inbox), Some(Batch { everything, ids }));
            assert_eq!(inbox.take().now_or_never(), None);
        }
    }

    #[tokio::test]
    async fn what_does_not_fit_is_everything_and_what_comes_then_is_kept() {
        let inbox = inbox();
        for n in 0..MOST_IDS {
            inbox.put(&ids(n..n + 1));
        }
        assert_eq!(inbox.lock().ids.len(), MOST_IDS);
        inbox.put(&ids(0..3));
        inbox.put(&ids(3..5));
        let (everything, ids) = (true, vec![id(3), id(4)]);
        assert_eq!(taken(&inbox), Some(Batch { everything, ids }));
    }

    #[tokio::test]
    async fn a_flood_takes_no_more_room_than_it_may() {
        let inbox = inbox();
        let full = ids(0..200);
        for _ in 0..10_000 {
            inbox.put(&full);
            inbox.put("*");
            inbox.put(&full);
            assert!(inbox.lock().ids.len() <= MOST_IDS);
        }
        assert!(inbox.lock().ids.capacity() <= 2 * MOST_IDS);
    }

    #[tokio::test]
    async fn the_end_comes_after_all_else_and_wakes_who_waits() {
        let inbox = inbox();
        inbox.put(&ids(0..BATCH + 1));
        inbox.close();
        assert_eq!(taken(&inbox).unwrap().ids.len(), BATCH);
        assert_eq!(taken(&inbox).unwrap().ids, [id(BATCH)]);
        assert_eq!(taken(&inbox), None);

        let inbox = Inbox::new(Counter::noop());
        let (taken, ()) = tokio::join!(inbox.take(), async {
            tokio::task::yield_now().await;
            inbox.close();
        });
        assert_eq!(taken, None);
    }
}
