//! What the cache holds, and who is reading what at this moment.
//!
//! Two things are never true of a session on the shelf: that it was read before an announcement that has named it,
//! and that it was read while announcements could be missed. Whoever reads a session from the database
//! [watches](Watch) it from before the statement is sent until what came of it has been put here; an announcement
//! marks the watches of the session that it names. Marking and taking off, as well as looking at the mark and putting here,
//! are done under one lock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use uuid::Uuid;

use super::CacheConfig;
use super::entry::{Digest, Entry};
use super::freshness::Moment;
use crate::Error;

/// Locks are held for less than a microsecond, so that few suffice.
const SHARDS: usize = 64;

/// The secret's hash, and the public id that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) id: Uuid,
    pub(super) digest: Digest,
}

/// What a load that several requests wait for comes to.
pub(super) type Loaded = Result<Option<Entry>, Error>;
pub(super) type Load = Shared<BoxFuture<'static, Loaded>>;

pub(super) struct Shelf {
    /// Sessions that the server has given. Nobody chooses what their ids hash to by asking for others.
    entries: moka::sync::Cache<Uuid, Entry, RandomState>,
    /// Keys that had no session, and when they were asked for.
    absent: moka::sync::Cache<Digest, Moment>,
    negative_ttl: Duration,
    max_staleness: Duration,
    watches: [Mutex<HashMap<Uuid, Vec<Arc<Watch>>>>; SHARDS],
    /// Counts how often everything was dropped.
    generation: AtomicU64,
    /// Whether announcements are heard.
    is_open: AtomicBool,
    /// Nobody gets what began to be read before this moment and isn't on the shelf.
    read_since: AtomicU64,
}

/// Somebody reads a session.
pub(super) struct Watch {
    name: Name,
    began: Moment,
    /// In which generation, if announcements were heard when it began.
    generation: Option<u64>,
    /// Whether the session has been named since it began. Only touched under the lock of its shard.
    named: AtomicBool,
    /// Others can wait for what it comes to.
    load: OnceLock<WeakShared<BoxFuture<'static, Loaded>>>,
}

impl Watch {
    fn is_named(&self) -> bool {
        self.named.load(Ordering::Relaxed)
    }

    /// In which generation of the shelf what is read will be; one that never was if it won't be put there.
    pub(super) fn generation(&self) -> u64 {
        self.generation.unwrap_or(u64::MAX)
    }
}

/// Ends its watch when it is dropped, also with a request that was given up.
pub(super) struct Watching {
    shelf: Arc<Shelf>,
    watch: Arc<Watch>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        let ended = self.shelf.end(&self.watch);
        // Not under the lock: this may be the last of a load, whose end comes here again.
        drop(ended);
    }
}

impl std::ops::Deref for Watching {
    type Target = Watch;

    fn deref(&self) -> &Watch {
        &self.watch
    }
}

impl Shelf {
    pub(super) fn new(config: &CacheConfig) -> Self {
        Self {
            entries: moka::sync::Cache::builder()
                .max_capacity(config.capacity)
                .build_with_hasher(RandomState::default()),
            absent: moka::sync::Cache::new(config.negative_capacity),
            negative_ttl: config.negative_ttl.min(config.max_staleness),
            max_staleness: config.max_staleness,
            watches: std::array::from_fn(|_| Mutex::default()),
            generation: AtomicU64::new(0),
            is_open: AtomicBool::new(false),
            read_since: AtomicU64::new(0),
        }
    }

    /// The session of this name, dead or alive.
    #[inline]
    pub(super) fn get(&self, name: &Name) -> Option<Entry> {
        let entry = self.entries.get(&name.id)?;
        (entry.digest == name.digest && entry.generation == self.generation.load(Ordering::Acquire))
            .then_some(entry)
    }

    /// Whether this key had no session a moment ago.
    pub(super) fn is_absent(&self, name: &Name, now: Moment) -> bool {
        self.absent.get(&name.digest).is_some_and(|asked| {
            now.since(asked) <= self.negative_ttl && self.is_recent_enough(asked)
        })
    }

    /// From now on nobody gets what began to be read before this moment, unless it is on the shelf, from which announcements
    /// take it: they name neither new sessions nor, while they aren't heard, any.
    pub(super) fn read_anew_since(&self, moment: Moment) {
        self.read_since.fetch_max(moment.nanos(), Ordering::SeqCst);
    }

    fn is_recent_enough(&self, began: Moment) -> bool {
        began.nanos() >= self.read_since.load(Ordering::SeqCst)
    }

    /// About how many sessions there are.
    pub(super) fn len(&self) -> u64 {
        self.entries.entry_count()
    }

