//! How a load is answered: from memory if the cache may, and else from the database.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use deadpool_postgres::Pool;
use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::answer::Answer;
use crate::cache::config::CacheConfig;
use crate::cache::counters::Counters;
use crate::cache::entries::{CacheKey, Entries, FillGuard, SharedLoad};
use crate::cache::entry::{Entry, Visit};
use crate::cache::freshness::{Moment, ServerMicros};
use crate::cache::health::Health;
use crate::cache::load::SpareLoads;
use crate::cache::lock::lock;
use crate::cache::row::CachedRow;
use crate::cache::station::{ELSEWHERE, Stations};
use crate::cache::visits::PendingVisits;
use crate::database::Database;
use crate::error::Error;
use crate::hooks::{Change, SessionCache, Visitor, Writing};
use crate::key::Key;
use crate::load::{resume, visit};
use crate::session::Session;

pub(crate) struct Cache {
    pub(crate) database: Database<Pool>,
    pub(crate) entries: Arc<Entries>,
    pub(crate) stations: Stations,
    pub(crate) counters: Counters,
    /// A request wants to know now up to when all changes are known.
    pub(crate) probe_wanted: Notify,
    /// A "drop everything" may stand for a probe that is awaited.
    pub(crate) probe_lost: Notify,
    pub(crate) visits: PendingVisits,
    max_data_bytes: usize,
    spare_loads: Arc<SpareLoads>,
    /// Sessions with a due visit that a request is recording.
    claimed_visits: Mutex<HashSet<Uuid>>,
}

impl Cache {
    pub(crate) fn new(database: Database<Pool>, config: &CacheConfig, stations: Stations) -> Self {
        Self {
            database,
            entries: Arc::new(Entries::new(config, stations.len())),
            stations,
            counters: Counters::new(&config.name),
            probe_wanted: Notify::new(),
            probe_lost: Notify::new(),
            visits: PendingVisits::new(config.background_visits),
            max_data_bytes: config.max_data_bytes,
            spare_loads: Arc::default(),
            claimed_visits: Mutex::default(),
        }
    }

    /// The answer of the cache: a live session, no session, or that it cannot tell.
    #[inline]
    fn look_up(&self, key: &CacheKey, now: Moment) -> Option<Option<Entry>> {
        // Before the entries are looked at: a notification drops an entry first, and counts as
        // known then.
        let fresh = self.stations.fresh(now);
        if fresh.is_empty() {
            self.counters.bypassed.increment(1);
            return None;
        }
        if let Some(entry) = self.entries.get(key) {
            if !fresh.contains(entry.station) {
                self.counters.bypassed.increment(1);
                return None;
            }
            if entry.is_alive(self.server_time(&entry, now)) {
                self.counters.hits.increment(1);
                return Some(Some(entry));
            }
        }
        if fresh == self.stations.all() && self.entries.is_absent(key, now) {
            self.counters.negative_hits.increment(1);
            return Some(None);
        }
        self.counters.misses.increment(1);
        None
    }

    /// Loads from the database, together with all requests that want the same session.
    fn fetch(self: &Arc<Self>, key: &Key, cache_key: CacheKey, now: Moment) -> SharedLoad {
        let generation = self.fill_generation();
        self.entries.load(cache_key, now, generation, |fill| {
            let (cache, key) = (Arc::clone(self), key.clone());
            let load = async move {
                let Some(row) = cache.read(&key).await? else {
                    cache.entries.put_absence(&fill);
                    return Ok(None);
                };
                let (entry, _) = cache.keep(&fill, cache_key, row);
                Ok(Some(entry))
            };
            self.spare_loads.begin(load).shared()
        })
    }

    /// The generation for a fill that begins now. `None` while changes of no server are heard.
    pub(crate) fn fill_generation(&self) -> Option<u64> {
        let generation = self.entries.generation();
        self.stations.is_any_up().then_some(generation)
    }

