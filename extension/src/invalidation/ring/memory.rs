//! What lies in shared memory: the entries of the ring, and a slot for each database.

use crate::invalidation::changes::{Changes, Id};
use pgrx::pg_sys;
use pgrx::shmem::PGRXSharedMemory;

/// Entries of the ring: at 20 bytes each, 640 kB.
pub(in crate::invalidation) const SIZE: usize = 32_768;

/// Databases that can have a notifier at the same time. Transactions of other databases do the
/// NOTIFY themselves.
const DATABASES: usize = 64;

/// Stands for all sessions. No session has this id.
const ALL: Id = [0xff; 16];

#[derive(Clone, Copy, Default)]
struct Entry {
    database: u32,
    id: Id,
}

/// The state of a database and of its notifier.
#[derive(Clone, Copy, Default)]
pub(in crate::invalidation) struct Slot {
    /// OID of the database; zero if the slot is free.
    database: u32,
    /// OID of its tablespace.
    pub(super) tablespace: u32,
    /// The position in the ring of the first entry of this database that was not sent, if there is
    /// one.
    pub(super) next: u64,
    /// The position behind the last entry of this database. Unless it is beyond `next`, the backlog
    /// is empty.
    pub(super) end: u64,
    /// The latch of the notifier, an address in shared memory, which is the same in all processes;
    /// zero while no notifier runs.
    pub(super) latch: usize,
    pub(in crate::invalidation) process: i32,
    /// PostgreSQL has a worker for this database on its list, or is just being asked for one.
    pub(super) is_registered: bool,
    /// When the notifier was last registered, could not be registered, or ended.
    pub(super) since: i64,
    /// Transactions in flight: they are committing, and push after that. The slot is not released
    /// before.
    pub(super) in_flight: u32,
    /// How often a notifier has started since one has last sent something.
    pub(super) starts: u32,
    /// The heartbeat that callers are told of, once there is a caller.
    pub(super) next_heartbeat: Option<Id>,
    /// The heartbeat that the notifier has taken and not sent yet. No caller is told of it any more.
    pub(super) due_heartbeat: Option<Id>,
    pub(in crate::invalidation) announced: u64,
    pub(in crate::invalidation) overflows: u64,
}

impl Slot {
    pub(super) fn has_backlog(&self) -> bool {
        self.end > self.next
    }

    pub(super) fn is_needed(&self) -> bool {
        self.has_backlog() || self.in_flight > 0
    }

    pub(super) fn has_heartbeat(&self) -> bool {
        self.next_heartbeat.is_some() || self.due_heartbeat.is_some()
    }

    /// PostgreSQL had no free worker when it was last asked for one.
    pub(in crate::invalidation) fn lacks_worker(&self) -> bool {
        !self.is_registered
    }

    pub(super) fn latch(&self) -> Option<*mut pg_sys::Latch> {
        (self.latch != 0).then_some(self.latch as *mut pg_sys::Latch)
    }
}

pub(super) struct Ring {
    /// The number of entries written since the server started. The next one goes to this position,
    /// modulo the size.
    written: u64,
    entries: [Entry; SIZE],
    slots: [Slot; DATABASES],
}

// SAFETY: plain numbers, no references; the lock guards them.
unsafe impl PGRXSharedMemory for Ring {}

impl Default for Ring {
    fn default() -> Self {
        Self {
            written: 0,
            entries: [Entry::default(); SIZE],
            slots: [Slot::default(); DATABASES],
        }
    }
}

impl Ring {
    fn index(&self, database: u32) -> Option<usize> {
        self.slots.iter().position(|slot| slot.database == database)
    }

    pub(super) fn slot(&self, database: u32) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.database == database)
    }

    pub(super) fn slot_mut(&mut self, database: u32) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.database == database)
    }

    pub(super) fn has_free_slot(&self) -> bool {
        self.slot(0).is_some()
    }

    /// The slot of a database. If it has none, it gets a free one, or one that another database no
    /// longer needs.
    pub(super) fn acquire_slot(&mut self, database: u32) -> Option<&mut Slot> {
        if let Some(index) = self.index(database) {
            return Some(&mut self.slots[index]);
        }
        let is_unused = |slot: &Slot| !slot.is_registered && !slot.is_needed();
        let index = self
            .index(0)
            .or_else(|| self.slots.iter().position(is_unused))?;
        let slot = &mut self.slots[index];
        *slot = Slot {
            database,
            // SAFETY: a variable that is set once, when the process connects.
            tablespace: unsafe { pg_sys::MyDatabaseTableSpace }.to_u32(),
            ..Slot::default()
        };
        Some(slot)
    }

    /// Writes entries, and adds them to the backlog in the slot of their database, if it has one.
    pub(super) fn write(&mut self, database: u32, changes: &Changes) -> Option<&mut Slot> {
        let begin = self.written;
        match changes {
            Changes::All => self.write_entry(database, ALL),
            Changes::Some(ids) => ids.iter().for_each(|id| self.write_entry(database, *id)),
        }
        let end = self.written;
        let slot = self.slot_mut(database)?;
        if !slot.has_backlog() {
            slot.next = begin;
        }
        slot.end = end;
        Some(slot)
    }

    fn write_entry(&mut self, database: u32, id: Id) {
        let position = (self.written % SIZE as u64) as usize;
        self.entries[position] = Entry { database, id };
        self.written += 1;
    }

    /// The backlog of a database. It stays in the ring.
    pub(super) fn backlog(&self, database: u32) -> Backlog {
        let Some(slot) = self.slot(database).filter(|slot| slot.has_backlog()) else {
            return Backlog {
                changes: Changes::Some(vec![]),
                upto: 0,
                is_overrun: false,
            };
        };
        let is_overrun = self.written - slot.next > SIZE as u64;
        Backlog {
            changes: if is_overrun {
                Changes::All
            } else {
                self.changes(slot)
            },
            upto: slot.end,
            is_overrun,
        }
    }

    fn changes(&self, slot: &Slot) -> Changes {
        let ids: Vec<Id> = self.entries_from(slot.next, slot).collect();
        if ids.contains(&ALL) {
            return Changes::All;
        }
        Changes::Some(ids)
    }

    /// The number of ids in the backlog that have not been overwritten.
    pub(super) fn backlog_len(&self, slot: &Slot) -> usize {
        let oldest = slot.next.max(self.written.saturating_sub(SIZE as u64));
        self.entries_from(oldest, slot).count()
    }

    fn entries_from(&self, begin: u64, slot: &Slot) -> impl Iterator<Item = Id> {
        let database = slot.database;
        (begin..slot.end)
            .map(|position| &self.entries[(position % SIZE as u64) as usize])
            .filter(move |entry| entry.database == database)
            .map(|entry| entry.id)
    }
}

/// The changes of a database that were pushed and not sent yet.
#[derive(Debug)]
pub(in crate::invalidation) struct Backlog {
    pub(in crate::invalidation) changes: Changes,
    /// The position in the ring up to which it goes.
    pub(super) upto: u64,
    /// Whether writers have overwritten entries of it.
    pub(super) is_overrun: bool,
}
