//! Notifications that were heard and not applied yet.
//!
//! One task reads from the network, another one applies. Any role that can connect can send
//! notifications, faster than they are applied, so their number is bounded. One that does not fit
//! is not lost: "drop everything" replaces it, and all that wait.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;
use uuid::Uuid;

use crate::cache::counters::Counter;
use crate::cache::lock::lock;

/// They take one megabyte. The server announces up to 200 ids in one notification, and "drop
/// everything" for more than 10,000 ids of one transaction.
const MAX_IDS: usize = 65_536;
/// Applied without a pause, in about a millisecond.
const BATCH: usize = 1024;

pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    changed: Notify,
    /// Counts ids and calls to drop everything as they come.
    counter: Counter,
}

#[derive(Default)]
struct Waiting {
    /// Everything is to be dropped, before the ids.
    everything: bool,
    ids: VecDeque<Uuid>,
    is_closed: bool,
}

/// What is to be applied next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Drop everything first.
    pub(crate) everything: bool,
    /// In the order in which they were announced.
    pub(crate) ids: Vec<Uuid>,
}

impl Inbox {
    pub(crate) fn new(counter: Counter) -> Self {
        Self {
            waiting: Mutex::default(),
            changed: Notify::new(),
            counter,
        }
    }

    /// Takes the payload of a notification: ids, or `*` for everything. Another text, which a later
    /// version may send, means everything too.
    pub(crate) fn put(&self, payload: &str) {
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

    /// No notification will come any more.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Waits for the next batch. `None` after the last one. One task at a time may wait.
    pub(crate) async fn take(&self) -> Option<Batch> {
        loop {
            // While there always is a batch, other tasks of this thread need their turn.
            tokio::task::coop::consume_budget().await;
            if let Some(taken) = self.lock().take() {
                return taken;
            }
            self.changed.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }
}

impl Waiting {
    /// Returns whether the id fits.
    fn add(&mut self, id: Uuid) -> bool {
        let fits = self.ids.len() < MAX_IDS;
        if fits {
            self.ids.push_back(id);
        }
        fits
    }

    /// Everything includes all ids that wait. Probes among them are lost, and others follow.
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
    async fn a_text_that_is_not_a_list_of_ids_is_everything_once() {
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
    async fn an_id_that_does_not_fit_becomes_everything_and_later_ids_are_kept() {
        let inbox = inbox();
        for n in 0..MAX_IDS {
            inbox.put(&ids(n..n + 1));
        }
        assert_eq!(inbox.lock().ids.len(), MAX_IDS);
        inbox.put(&ids(0..3));
        inbox.put(&ids(3..5));
        let (everything, ids) = (true, vec![id(3), id(4)]);
        assert_eq!(taken(&inbox), Some(Batch { everything, ids }));
    }

    #[tokio::test]
    async fn a_flood_takes_bounded_memory() {
        let inbox = inbox();
        let full = ids(0..200);
        for _ in 0..10_000 {
            inbox.put(&full);
            inbox.put("*");
            inbox.put(&full);
            assert!(inbox.lock().ids.len() <= MAX_IDS);
        }
        assert!(inbox.lock().ids.capacity() <= 2 * MAX_IDS);
    }

    #[tokio::test]
    async fn the_end_comes_after_all_batches_and_wakes_the_reader() {
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
