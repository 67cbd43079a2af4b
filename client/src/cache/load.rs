//! The futures of loads, in memory that is used again.
//!
//! Such a future holds all that a statement needs on its way: two kilobytes, for which an allocator
//! tidies up what it has at hand for small pieces. That takes longer than the rest of the cache's
//! work for a load.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use tokio_util::sync::ReusableBoxFuture;

use crate::cache::entry::Entry;
use crate::cache::lock::lock;
use crate::error::Error;

/// The result of a load that several requests wait for.
pub(crate) type Loaded = Result<Option<Entry>, Error>;

/// As many loads as are usually under way at once.
const MAX_SPARE: usize = 64;

type Boxed = ReusableBoxFuture<'static, Loaded>;

/// The memory of loads that have ended.
#[derive(Default)]
pub(crate) struct SpareLoads(Mutex<Vec<Boxed>>);

impl SpareLoads {
    pub(crate) fn begin(
        self: &Arc<Self>,
        load: impl Future<Output = Loaded> + Send + 'static,
    ) -> Load {
        let spare = lock(&self.0).pop();
        let boxed = match spare {
            Some(mut spare) => {
                spare.set(load);
                spare
            }
            None => Boxed::new(load),
        };
        Load {
            boxed: Some(boxed),
            spare: Arc::clone(self),
        }
    }

    fn keep(&self, ended: Boxed) {
        let mut spare = lock(&self.0);
        if spare.len() < MAX_SPARE {
            spare.push(ended);
        }
    }
}

/// A load that is under way.
pub(crate) struct Load {
    /// `None`: it has ended.
    boxed: Option<Boxed>,
    spare: Arc<SpareLoads>,
}

impl Future for Load {
    type Output = Loaded;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Loaded> {
        let boxed = self.boxed.as_mut();
        let boxed = boxed.expect("a future is not polled after its end");
        let loaded = ready!(boxed.poll(context));
        // A future that has ended holds nothing any more. One that was given up does, and is
        // dropped with it.
        if let Some(ended) = self.boxed.take() {
            self.spare.keep(ended);
        }
        Poll::Ready(loaded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    fn count(spare: &SpareLoads) -> usize {
        lock(&spare.0).len()
    }

    #[tokio::test]
    async fn the_memory_of_a_load_that_has_ended_is_used_again_and_holds_nothing() {
        let (spare, held) = (Arc::new(SpareLoads::default()), Arc::new(()));
        let begin = |held: &Arc<()>| {
            let held = Arc::clone(held);
            spare.begin(async move {
                tokio::task::yield_now().await;
                drop(held);
                Ok(None)
            })
        };
        for _ in 0..3 {
            assert!(begin(&held).await.is_ok());
            assert_eq!((count(&spare), Arc::strong_count(&held)), (1, 1));
        }
        let (one, other) = (begin(&held), begin(&held));
        assert_eq!(count(&spare), 0);
        assert!(one.await.is_ok() && other.await.is_ok());
        assert_eq!(count(&spare), 2);
    }

    #[test]
    fn a_load_that_is_given_up_leaves_nothing() {
        let (spare, held) = (Arc::new(SpareLoads::default()), Arc::new(()));
        let kept = Arc::clone(&held);
        let load = spare.begin(async move {
            let _kept = kept;
            pending().await
        });
        drop(load);
        assert_eq!((count(&spare), Arc::strong_count(&held)), (0, 1));
    }
}
