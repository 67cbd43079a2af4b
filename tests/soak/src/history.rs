//! What the processes write down: one event for each call, in the order of their ends.

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

/// An instant of `CLOCK_MONOTONIC` in nanoseconds, the same in all processes of a machine.
pub type Nanos = u64;

/// Now.
///
/// # Panics
///
/// Where the system has no such clock.
#[must_use]
pub fn now() -> Nanos {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the machine has a monotonic clock");
    Duration::from(now).as_nanos() as Nanos
}

/// Stands for a key, which is written nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyHash(pub u64);

impl KeyHash {
    /// The same in all processes.
    #[must_use]
    pub fn of(key: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// One call and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Which process made it.
    pub process: usize,
    /// What it was, for people.
    pub operation: String,
    /// Just before it was called.
    pub start: Nanos,
    /// Just after it returned, or was given up.
    pub end: Nanos,
    /// What came of it.
    pub deed: Deed,
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Deed {
    /// A load was answered.
    Load {
        /// What was asked for.
        key: KeyHash,
        /// `None`: no session.
        found: Option<Found>,
    },
    /// A load failed, as those may that the database has to answer.
    Failure,
    /// Something was changed, or that was tried.
    Change {
        /// Whether it is known to be committed.
        outcome: Outcome,
        /// From when on loads of the same process must see it; `None` if nothing is said of that.
        known: Option<Nanos>,
        /// What it did, or may have done.
        effects: Vec<Effect>,
    },
}

/// Whether a change has come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Committed before the call ended.
    Done,
    /// The connection failed, or nobody waited any longer: it may have been committed, or may be later.
    Unknown,
}

/// The session that a load came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its public id.
    pub id: Uuid,
    /// Its version.
    pub version: i64,
    /// What its data says of the change that made it: each has a number of its own.
    pub token: u64,
}

/// A part of what a change does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// The session has this key from now on.
    KeyBegan {
        /// Of the session.
        id: Uuid,
        /// The key.
        key: KeyHash,
    },
    /// This key is dead from now on, if it ever was alive.
    KeyEnded {
        /// The key.
        key: KeyHash,
    },
    /// The session has other data.
    Saved {
        /// Of the session.
        id: Uuid,
        /// Its version, if the call says.
        version: Option<i64>,
        /// What the data says.
        token: u64,
    },
    /// The session is this user's from now on, to its end.
    Owned {
        /// Of the session.
        id: Uuid,
        /// Whose it is.
        user: i64,
    },
    /// Dead from now on, unless they began later.
    Ended {
        /// Which sessions.
        who: Who,
        /// But not the one with this key.
        except: Option<KeyHash>,
    },
    /// Some of them may be dead.
    MayEnd {
        /// Of which sessions.
        who: Who,
    },
    /// The session expires then.
    Expires {
        /// Of the session.
        id: Uuid,
        /// When; [`Nanos::MAX`] for never.
        at: Nanos,
    },
}

/// Sessions that a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Who {
    /// One.
    Session(Uuid),
    /// Those of a user.
    User(i64),
    /// All.
    Everybody,
}

/// Where a process writes its events.
#[derive(Debug)]
pub struct Log(Mutex<BufWriter<File>>);

impl Log {
    /// Begins the history of a process.
    ///
    /// # Errors
    ///
    /// When the file can't be made.
    pub fn create(folder: &Path, process: usize) -> Result<Self> {
        let file = File::create(path(folder, process))?;
        Ok(Self(Mutex::new(BufWriter::new(file))))
    }

    /// Writes an event down.
    ///
    /// # Panics
    ///
    /// When it can't be written: a history with gaps proves nothing.
    pub fn write(&self, event: &Event) {
        let line = serde_json::to_string(event).expect("an event can be written");
        let mut file = self.0.lock().expect("nobody panics while writing");
        writeln!(file, "{line}").expect("the history can be written");
    }

    /// Ends the history.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn finish(&self) -> Result<()> {
        let mut file = self.0.lock().map_err(|_| "somebody panicked")?;
        Ok(file.flush()?)
    }
}

fn path(folder: &Path, process: usize) -> PathBuf {
    folder.join(format!("history-{process}.jsonl"))
}

/// The histories of so many processes as one, in the order of starts.
///
/// # Errors
///
/// When one is missing or not whole.
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
