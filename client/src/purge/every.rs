//! Purges in the background, for databases without pg_cron.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_postgres::types::Type;

use crate::error::Error;
use crate::random::fraction;
use crate::store::Store;

/// The advisory lock of the process that purges.
const LOCK: i64 = i64::from_be_bytes(*b"qsession");
/// How many sessions one transaction deletes.
const BATCH_SIZE: i32 = 1000;
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
/// Before the first attempt after one that has failed.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// A task that purges, started by [`Store::purge_every`](crate::Store::purge_every). Dropping this
/// ends the task after the statement that it is waiting for.
#[must_use = "the task ends when this is dropped"]
pub struct PurgeTask {
    progress: Arc<Progress>,
    /// The task ends when this is dropped.
    running: watch::Sender<()>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Progress {
    purged: AtomicU64,
    skipped: AtomicU64,
    last_error: Mutex<Option<Error>>,
}

impl PurgeTask {
    /// How many sessions this task has deleted.
    #[must_use]
    pub fn purged(&self) -> u64 {
        self.progress.purged.load(Ordering::Relaxed)
    }

    /// How many rounds this task has left to another process, which was purging at that moment.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.progress.skipped.load(Ordering::Relaxed)
    }

    /// Why the last attempt has failed. `None`: it has not.
    #[must_use]
    pub fn last_error(&self) -> Option<Error> {
        self.progress.last_error().clone()
    }

    /// Ends the task, and waits until it has ended.
    pub async fn stop(self) {
        drop(self.running);
        // A task that does not panic, and that only its runtime can abort.
        let _ = self.task.await;
    }
}

impl fmt::Debug for PurgeTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PurgeTask")
            .field("purged", &self.purged())
            .field("skipped", &self.skipped())
            .field("last_error", &self.last_error())
            .finish_non_exhaustive()
    }
}

impl Progress {
    fn last_error(&self) -> std::sync::MutexGuard<'_, Option<Error>> {
        self.last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store<Pool> {
    /// Starts a task that deletes expired sessions at this interval, for a database where
    /// [`schedule_purge`](Store::schedule_purge) cannot be used because it has no pg_cron.
    ///
    /// Every process of an application can have such a task, because an advisory lock of the
    /// database lets one of them purge at a time. The others leave the round to it. Each batch of
    /// 1,000 sessions is a transaction of its own, so that the task works through a pooler in
    /// transaction mode. The intervals vary by a quarter. The task tries again after an error; the
    /// pauses begin with a second, double, and are never longer than the interval.
    ///
    /// The role needs the privilege to delete sessions, as `grant_access` grants it. Old events are
    /// dropped only if it owns the table of events.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] if the interval is shorter than a second, or if the caller is not
    /// in a tokio runtime.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// let purging = store.purge_every(Duration::from_secs(300))?;
    /// // … for as long as the application runs.
    /// println!("{} sessions deleted, {:?}", purging.purged(), purging.last_error());
    /// purging.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn purge_every(&self, interval: Duration) -> Result<PurgeTask, Error> {
        if interval < SHORTEST_INTERVAL {
            return Err(Error::configuration(
                "the interval of purges must be at least one second",
            ));
        }
        let runtime = Handle::try_current()
            .map_err(|_| Error::configuration("a task that purges needs a tokio runtime"))?;
        let progress = Arc::new(Progress::default());
        let (running, stopped) = watch::channel(());
        let purger = Purger {
            store: self.clone(),
            progress: Arc::clone(&progress),
            stopped,
        };
        Ok(PurgeTask {
            progress,
            running,
            task: runtime.spawn(purger.run(interval)),
        })
    }
}

struct Purger {
    store: Store,
    progress: Arc<Progress>,
    /// Closed when the task has to end.
    stopped: watch::Receiver<()>,
}

impl Purger {
    async fn run(mut self, interval: Duration) {
        let mut pause_after_error = SHORTEST_PAUSE;
        // Processes that were started at the same time do not purge at the same time.
        let mut pause = interval.mul_f64(fraction());
        loop {
            tokio::select! {
                _ = self.stopped.changed() => return,
                () = sleep(pause) => {}
            }
            let error = self.purge().await.err();
            pause = if let Some(error) = &error {
                log_failure(error);
                let pause = pause_after_error.min(interval);
                pause_after_error = pause.saturating_mul(2);
                pause
            } else {
                pause_after_error = SHORTEST_PAUSE;
                interval
            };
            pause = pause.mul_f64(0.75 + fraction() / 2.0);
            *self.progress.last_error() = error;
        }
    }

    async fn purge(&self) -> Result<(), Error> {
        while self.stopped.has_changed().is_ok() {
            let Some(purged) = self.purge_batch().await? else {
                self.progress.skipped.fetch_add(1, Ordering::Relaxed);
                break;
            };
            let purged = purged.unsigned_abs();
            self.progress.purged.fetch_add(purged, Ordering::Relaxed);
            // Rows that are locked or cannot be deleted make a batch smaller. Rows that have
            // expired since the last batch can wait for the next round.
            if purged < BATCH_SIZE.unsigned_abs() as u64 / 10 {
                break;
            }
        }
        Ok(())
    }

    /// The statement is a transaction, which holds the lock until its end. `None`: another process
    /// is purging.
    async fn purge_batch(&self) -> Result<Option<i64>, Error> {
        let database = &self.store.database;
        database
            .value(
                "SELECT CASE WHEN pg_catalog.pg_try_advisory_xact_lock($1::bigint) \
                 THEN qsessions.purge_expired(batch_size => $2::integer) END",
                &[(&LOCK, Type::INT8), (&BATCH_SIZE, Type::INT4)],
            )
            .await
    }
}

fn log_failure(error: &Error) {
    #[cfg(feature = "tracing")]
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "expired sessions were not purged"
    );
    #[cfg(not(feature = "tracing"))]
    let _ = error;
}