    /// What the clock of the server that has this session shows, or a little more.
    #[inline]
    fn server_time(&self, entry: &Entry, now: Moment) -> ServerMicros {
        self.stations[entry.station].freshness.server_time(now)
    }

    async fn read(&self, key: &Key) -> Result<Option<CachedRow>, Error> {
        self.database
            .optional_row(
                CachedRow::LOAD,
                &[(&key.argument(), Type::TEXT)],
                CachedRow::from_load,
            )
            .await
    }

    /// Boxes hold what is seldom waited for, so that the future of each miss is small.
    async fn resume_slowly(
        self: &Arc<Self>,
        key: &Key,
        cache_key: CacheKey,
        visitor: Visitor<'_>,
        now: Moment,
        known: Option<Entry>,
    ) -> Result<Option<Session>, Error> {
        let fresh = self.stations.fresh(now);
        let known = match known {
            Some(entry) => Some(entry),
            None if !fresh.is_empty() => match self.fetch(key, cache_key, now).await {
                // The visit counts although the data cannot be read.
                Err(Error::Data(_)) => return Box::pin(resume(&self.database, key, visitor)).await,
                Ok(None) => return Ok(None),
                fetched => fetched?.filter(|entry| fresh.contains(entry.station)),
            },
            None => None,
        };
        let Some(entry) = known else {
            // The server's time is unknown too, and so is whether the visit is due.
            let _change = Change::new(self, cache_key.id);
            return Box::pin(resume(&self.database, key, visitor)).await;
        };
        let server_time = self.server_time(&entry, now);
        let visit = entry.visit(visitor, server_time);
        if visit != Visit::Known
            && let Some(session) = self.defer_visit(cache_key, visitor, &entry, server_time)
        {
            return Ok(Some(session));
        }
        match visit {
            Visit::Known => Ok(Some(entry.into_session())),
            // The server announces it, which drops what would be kept now.
            Visit::Moved => {
                let _change = Change::new(self, cache_key.id);
                let pending = self.visits.get(&cache_key);
                let session = Box::pin(resume(&self.database, key, visitor)).await?;
                self.visits.supersede(&cache_key, pending.as_ref());
                Ok(session)
            }
            Visit::Due => {
                let Some(_claim) = self.claim_visit(cache_key.id) else {
                    return Ok(Some(entry.into_session()));
                };
                let pending = self.visits.get(&cache_key);
                let recording = self.record_visit(key, cache_key, visitor, &entry);
                let session = Box::pin(recording).await?;
                self.visits.supersede(&cache_key, pending.as_ref());
                Ok(session)
            }
        }
    }

