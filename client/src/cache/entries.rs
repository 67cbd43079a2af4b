//! The sessions in memory, and the fills that read more of them.
//!
//! Two invariants hold for every entry: it was read after the last notification that has named its
//! session, and it was read while notifications of its server were heard. A fill is registered from before its
//! statement is sent until its result was put here. A notification marks the fills of the session
//! that it names. One lock covers marking fills and dropping an entry, as well as checking the mark
//! and putting an entry.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState as SlowRandomState};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread::available_parallelism;
use std::time::Duration;

use foldhash::fast::RandomState;
use futures_util::future::{Shared, WeakShared};
use quick_cache::sync::DefaultLifecycle;
use quick_cache::{OptionsBuilder, UnitWeighter};
use tokio::task::yield_now;
use uuid::Uuid;

use crate::cache::config::CacheConfig;
use crate::cache::entry::Entry;
use crate::cache::facts::Digest;
use crate::cache::freshness::Moment;
use crate::cache::load::Load;
use crate::cache::lock::lock;
use crate::key::Key;

/// The generation before the first one.
const VOID: u64 = 0;

/// A lock is held for no longer than it takes to copy a session, so that a few stripes suffice.
const STRIPES: usize = 64;

/// What identifies a session and its key in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CacheKey {
    pub(crate) id: Uuid,
    /// The digests of two keys need not be compared in constant time: the time tells nothing of the
    /// key that was hashed.
    pub(crate) digest: Digest,
}

impl CacheKey {
    /// `None` if no session can have this key.
    #[inline]
    pub(crate) fn of(key: &Key) -> Option<Self> {
        let (id, digest) = key.identify()?;
        Some(Self { id, digest })
    }
}

pub(crate) type SharedLoad = Shared<Load>;

/// There are at most as many as there are loads under way, so that a fast hash cannot be attacked.
type Fills = HashMap<Uuid, Vec<Arc<Fill>>, RandomState>;

/// Holds a number of values at most: those that are asked for most often.
type Limited<K, V, S> = quick_cache::sync::Cache<K, V, UnitWeighter, S>;

/// Each shard has a lock and its share of the capacity. In small ones, chance would leave some full
/// while others have room.
const LEAST_IN_A_SHARD: usize = 512;
const SHARDS_FOR_A_THREAD: usize = 4;

fn limited<K: Eq + Hash, V: Clone, S>(capacity: u64) -> Limited<K, V, S>
where
    S: BuildHasher + Clone + Default,
{
    let most = usize::try_from(capacity).unwrap_or(usize::MAX);
    let threads = available_parallelism().map_or(1, NonZeroUsize::get);
    let options = OptionsBuilder::new()
        .estimated_items_capacity(most)
        .weight_capacity(capacity)
        .shards(
            (SHARDS_FOR_A_THREAD * threads)
                .min(most / LEAST_IN_A_SHARD)
                .max(1),
        )
        .build()
        .expect("both capacities are set");
    Limited::with_options(
        options,
        UnitWeighter,
        S::default(),
        DefaultLifecycle::default(),
    )
}

pub(crate) struct Entries {
    /// The server has made their ids, so that a fast hash cannot be attacked.
    sessions: Limited<Uuid, Entry, RandomState>,
    /// Keys that had no session, and when they were looked up.
    absent: Limited<Digest, Moment, SlowRandomState>,
    /// When the last of them was looked up. Zero: none was. Most loads need not look among them.
    last_absence: AtomicU64,
    negative_ttl: Duration,
    max_staleness: Duration,
    fills: [Mutex<Fills>; STRIPES],
    /// How often everything of a station was dropped.
    generation: AtomicU64,
    /// The generation that began when everything of a station was dropped last, for each station.
    /// Its entries of earlier generations are void.
    first_valid: Box<[AtomicU64]>,
    /// A task frees the entries that are void.
    is_sweeping: AtomicBool,
    /// A fill that began before this moment is not shared, nor is an absence found by one.
    ignore_reads_before: AtomicU64,
}

/// A session is being read from the database.
pub(crate) struct Fill {
    key: CacheKey,
    began: Moment,
    /// The generation in which it began. `None` if notifications were heard from no server then.
    generation: Option<u64>,
    /// Whether the session was named since. It is only touched under the lock of its stripe.
    is_named: AtomicBool,
    /// Other requests can wait for the result.
    load: OnceLock<WeakShared<Load>>,
}

impl Fill {
    fn is_named(&self) -> bool {
        self.is_named.load(Ordering::Relaxed)
    }

    /// The generation of an entry that is made of the result. It is one that is void if the entry
    /// cannot be kept.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.unwrap_or(VOID)
    }
}

/// Ends a fill when it is dropped, as it is with a request that was given up.
pub(crate) struct FillGuard {
    entries: Arc<Entries>,
    fill: Arc<Fill>,
}

