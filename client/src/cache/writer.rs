//! Writes pending visits, many in one statement.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use deadpool_postgres::{PoolError, TimeoutType};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::cache::core::Cache;
use crate::cache::entries::{CacheKey, FillGuard};
use crate::cache::entry::Recorded;
use crate::cache::link::Origin;
use crate::cache::lock::lock;
use crate::cache::log;
use crate::cache::visits::BATCH;
use crate::error::{Error, ErrorKind};
use crate::visits::{Visit, record};
use crate::wire::{instant, past_instant};

/// How long a visit waits for others. With the time that the statement takes, it is written within
/// a second.
const INTERVAL: Duration = Duration::from_millis(750);
/// For a statement. A connection that hangs must not stop the writer for as long as a session lives
/// whose visit was left to it.
const PATIENCE: Duration = Duration::from_secs(3);
/// For the last visits, after the store was dropped.
const LAST_PATIENCE: Duration = Duration::from_secs(10);
/// Where so many statements in a row have failed, the visits are not at fault.
const MOST_FAILURES: usize = 16;
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often a flush tries again to write visits of sessions that other transactions are changing.
const FLUSHES: usize = 20;
const FLUSH_PAUSE: Duration = Duration::from_millis(50);

type Pending = (CacheKey, Arc<Visit>);

/// Writes visits soon after they were added. When the store is dropped, it writes the last ones and
/// ends.
pub(crate) async fn run(cache: Arc<Cache>, mut open: watch::Receiver<()>) {
    let visits = &cache.visits;
    let mut pause = SHORTEST_PAUSE;
    loop {
        let wait = async {
            if visits.len() == 0 {
                // A flush may have written all after this task had given up.
                visits.set_failing(false);
                visits.any.notified().await;
            }
            if visits.len() < BATCH {
                let _ = timeout(INTERVAL, visits.many.notified()).await;
            }
        };
        tokio::select! {
            () = wait => {}
            _ = open.changed() => break,
        }
        let rest = match cache.write_visits().await {
            Ok(skipped) => {
                pause = SHORTEST_PAUSE;
                if skipped == 0 {
                    continue;
                }
                SHORTEST_PAUSE
            }
            Err(_) => {
                let rest = pause;
                pause = (pause * 2).min(LONGEST_PAUSE);
                rest
            }
        };
        tokio::select! {
            () = sleep(rest) => {}
            // A flush has succeeded, and requests leave visits here again.
            () = visits.any.notified() => {}
            _ = open.changed() => break,
        }
    }
    let _ = timeout(LAST_PATIENCE, async {
        while cache.flush_visits().await.is_err() {
            sleep(SHORTEST_PAUSE).await;
        }
    })
    .await;
}

impl Cache {
    /// Writes all visits that are pending now. Those of sessions that other transactions keep
    /// changing can be left.
    pub(crate) async fn flush_visits(&self) -> Result<(), Error> {
        for _ in 0..FLUSHES {
            if self.write_visits().await? == 0 {
                break;
            }
            sleep(FLUSH_PAUSE).await;
        }
        Ok(())
    }

    /// Writes the visits that are pending now, and returns how many of them were skipped because
    /// another transaction is changing the session.
    async fn write_visits(&self) -> Result<usize, Error> {
        let _writing = self.visits.writing.lock().await;
        let mut skipped = 0;
        for batch in batches(&self.visits.all()) {
            match self.write_batch(&batch).await {
                Ok(count) => skipped += count,
                Err(error) => {
                    self.counters.visit_errors.increment(1);
                    if self.visits.set_failing(true) {
                        log::visits_wait(&error.to_string());
                    }
                    return Err(error);
                }
            }
        }
        if self.visits.set_failing(false) {
            self.visits.any.notify_one();
            log::visits_written();
        }
        Ok(skipped)
    }

    /// Writes one visit, for a call that is about to change the key of the session. It does not
    /// wait for the writer, which may be writing the same visit.
    pub(crate) async fn write_visit(&self, key: CacheKey, visit: Arc<Visit>) {
        // If it fails, then the call that follows does its work all the same, or says why not.
        let _ = self.write_batch(&[(key, visit)]).await;
    }

    /// A constraint, a trigger or a policy of the application can refuse a visit. Then the halves of
    /// the batch are written, until the visit is found, which is dropped.
    async fn write_batch(&self, batch: &[Pending]) -> Result<usize, Error> {
        let mut skipped = 0;
        // In a row.
        let mut failures = 0;
        let mut is_anything_written = false;
        let mut refused = Vec::new();
        let mut batches = VecDeque::from([batch]);
        while let Some(batch) = batches.pop_front() {
            let error = match timeout(PATIENCE, self.write(batch)).await {
                Ok(Ok(count)) => {
                    skipped += count;
                    failures = 0;
                    is_anything_written |= count < batch.len();
                    continue;
                }
                Ok(Err(error)) => error,
                Err(_) => Error::Pool(Arc::new(PoolError::Timeout(TimeoutType::Wait))),
            };
            failures += 1;
            if !is_refusal(&error) || failures >= MOST_FAILURES {
                return Err(error);
            }
            if let [visit] = batch {
                refused.push((visit, error));
            } else {
                // The halves wait behind the others, so that the first few statements show whether
                // all are refused.
                let (first, last) = batch.split_at(batch.len() / 2);
                batches.extend([first, last]);
            }
        }
        // A role that lacks a privilege is told the same of each visit.
        let are_others_written = self.visits.take_others_written() || is_anything_written;
        for ((key, visit), error) in refused {
            if !are_others_written && !error.is_caller_error() {
                return Err(error);
            }
            self.visits.settle(key, visit);
            self.counters.visits_refused.increment(1);
            log::visit_refused(key.id, &error);
        }
        // A statement that was refused may hold its locks a moment longer, so that the refused visit
        // is skipped, and is tried again alone.
        if skipped > 0 && is_anything_written {
            self.visits.note_others_written();
        }
        Ok(skipped)
    }