    /// Lets the caller record a due visit, unless another request is recording it. A page makes
    /// many requests at once, and one of them is enough.
    fn claim_visit(&self, id: Uuid) -> Option<Claim<'_>> {
        let is_first = lock(&self.claimed_visits).insert(id);
        is_first.then(|| Claim { cache: self, id })
    }

    /// Records a due visit, and keeps the session as it is then.
    async fn record_visit(
        self: &Arc<Self>,
        key: &Key,
        cache_key: CacheKey,
        visitor: Visitor<'_>,
        known: &Entry,
    ) -> Result<Option<Session>, Error> {
        let generation = self.fill_generation();
        let now = self.stations.now();
        let fill = self.entries.fill(cache_key, now, generation);
        // Unless the new state is kept, the entry from before must not stay.
        let change = Change::new(self, cache_key.id);
        let read = |row: &Row| CachedRow::from_resume(row, known.visits);
        let Some(row) = visit(&self.database, CachedRow::RESUME, key, visitor, read).await? else {
            return Ok(None);
        };
        let (entry, is_kept) = self.keep(&fill, cache_key, row);
        if is_kept {
            change.applied();
        }
        Ok(Some(entry.into_session()))
    }

    /// Keeps what was read, if it may be kept, and returns whether it was.
    fn keep(&self, fill: &FillGuard, key: CacheKey, row: CachedRow) -> (Entry, bool) {
        // A former key opens the session until its grace is over, and that end is not announced.
        let station = self.station_of(&row);
        let is_small = row.session.data_bytes() <= self.max_data_bytes;
        let may_keep = station != ELSEWHERE && is_small && !row.is_former_key;
        let entry = Entry::new(row, key.digest, fill.generation(), station);
        let is_kept = may_keep && self.entries.put(fill, &entry);
        if !is_kept {
            self.counters.fills_dropped.increment(1);
        }
        (entry, is_kept)
    }

    /// Where changes of this row are heard. A standby is behind the primary that is listened to.
    fn station_of(&self, row: &CachedRow) -> u8 {
        match &row.origin {
            Some(origin) if !row.is_standby => self.stations.of_origin(origin),
            _ => ELSEWHERE,
        }
    }

    /// Waits until all changes are known that were committed before now, or until the cache answers
    /// nothing older.
    pub(crate) async fn catch_up(&self) {
        let now = self.stations.now();
        self.entries.ignore_reads_before(now);
        let waiting = self.stations.known_until(now);
        self.probe_wanted.notify_one();
        let patience = self.stations.max_staleness();
        if tokio::time::timeout(patience, waiting).await.is_err() {
            self.entries.drop_all();
        }
    }

    pub(crate) async fn ready(&self) -> Result<(), Error> {
        self.stations
            .ready()
            .await
            .map_err(|message| Error::Listener { message })
    }

    pub(crate) fn health(&self) -> Health {
        let now = self.stations.now();
        let serving = self.stations.fresh(now) == self.stations.all();
        Health {
            serving,
            staleness: self.stations.staleness(now),
            error: self.stations.error().or_else(|| {
                (!serving).then(|| "no probe has come back within max_staleness".to_owned())
            }),
            sessions: self.entries.len(),
            pending_visits: self.visits.len() as u64,
        }
    }
}

impl SessionCache for Arc<Cache> {
    #[inline]
    fn load<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Session>> {
        let Some(cache_key) = CacheKey::of(key) else {
            return Answer::known(None);
        };
        let now = self.stations.now();
        if let Some(known) = self.look_up(&cache_key, now) {
            return Answer::known(known.map(|entry| entry.into_session()));
        }
        Answer::asked(async move {
            let entry = self.fetch(key, cache_key, now).await?;
            Ok(entry.map(|entry| entry.into_session()))
        })
    }

    fn resume<'a>(&'a self, key: &'a Key, visitor: Visitor<'a>) -> Answer<'a, Option<Session>> {
        let Some(cache_key) = CacheKey::of(key) else {
            return Answer::known(None);
        };
        let now = self.stations.now();
        let known = match self.look_up(&cache_key, now) {
            Some(None) => return Answer::known(None),
            Some(Some(entry)) => {
                let server_time = self.server_time(&entry, now);
                if entry.visit(visitor, server_time) == Visit::Known {
                    return Answer::known(Some(entry.into_session()));
                }
                if let Some(session) = self.defer_visit(cache_key, visitor, &entry, server_time) {
                    return Answer::known(Some(session));
                }
                Some(entry)
            }
            None => None,
        };
        Answer::asked(self.resume_slowly(key, cache_key, visitor, now, known))
    }

    fn write_visit<'a>(&'a self, key: &Key) -> Option<Writing<'a>> {
        let cache_key = CacheKey::of(key)?;
        let visit = self.visits.get(&cache_key)?;
        Some(Box::pin(Cache::write_visit(self, cache_key, visit)))
    }

    fn drop_session(&self, id: Uuid) {
        self.entries.drop_session(id);
    }

    fn drop_absence(&self, key: &Key) {
        if let Some(key) = CacheKey::of(key) {
            self.entries.drop_session(key.id);
            self.entries.drop_absence(&key);
        }
    }

    fn catch_up(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(Cache::catch_up(self))
    }
}

/// Ends with its request, also if that is given up.
struct Claim<'a> {
    cache: &'a Cache,
    id: Uuid,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        lock(&self.cache.claimed_visits).remove(&self.id);
    }
}
