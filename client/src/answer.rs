//! Calls that a cache may answer at once.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
#[cfg(feature = "cache")]
use std::pin::pin;
#[cfg(feature = "cache")]
use std::task::ready;
use std::task::{Context, Poll};

use crate::error::Error;

/// A call that a cache may answer at once, without an allocation.
#[must_use = "futures do nothing unless they are awaited"]
pub struct Answer<'a, T>(Source<'a, T>);

enum Source<'a, T> {
    #[cfg(feature = "cache")]
    Memory(Option<Result<T, Error>>),
    Database(Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>),
}

impl<'a, T> Answer<'a, T> {
    #[cfg(feature = "cache")]
    #[inline]
    pub(crate) fn known(answer: T) -> Self {
        Self(Source::Memory(Some(Ok(answer))))
    }

    pub(crate) fn asked(call: impl Future<Output = Result<T, Error>> + Send + 'a) -> Self {
        Self(Source::Database(Box::pin(call)))
    }
}

impl<T> fmt::Debug for Answer<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}

// Nothing in an answer is borrowed from the answer itself.
impl<T> Unpin for Answer<'_, T> {}

impl<T> Future for Answer<'_, T> {
    type Output = Result<T, Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            #[cfg(feature = "cache")]
            Source::Memory(answer) => {
                // Otherwise, tasks that find all they need in memory never let others run, such as
                // the one that listens. If the task has used up its budget, the call is polled
                // again in its next turn.
                ready!(pin!(tokio::task::consume_budget()).poll(context));
                Poll::Ready(answer.take().expect("a future is not polled after its end"))
            }
            Source::Database(call) => call.as_mut().poll(context),
        }
    }
}