    /// Whether this is the database that is listened to, or was while the link is down: visits were
    /// left here only while it was up.
    fn is_where_visits_belong(&self, origin: &Origin) -> bool {
        let mut known = lock(&self.visits.origins);
        let origins = self.stations.origins();
        if !origins.is_empty() {
            *known = origins;
        }
        known.contains(origin)
    }

    /// Writes visits with one statement, and takes in the new state of the sessions.
    async fn write(&self, batch: &[Pending]) -> Result<usize, Error> {
        let (generation, now) = (self.fill_generation(), self.stations.now());
        let fills: Vec<FillGuard> = batch
            .iter()
            .map(|(key, _)| self.entries.fill(*key, now, generation))
            .collect();
        let visits: Vec<&Visit> = batch.iter().map(|(_, visit)| visit.as_ref()).collect();
        let rows = record(&self.database, RECORD, &visits, row).await?;
        let mut sessions = HashMap::with_capacity(rows.len());
        let mut is_ours = false;
        for (origin, session) in rows {
            is_ours = self.is_where_visits_belong(&origin);
            sessions.extend(session.map(|session| (session.id, session)));
        }
        if !is_ours {
            // The sessions may not be there.
            return Err(Error::Listener {
                message: "the pool has reached another server or database".to_owned(),
            });
        }
        let mut skipped = HashSet::new();
        let mut written = HashSet::new();
        for ((key, visit), fill) in batch.iter().zip(&fills) {
            let session = sessions.get(&key.id);
            if session.is_some_and(|session| session.is_skipped) {
                skipped.insert(key.id);
                continue;
            }
            let is_last = self.visits.settle(key, visit);
            match session {
                // It has ended, or has another key.
                None => self.entries.drop_session(key.id),
                Some(session) => {
                    let recorded = &session.recorded;
                    self.entries
                        .update(fill, |entry| entry.after_write(recorded, is_last));
                }
            }
            if session.is_some_and(|session| session.is_written) {
                written.insert(key.id);
            }
        }
        self.counters.visits_written.increment(written.len() as u64);
        Ok(skipped.len())
    }
}

/// Parts of the visits, in their order. Neighbours in the table come in different parts, so that each
/// statement writes few rows of a page. The next one finds room there for new versions of other rows,
/// and need not write indexes. Visits of one session by two keys stay together.
fn batches(pending: &[Pending]) -> Vec<Vec<Pending>> {
    let count = pending.len().div_ceil(BATCH);
    let mut batches = vec![Vec::with_capacity(BATCH); count];
    for (number, session) in pending
        .chunk_by(|one, next| one.0.id == next.0.id)
        .enumerate()
    {
        batches[number % count].extend_from_slice(session);
    }
    batches
}

/// Whether the server has refused what it was asked, and has not only failed.
fn is_refusal(error: &Error) -> bool {
    error.is_caller_error()
        || matches!(error, Error::Database(_)) && error.kind() == ErrorKind::Setup
}

/// A session that a visit was recorded for.
struct RecordedSession {
    id: Uuid,
    recorded: Recorded,
    is_written: bool,
    is_skipped: bool,
}

/// Where the visits were written is told even if no session was found.
const RECORD: &str = "SELECT pg_catalog.pg_postmaster_start_time(), pg_catalog.current_database(), \
     id, last_seen_at, expires_at, visit_due_at, is_written, is_skipped \
     FROM (VALUES (1)) AS one \
     LEFT JOIN qsessions.record_visits_for_cache(ids => $1::uuid[], digests => $2::bytea[], \
     ips => $3::inet[], user_agents => $4::text[], seen_at => $5::timestamptz[], \
     client_hints => $6::jsonb[]) ON true";

fn row(row: &Row) -> Result<(Origin, Option<RecordedSession>), Error> {
    let origin = Origin {
        started_at: past_instant(row, 0)?,
        database: row.try_get(1)?,
    };
    let Some(id) = row.try_get(2)? else {
        return Ok((origin, None));
    };
    let last_seen_at: SystemTime = past_instant(row, 3)?;
    let session = RecordedSession {
        id,
        recorded: Recorded {
            last_seen_at,
            expires_at: instant(row, 4)?,
            visit_due_at: instant(row, 5)?.unwrap_or(last_seen_at),
        },
        is_written: row.try_get(6)?,
        is_skipped: row.try_get(7)?,
    };
    Ok((origin, Some(session)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::Visitor;

    #[test]
    fn neighbours_are_written_by_different_statements() {
        let pending: Vec<Pending> = (0..2 * BATCH as u128 + 1)
            .map(|id| {
                let (id, digest) = (Uuid::from_u128(id), [7; 32]);
                let visit = Visit::of(id, digest, SystemTime::UNIX_EPOCH, Visitor::default());
                (CacheKey { id, digest }, Arc::new(visit))
            })
            .collect();
        let ids = |batch: &[Pending]| batch.iter().map(|(key, _)| key.id).collect::<Vec<_>>();
        let parts: Vec<_> = batches(&pending).iter().map(|batch| ids(batch)).collect();
        assert_eq!(parts.len(), 3);
        for part in &parts {
            assert!(part.len() <= BATCH);
            assert!(
                part.windows(2)
                    .all(|two| two[1].as_u128() == two[0].as_u128() + 3)
            );
        }
        let mut all = parts.concat();
        all.sort_unstable();
        assert_eq!(all, ids(&pending));
        assert_eq!(batches(&pending[..BATCH]).len(), 1);
        assert_eq!(batches(&[]).len(), 0);
    }
}
