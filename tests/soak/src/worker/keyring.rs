//! The keys of all processes, in a file to which each appends.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use fastrand::Rng;
use qsessions::Key;
use uuid::Uuid;

use crate::Result;
use crate::history::KeyHash;

/// A key of a session.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) key: Key,
    pub(super) id: Uuid,
}

impl Known {
    pub(super) fn hash(&self) -> KeyHash {
        KeyHash::of(self.key.expose())
    }
}

pub(super) struct Keyring {
    writer: File,
    reader: Mutex<Reader>,
}

struct Reader {
    file: File,
    /// The part of an incomplete line that another process is writing.
    rest: String,
    keys: Vec<Known>,
}

impl Keyring {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("keys");
        let writer = OpenOptions::new().create(true).append(true).open(&path)?;
        let reader = Reader {
            file: File::open(path)?,
            rest: String::new(),
            keys: Vec::new(),
        };
        Ok(Self {
            writer,
            reader: Mutex::new(reader),
        })
    }

    /// Adds a key for all processes.
    pub(super) fn publish(&self, known: &Known) {
        let line = format!("{} {}\n", known.id, known.key.expose());
        // A single system call, so that lines of several processes do not mix.
        (&self.writer)
            .write_all(line.as_bytes())
            .expect("a key can be written");
    }

    /// A random key, usually a recent one.
    pub(super) fn pick(&self, rng: &mut Rng) -> Option<Known> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        reader.read();
        let among = match rng.u32(0..10) {
            0..6 => 24,
            6..9 => 250,
            _ => usize::MAX,
        };
        let count = reader.keys.len();
        let oldest = count.saturating_sub(among);
        (count > 0).then(|| reader.keys[rng.usize(oldest..count)].clone())
    }
}

impl Reader {
    fn read(&mut self) {
        let before = self.rest.len();
        self.file
            .read_to_string(&mut self.rest)
            .expect("the keys can be read");
        if self.rest.len() == before {
            return;
        }
        let whole = self.rest.rfind('\n').map_or(0, |end| end + 1);
        let rest = self.rest.split_off(whole);
        for line in std::mem::replace(&mut self.rest, rest).lines() {
            let (id, key) = line.split_once(' ').expect("a line has an id and a key");
            self.keys.push(Known {
                key: Key::from(key),
                id: id.parse().expect("the id is one"),
            });
        }
    }
}
