//! Results that all readers share for a while.

use crate::problem::Problem;
use std::future::Future;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// A result that is read again when it is older than its lifetime. Readers that come while it is
/// being read wait for it, so that no number of open pages multiplies the queries.
pub(crate) struct Cached<T> {
    lifetime: Duration,
    held: Mutex<Option<(Instant, Result<T, Problem>)>>,
}

impl<T: Clone> Cached<T> {
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            held: Mutex::new(None),
        }
    }

    /// A problem is not kept, but those who have waited for it share it: one after the other, each
    /// would wait as long again for a database that does not answer.
    pub(crate) async fn get(
        &self,
        read: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let came = Instant::now();
        let mut held = self.held.lock().await;
        if let Some((at, result)) = &*held {
            let is_good = match result {
                Ok(_) => at.elapsed() < self.lifetime,
                Err(_) => came < *at,
            };
            if is_good {
                return result.clone();
            }
        }
        let result = read.await;
        *held = Some((Instant::now(), result.clone()));
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn those_who_wait_share_a_problem_and_the_next_one_reads_again() {
        let cached = Cached::<u8>::new(Duration::from_secs(3600));
        let reads = AtomicUsize::new(0);
        let fail = || {
            cached.get(async {
                reads.fetch_add(1, Ordering::Relaxed);
                // The others come meanwhile.
                tokio::task::yield_now().await;
                Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "No", ""))
            })
        };
        let results = tokio::join!(fail(), fail(), fail());
        assert!(results.0.is_err() && results.1.is_err() && results.2.is_err());
        assert_eq!(reads.load(Ordering::Relaxed), 1);
        assert!(fail().await.is_err());
        assert_eq!(reads.load(Ordering::Relaxed), 2);
        assert_eq!(cached.get(async { Ok(7) }).await.ok(), Some(7));
        assert_eq!(cached.get(async { Ok(8) }).await.ok(), Some(7));
    }
}
