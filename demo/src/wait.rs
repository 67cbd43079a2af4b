//! Waiting for conditions.

use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval, timeout};

use qsessions_testkit::Result;

/// Longer than any step of the demo takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn seconds_of_the_minute() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default().as_secs() % 60
}

/// Returns when the condition is true.
pub(crate) async fn until<F>(what: &str, limit: Duration, mut is_so: impl FnMut() -> F) -> Result
where
    F: Future<Output = Result<bool>>,
{
    let mut again = interval(Duration::from_millis(50));
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let asking = async {
        while !is_so().await? {
            again.tick().await;
        }
        Ok(())
    };
    timeout(limit, asking)
        .await
        .unwrap_or_else(|_| Err(format!("timed out after {limit:?}, waiting until {what}").into()))
}