impl Drop for FillGuard {
    fn drop(&mut self) {
        let ended = self.entries.end(&self.fill);
        // Without the lock: this may be the last owner of a load, whose end comes here again.
        drop(ended);
    }
}

impl std::ops::Deref for FillGuard {
    type Target = Fill;

    fn deref(&self) -> &Fill {
        &self.fill
    }
}

impl Entries {
    pub(crate) fn new(config: &CacheConfig, stations: usize) -> Self {
        Self {
            sessions: limited(config.capacity),
            absent: limited(config.negative_capacity),
            last_absence: AtomicU64::new(0),
            negative_ttl: config.negative_ttl.min(config.max_staleness),
            max_staleness: config.max_staleness,
            fills: std::array::from_fn(|_| Mutex::default()),
            generation: AtomicU64::new(VOID + 1),
            first_valid: (0..stations).map(|_| AtomicU64::new(VOID + 1)).collect(),
            is_sweeping: AtomicBool::new(false),
            ignore_reads_before: AtomicU64::new(0),
        }
    }

    /// The session of this key, alive or expired.
    #[inline]
    pub(crate) fn get(&self, key: &CacheKey) -> Option<Entry> {
        let entry = self.sessions.get(&key.id)?;
        (entry.digest == key.digest && self.is_valid(&entry)).then_some(entry)
    }

    #[inline]
    fn is_valid(&self, entry: &Entry) -> bool {
        let first_valid = self.first_valid.get(usize::from(entry.station));
        first_valid.is_some_and(|first| entry.generation >= first.load(Ordering::Acquire))
    }

    /// Whether this key had no session a moment ago.
    pub(crate) fn is_absent(&self, key: &CacheKey, now: Moment) -> bool {
        let last = self.last_absence.load(Ordering::Acquire);
        if Duration::from_nanos(now.nanos().saturating_sub(last)) > self.negative_ttl {
            return false;
        }
        self.absent
            .get(&key.digest)
            .is_some_and(|asked| now.since(asked) <= self.negative_ttl && !self.is_ignored(asked))
    }

    /// From now on, reads that began before this moment answer no new request, unless they are
    /// entries. Notifications drop entries, but they name no new session, and may not be heard.
    pub(crate) fn ignore_reads_before(&self, moment: Moment) {
        self.ignore_reads_before
            .fetch_max(moment.nanos(), Ordering::SeqCst);
    }

    fn is_ignored(&self, began: Moment) -> bool {
        began.nanos() < self.ignore_reads_before.load(Ordering::SeqCst)
    }

    /// The number of sessions.
    pub(crate) fn len(&self) -> u64 {
        self.sessions.len() as u64
    }

    /// Drops everything, and keeps out what is being read.
    pub(crate) fn drop_all(self: &Arc<Self>) {
        self.void(&self.first_valid);
    }

    /// Drops everything that was read from the server of a station, and keeps out what is being
    /// read: it is not known yet where from.
    pub(crate) fn drop_station(self: &Arc<Self>, station: u8) {
        let station = usize::from(station);
        self.void(&self.first_valid[station..=station]);
    }

    fn void(self: &Arc<Self>, stations: &[AtomicU64]) {
        let generation = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        for first_valid in stations {
            first_valid.fetch_max(generation, Ordering::SeqCst);
        }
        self.absent.clear();
        // No load returns a void entry, so that a task can free them later.
        if !self.is_sweeping.swap(true, Ordering::SeqCst) {
            tokio::spawn(Arc::clone(self).sweep());
        }
    }

    /// Frees the memory of void entries. It lets other tasks run, because there may be a million.
    async fn sweep(self: Arc<Self>) {
        const WITHOUT_PAUSE: usize = 64;
        loop {
            let generation = self.generation();
            for (number, (id, entry)) in (1..).zip(self.sessions.iter()) {
                if !self.is_valid(&entry) {
                    self.sessions.remove_if(&id, |entry| !self.is_valid(entry));
                }
                if number % WITHOUT_PAUSE == 0 {
                    yield_now().await;
                }
            }
            self.is_sweeping.store(false, Ordering::SeqCst);
            let is_done = self.generation() == generation;
            if is_done || self.is_sweeping.swap(true, Ordering::SeqCst) {
                return;
            }
        }
    }

    /// Drops a session, and keeps out what was read of it until now.
    pub(crate) fn drop_session(&self, id: Uuid) {
        let stripe = self.stripe(id);
        for fill in stripe.get(&id).into_iter().flatten() {
            fill.is_named.store(true, Ordering::Relaxed);
        }
        self.sessions.remove(&id);
    }

    /// Forgets that a key had no session.
    pub(crate) fn drop_absence(&self, key: &CacheKey) {
        self.absent.remove(&key.digest);
    }