    /// Announcements are heard from now on.
    pub(super) fn open(&self) {
        self.drop_all();
        self.is_open.store(true, Ordering::SeqCst);
    }

    /// Announcements may be missed from now on.
    pub(super) fn close(&self) {
        self.is_open.store(false, Ordering::SeqCst);
        self.drop_all();
    }

    /// Drops everything, also what is being read.
    pub(super) fn drop_all(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.entries.invalidate_all();
        self.absent.invalidate_all();
    }

    /// Drops a session, and keeps out what was read of it until now.
    pub(super) fn drop_session(&self, id: Uuid) {
        let shard = self.shard(id);
        for watch in shard.get(&id).into_iter().flatten() {
            watch.named.store(true, Ordering::Relaxed);
        }
        self.entries.invalidate(&id);
    }

    /// Forgets that a key had no session.
    pub(super) fn drop_absence(&self, name: &Name) {
        self.absent.invalidate(&name.digest);
    }

    /// A load of this session that runs already, or else a new one.
    pub(super) fn load(
        self: &Arc<Self>,
        name: Name,
        now: Moment,
        begin: impl FnOnce(Watching) -> Load,
    ) -> Load {
        let mut shard = self.shard(name.id);
        let watches = shard.entry(name.id).or_default();
        let running = watches
            .iter()
            .filter(|watch| self.can_be_joined(watch, &name, now))
            .find_map(|watch| watch.load.get()?.upgrade());
        if let Some(load) = running {
            return load;
        }
        let watch = self.new_watch(name, now);
        watches.push(Arc::clone(&watch));
        let load = begin(Watching {
            shelf: Arc::clone(self),
            watch: Arc::clone(&watch),
        });
        if let Some(weak) = load.downgrade() {
            // It is new, so that nobody has set it.
            let _ = watch.load.set(weak);
        }
        load
    }

    /// What was committed before this moment must be in what the load comes to, and no older one must be waited for
    /// than the cache would be allowed to give.
    fn can_be_joined(&self, watch: &Watch, name: &Name, now: Moment) -> bool {
        watch.name == *name
            && !watch.is_named()
            && now.since(watch.began) <= self.max_staleness
            && self.is_recent_enough(watch.began)
    }

    /// Watches a session that will be read in another way than by a load.
    pub(super) fn watch(self: &Arc<Self>, name: Name, now: Moment) -> Watching {
        let watch = self.new_watch(name, now);
        self.shard(name.id)
            .entry(name.id)
            .or_default()
            .push(Arc::clone(&watch));
        Watching {
            shelf: Arc::clone(self),
            watch,
        }
    }

    /// Puts what was read here, unless something has happened since it began to be read. Whether it did.
    pub(super) fn put(&self, watching: &Watching, entry: &Entry) -> bool {
        let id = watching.name.id;
        let _shard = self.shard(id);
        let fits = self.is_current(watching);
        if fits {
            self.entries.insert(id, entry.clone());
        }
        fits
    }

    /// Remembers that the key had no session, unless something has happened since that was read.
    pub(super) fn put_absence(&self, watching: &Watching) {
        let _shard = self.shard(watching.name.id);
        if self.is_current(watching) {
            self.absent.insert(watching.name.digest, watching.began);
        }
    }

    /// To be asked under the lock of the shard.
    fn is_current(&self, watch: &Watch) -> bool {
        !watch.is_named() && watch.generation == Some(self.generation.load(Ordering::SeqCst))
    }

    fn new_watch(&self, name: Name, now: Moment) -> Arc<Watch> {
        let is_open = self.is_open.load(Ordering::SeqCst);
        Arc::new(Watch {
            name,
            began: now,
            generation: is_open.then(|| self.generation.load(Ordering::SeqCst)),
            named: AtomicBool::new(false),
            load: OnceLock::new(),
        })
    }

    /// Takes a watch out; what comes back is to be dropped without the lock.
    fn end(&self, watch: &Arc<Watch>) -> Option<Arc<Watch>> {
        let id = watch.name.id;
        let mut shard = self.shard(id);
        let watches = shard.get_mut(&id)?;
        let at = watches.iter().position(|other| Arc::ptr_eq(other, watch))?;
        let ended = watches.swap_remove(at);
        if watches.is_empty() {
            shard.remove(&id);
        }
        Some(ended)
    }

    fn shard(&self, id: Uuid) -> MutexGuard<'_, HashMap<Uuid, Vec<Arc<Watch>>>> {
        // The end of an id is random in both of its forms.
        let shard = usize::from(id.as_bytes()[15]) % SHARDS;
        // What is done under the lock can't panic halfway.
        self.watches[shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
