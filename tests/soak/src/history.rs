//! The history of a process: one event for each call, in the order in which the calls ended.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Result;

/// A time of `CLOCK_MONOTONIC` in nanoseconds, which is the same in all processes of a machine.
pub type Nanos = u64;

/// The current time.
///
/// # Panics
///
/// If the system has no such clock.
#[must_use]
pub fn now() -> Nanos {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the machine has a monotonic clock");
    Duration::from(now).as_nanos() as Nanos
}

/// A hash of a key, because the history must not contain keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyHash(pub u64);

impl KeyHash {
    /// The hash of a key, which is the same in all processes.
    #[must_use]
    pub fn of(key: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// A call and its result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The process that made the call.
    pub process: usize,
    /// A description of the call.
    pub operation: String,
    /// The time just before the call.
    pub start: Nanos,
    /// The time just after the call returned or was cancelled.
    pub end: Nanos,
    /// The result.
    pub deed: Deed,
}

/// The result of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Deed {
    /// A load returned a session or nothing.
    Load {
        /// The key of the load.
        key: KeyHash,
        /// The session, or `None`.
        found: Option<Found>,
    },
    /// A load failed, which is allowed if the database had to answer it.
    Failure,
    /// A change, or an attempt to make one.
    Change {
        /// Whether the change is known to be committed.
        outcome: Outcome,
        /// The time from which loads of the same process must see the change; `None` if there is no
        /// such guarantee.
        known: Option<Nanos>,
        /// The effects that the change had or may have had.
        effects: Vec<Effect>,
    },
}

/// Whether a change was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The change was committed before the call ended.
    Done,
    /// The connection failed or the call was cancelled. The change may have been committed, or may
    /// be committed later.
    Unknown,
}

/// The session that a load returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its public id.
    pub id: Uuid,
    /// Its version.
    pub version: i64,
    /// The number in its data, which identifies the change that wrote the data.
    pub token: u64,
}

/// One effect of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// The session has this key from this change on.
    KeyBegan {
        /// Of the session.
        id: Uuid,
        /// The key.
        key: KeyHash,
    },
    /// The session has a new key from this change on, and no other except a former one.
    Rekeyed {
        /// Of the session.
        id: Uuid,
        /// The new key.
        key: KeyHash,
        /// The key until now, if it has a grace.
        former: Option<Former>,
    },
    /// This key is dead from this change on, if it ever was live.
    KeyEnded {
        /// The key.
        key: KeyHash,
    },
    /// The data of the session was replaced.
    Saved {
        /// Of the session.
        id: Uuid,
        /// The new version, if the call returns it.
        version: Option<i64>,
        /// The number in the data.
        token: u64,
    },
    /// The session belongs to this user from this change on.
    Owned {
        /// Of the session.
        id: Uuid,
        /// The user.
        user: i64,
    },
    /// These sessions are dead from this change on, except those that began later.
    Ended {
        /// The sessions.
        who: Who,
        /// The key of a session that is excluded.
        except: Option<KeyHash>,
    },
    /// Some of these sessions may be dead.
    MayEnd {
        /// The sessions that may be dead.
        who: Who,
    },
    /// The session expires at this time.
    Expires {
        /// Of the session.
        id: Uuid,
        /// The time; [`Nanos::MAX`] for never.
        at: Nanos,
    },
    /// The session was visited, and does not expire before this time.
    Visited {
        /// The session.
        id: Uuid,
        /// The time.
        until: Nanos,
    },
}

/// A key that was rotated with a grace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// The key.
    pub key: KeyHash,
    /// For how long it opens the session after the rotation.
    pub grace: Nanos,
}

/// The sessions that a change affects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Who {
    /// One session.
    Session(Uuid),
    /// The sessions of a user.
    User(i64),
    /// All sessions.
    Everybody,
}

/// The file to which a process writes its events.
#[derive(Debug)]
pub struct Log(Mutex<BufWriter<File>>);

impl Log {
    /// Begins the history of a process.
    ///
    /// # Errors
    ///
    /// If the file cannot be created.
    pub fn create(folder: &Path, process: usize) -> Result<Self> {
        let file = File::create(path(folder, process))?;
        Ok(Self(Mutex::new(BufWriter::new(file))))
    }

    /// Writes an event.
    ///
    /// # Panics
    ///
    /// If it cannot be written, because a history with gaps proves nothing.
    pub fn write(&self, event: &Event) {
        let line = serde_json::to_string(event).expect("an event can be written");
        let mut file = self.0.lock().expect("no thread panics while it writes");
        writeln!(file, "{line}").expect("the history can be written");
    }

    /// Ends the history.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn finish(&self) -> Result<()> {
        let mut file = self.0.lock().map_err(|_| "another thread panicked")?;
        Ok(file.flush()?)
    }
}

fn path(folder: &Path, process: usize) -> PathBuf {
    folder.join(format!("history-{process}.jsonl"))
}

/// Reads the histories of all processes and sorts them by the start of calls.
///
/// # Errors
///
/// If a history is missing or incomplete.
pub fn read(folder: &Path, processes: usize) -> Result<Vec<Event>> {
    let mut events = Vec::new();
    for process in 0..processes {
        for line in BufReader::new(File::open(path(folder, process))?).lines() {
            events.push(serde_json::from_str::<Event>(&line?)?);
        }
    }
    events.sort_by_key(|event| event.start);
    Ok(events)
}
