//! Results that all readers share for a while.

use std::future::Future;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// A result that is read again when it is older than its lifetime. Readers that come while it is
/// being read wait for it, so that no number of open pages multiplies the queries.
pub(crate) struct Cached<T> {
    lifetime: Duration,
    held: Mutex<Option<(Instant, T)>>,
}

impl<T: Clone> Cached<T> {
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            held: Mutex::new(None),
        }
    }

    /// An error is not kept.
    pub(crate) async fn get<E>(&self, read: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let mut held = self.held.lock().await;
        if let Some((at, value)) = &*held
            && at.elapsed() < self.lifetime
        {
            return Ok(value.clone());
        }
        let value = read.await?;
        *held = Some((Instant::now(), value.clone()));
        Ok(value)
    }
}
