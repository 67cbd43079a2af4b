//! What must be in the session table, by what the writers were told.
//!
//! A change whose confirmation did not arrive may have been made or not. Until a look at the row,
//! the book holds both for possible. What a look shows is certain from then on.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use uuid::Uuid;

/// What the last change has left in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fact {
    /// The version.
    pub version: i64,
    /// The number in the data, which identifies the change.
    pub token: i64,
}

/// Whether a session is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It has not ended, other than by its expiry.
    Live,
    /// Its end was requested, and not confirmed.
    MaybeEnded,
    /// Its end was confirmed, so there is no row.
    Ended,
    /// It has expired. A purge may not have come yet.
    Expired,
}

/// A session.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its id.
    pub id: Uuid,
    /// Its key, unless a rotation was not confirmed.
    pub key: Option<String>,
    /// Its idle timeout. Without one, its expiry is fixed.
    pub idle: Option<Duration>,
    /// Whether it is there.
    pub life: Life,
    /// What is known to have been saved.
    pub fact: Fact,
    /// What may have been saved since.
    pub maybe: Option<Fact>,
    /// It is alive before this time, unless it was ended.
    pub low: SystemTime,
    /// It has expired from this time on.
    pub high: SystemTime,
}

impl Session {
    /// A call has found it alive. The call began at this time.
    pub fn found(&mut self, start: SystemTime) -> Result<(), String> {
        let id = self.id;
        match self.life {
            Life::Ended => return Err(format!("{id} was found alive after its end")),
            Life::Expired => {
                return Err(format!(
                    "{id} was found alive after it had expired, and was not found"
                ));
            }
            Life::Live | Life::MaybeEnded => {}
        }
        if start >= self.high {
            return Err(format!("{id} was found alive after it had expired"));
        }
        self.life = Life::Live;
        Ok(())
    }

    /// A call that ended at this time has not found it alive. Returns whether that is certain. If
    /// not, a visit that began before the expiry may be about to move it.
    pub fn not_found(&mut self, end: SystemTime) -> Result<bool, String> {
        if self.life == Life::Live && end < self.low {
            let id = self.id;
            self.life = Life::Ended;
            return Err(format!("{id} was lost while it was alive"));
        }
        if matches!(self.life, Life::Ended | Life::Expired) {
            return Ok(true);
        }
        if self.idle.is_some() && end < self.high {
            self.low = SystemTime::UNIX_EPOCH;
            return Ok(false);
        }
        self.life = Life::Expired;
        Ok(true)
    }

    /// There was no row at this time, and never will be again.
    pub fn gone(&mut self, at: SystemTime) -> Result<(), String> {
        self.not_found(at)?;
        if self.life != Life::Ended {
            self.life = Life::Expired;
        }
        Ok(())
    }

    /// It was not alive when no visit could be about to move its expiry.
    pub fn expired(&mut self) {
        if self.life != Life::Ended {
            self.life = Life::Expired;
        }
    }

    /// Its row was read, live or not.
    pub fn read(&mut self, fact: Fact) -> Result<(), String> {
        let (id, known, maybe) = (self.id, self.fact, self.maybe.take());
        self.fact = fact;
        if fact != known && Some(fact) != maybe {
            return Err(format!(
                "{id} has {fact:?}, but was left with {known:?}, or perhaps {maybe:?}"
            ));
        }
        Ok(())
    }

    /// A visit at this time may be recorded, which moves a sliding expiry.
    pub fn may_be_visited(&mut self, at: SystemTime) {
        if let Some(idle) = self.idle {
            self.high = self.high.max(at + idle);
        }
    }
}

/// What has happened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Sessions created.
    pub created: u64,
    /// Confirmed changes.
    pub changed: u64,
    /// Confirmed ends.
    pub ended: u64,
    /// Changes that were not confirmed.
    pub unknown: u64,
    /// Calls that the server has rolled back, because they waited too long for a lock.
    pub refused: u64,
    /// Loads and visits of sessions that have ended or expired, which found nothing.
    pub looked_at_dead: u64,
    /// Visits that were recorded.
    pub visits: u64,
    /// Rows that were purged, as far as it was confirmed.
    pub purged: u64,
}

/// The sessions of all writers.
#[derive(Debug, Default)]
pub struct Book {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    sessions: HashMap<Uuid, Arc<Mutex<Session>>>,
    list: Vec<Arc<Mutex<Session>>>,
    /// The numbers in the data of sessions whose creation was not confirmed.
    unconfirmed: HashSet<i64>,
    violations: Vec<String>,
    counts: Counts,
    tokens: i64,
}

/// A session, locked.
pub fn lock(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Book {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for the data of a change.
    pub fn token(&self) -> i64 {
        let mut inner = self.inner();
        inner.tokens += 1;
        inner.tokens
    }

    /// Adds a session that was created.
    pub fn created(&self, session: Session) -> Arc<Mutex<Session>> {
        let mut inner = self.inner();
        inner.counts.created += 1;
        let id = session.id;
        let session = Arc::new(Mutex::new(session));
        inner.sessions.insert(id, Arc::clone(&session));
        inner.list.push(Arc::clone(&session));
        session
    }

    /// Adds a session that may have been created.
    pub fn maybe_created(&self, token: i64) {
        self.inner().unconfirmed.insert(token);
    }

    /// Any of the sessions.
    pub fn any(&self, rng: &mut fastrand::Rng) -> Option<Arc<Mutex<Session>>> {
        let inner = self.inner();
        // Most often one of the latest: the others have ended.
        let list = match inner.list.len() {
            length @ 400.. if rng.u32(0..10) > 0 => &inner.list[length - 400..],
            _ => &inner.list,
        };
        (!list.is_empty()).then(|| Arc::clone(&list[rng.usize(..list.len())]))
    }

    /// Counts something.
    pub fn count(&self, add: impl FnOnce(&mut Counts)) {
        add(&mut self.inner().counts);
    }

    /// Records what is wrong.
    pub fn violation(&self, what: String) {
        self.inner().violations.push(what);
    }

    /// Records what is wrong, if anything is.
    pub fn check(&self, result: Result<(), String>) {
        if let Err(what) = result {
            self.violation(what);
        }
    }

    /// Compares a row that is left at the end with what is known. The session was alive at this
    /// time, before the last purge.
    pub fn left(&self, id: Uuid, fact: Fact, expires_at: SystemTime, alive_at: SystemTime) {
        let (session, is_unconfirmed) = {
            let mut inner = self.inner();
            let is_unconfirmed = inner.unconfirmed.remove(&fact.token);
            (inner.sessions.get(&id).cloned(), is_unconfirmed)
        };
        let Some(session) = session else {
            if !is_unconfirmed {
                self.violation(format!("no writer has created {id}, which is left"));
            }
            return;
        };
        let mut session = lock(&session);
        self.check(session.found(alive_at));
        self.check(session.read(fact));
        if expires_at < session.low || expires_at > session.high {
            let Session { low, high, .. } = *session;
            self.violation(format!(
                "{id} expires at {expires_at:?}, but must between {low:?} and {high:?}"
            ));
        }
    }

    /// Compares what is not left at the end, at this time, with what is known.
    pub fn missing(&self, left: &HashSet<Uuid>, at: SystemTime) {
        let list = self.inner().list.clone();
        for session in list {
            let mut session = lock(&session);
            if !left.contains(&session.id) {
                self.check(session.gone(at));
            }
        }
    }

    /// What was found wrong.
    pub fn violations(&self) -> Vec<String> {
        self.inner().violations.clone()
    }

    /// What has happened.
    pub fn counts(&self) -> Counts {
        self.inner().counts
    }
}