    /// The generation, to be read before it is known whether notifications are heard: when those of
    /// a server are no longer, or are again, another one begins.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// A load of this session that is under way, or else a new one.
    pub(crate) fn load(
        self: &Arc<Self>,
        key: CacheKey,
        now: Moment,
        generation: Option<u64>,
        begin: impl FnOnce(FillGuard) -> SharedLoad,
    ) -> SharedLoad {
        let mut stripe = self.stripe(key.id);
        let fills = stripe.entry(key.id).or_default();
        let running = fills
            .iter()
            .filter(|fill| self.can_be_shared(fill, &key, now))
            .find_map(|fill| fill.load.get()?.upgrade());
        if let Some(load) = running {
            return load;
        }
        let fill = Arc::new(Fill::new(key, now, generation));
        fills.push(Arc::clone(&fill));
        let load = begin(FillGuard {
            entries: Arc::clone(self),
            fill: Arc::clone(&fill),
        });
        if let Some(weak) = load.downgrade() {
            // The fill is new, so that its load was not set before.
            let _ = fill.load.set(weak);
        }
        load
    }

    /// A request gets no older result than the cache may give, and none from before a change that
    /// it has to see.
    fn can_be_shared(&self, fill: &Fill, key: &CacheKey, now: Moment) -> bool {
        fill.key == *key
            && !fill.is_named()
            && now.since(fill.began) <= self.max_staleness
            && !self.is_ignored(fill.began)
    }

    /// Registers a fill that is not a load.
    pub(crate) fn fill(
        self: &Arc<Self>,
        key: CacheKey,
        now: Moment,
        generation: Option<u64>,
    ) -> FillGuard {
        let fill = Arc::new(Fill::new(key, now, generation));
        self.stripe(key.id)
            .entry(key.id)
            .or_default()
            .push(Arc::clone(&fill));
        FillGuard {
            entries: Arc::clone(self),
            fill,
        }
    }

    /// Keeps what was read, unless the session may have changed since the fill began. Returns
    /// whether it did.
    pub(crate) fn put(&self, fill: &FillGuard, entry: &Entry) -> bool {
        let id = fill.key.id;
        let _stripe = self.stripe(id);
        let is_current = self.is_current(fill);
        if is_current {
            self.sessions.insert(id, entry.clone());
        }
        is_current
    }

    /// Changes the entry of this key, unless there is none, and returns it as it is then and
    /// whether it was changed. What a notification has to drop stays as it was.
    pub(crate) fn change(
        &self,
        key: &CacheKey,
        change: impl FnOnce(&Entry) -> Option<Entry>,
    ) -> Option<(Entry, bool)> {
        let _stripe = self.stripe(key.id);
        let entry = self.get(key)?;
        Some(match change(&entry) {
            Some(changed) => {
                self.sessions.insert(key.id, changed.clone());
                (changed, true)
            }
            None => (entry, false),
        })
    }

    /// Changes the entry by what a fill has read of its session, unless that may have changed since
    /// the fill began.
    pub(crate) fn update(&self, fill: &FillGuard, change: impl FnOnce(&Entry) -> Option<Entry>) {
        let id = fill.key.id;
        let _stripe = self.stripe(id);
        if self.is_current(fill)
            && let Some(entry) = self.get(&fill.key)
            && let Some(changed) = change(&entry)
        {
            self.sessions.insert(id, changed);
        }
    }

    /// Remembers that the key had no session, on the same condition.
    pub(crate) fn put_absence(&self, fill: &FillGuard) {
        let _stripe = self.stripe(fill.key.id);
        if self.is_current(fill) {
            self.absent.insert(fill.key.digest, fill.began);
            self.last_absence
                .fetch_max(fill.began.nanos(), Ordering::Release);
        }
    }

    /// The caller has the lock of the stripe.
    fn is_current(&self, fill: &Fill) -> bool {
        !fill.is_named() && fill.generation == Some(self.generation())
    }

    /// Takes out a fill. The caller drops it without the lock.
    fn end(&self, fill: &Arc<Fill>) -> Option<Arc<Fill>> {
        let id = fill.key.id;
        let mut stripe = self.stripe(id);
        let fills = stripe.get_mut(&id)?;
        let at = fills.iter().position(|other| Arc::ptr_eq(other, fill))?;
        let ended = fills.swap_remove(at);
        if fills.is_empty() {
            stripe.remove(&id);
        }
        Some(ended)
    }

    fn stripe(&self, id: Uuid) -> MutexGuard<'_, Fills> {
        // The last byte is random in ids of both versions.
        lock(&self.fills[usize::from(id.as_bytes()[15]) % STRIPES])
    }
}

impl Fill {
    fn new(key: CacheKey, began: Moment, generation: Option<u64>) -> Self {
        Self {
            key,
            began,
            generation,
            is_named: AtomicBool::new(false),
            load: OnceLock::new(),
        }
    }
}
