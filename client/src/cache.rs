//! Sessions kept in this process, and dropped when anybody changes them.
//!
//! The [`shelf`] holds them; the [`listener`] hears of changes, and shows with probes, which the pool announces, up to when
//! it has heard of all that the pool's server has confirmed: the [`freshness`] of what is here. docs/cache.md has the proof.

mod channels;
mod config;
mod counters;
mod entry;
mod freshness;
mod health;
mod listener;
mod shelf;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use deadpool_postgres::Pool;
use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::store::{Parameter, Statements, Store};
use crate::{Error, Key, Session};

pub use config::CacheConfig;
pub use health::Health;
pub(crate) use listener::Listener;

use channels::Channels;
use counters::Counters;
use entry::{Entry, Read, Server, Visit, cacheable_columns};
use freshness::{Freshness, Moment};
use health::State;
use shelf::{Load, Name, Shelf, Watching};

pub(crate) struct Cache {
    /// The same sessions without a cache.
    store: Store,
    /// Its pool.
    pool: Pool,
    shelf: Arc<Shelf>,
    freshness: Freshness,
    counters: Counters,
    max_data_bytes: usize,
    /// The server that the listener is connected to; what comes from another is not kept.
    server: Mutex<Option<SystemTime>>,
    channels: Channels,
    /// Sessions of which a visit is being recorded because one is due.
    claimed_visits: Mutex<HashSet<Uuid>>,
    state: tokio::sync::watch::Sender<State>,
    /// Somebody wants to know now up to when all is known.
    probe_wanted: Notify,
    /// The pool has reached another server than the listener.
    server_changed: Notify,
}

/// A cache, and the task that listens for it. That ends when this is dropped.
pub(crate) struct Listening {
    cache: Arc<Cache>,
    task: JoinHandle<()>,
}

impl Listening {
    /// To be called within the runtime in which to listen.
    pub(crate) fn new(cache: Cache, listener: Listener, config: &CacheConfig) -> Self {
        let cache = Arc::new(cache);
        let run = listener::run(listener, Arc::clone(&cache), config.probe_interval());
        Self {
            task: tokio::spawn(run),
            cache,
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl std::ops::Deref for Listening {
    type Target = Arc<Cache>;

    fn deref(&self) -> &Arc<Cache> {
        &self.cache
    }
}

impl Cache {
    pub(crate) fn new(pool: Pool, statements: Statements, config: &CacheConfig) -> Self {
        Self {
            store: Store::uncached(pool.clone(), statements),
            pool,
            shelf: Arc::new(Shelf::new(config)),
            freshness: Freshness::new(config.max_staleness),
            counters: Counters::new(),
            max_data_bytes: config.max_data_bytes,
            server: Mutex::new(None),
            channels: Channels::default(),
            claimed_visits: Mutex::default(),
            state: tokio::sync::watch::Sender::new(State::default()),
            probe_wanted: Notify::new(),
            server_changed: Notify::new(),
        }
    }

    pub(crate) async fn load(self: &Arc<Self>, key: &Key) -> Result<Option<Arc<Session>>, Error> {
        let Some(name) = name(key) else {
            return Ok(None);
        };
        let now = self.freshness.now();
        if let Some(known) = self.look_up(&name, now) {
            return Ok(known.map(|entry| entry.session));
        }
        let entry = self.fetch(key, name, now).await?;
        Ok(entry.map(|entry| entry.session))
    }

    pub(crate) async fn resume(
        self: &Arc<Self>,
        key: &Key,
        ip: Option<IpAddr>,
        user_agent: Option<&str>,
    ) -> Result<Option<Arc<Session>>, Error> {
        let Some(name) = name(key) else {
            return Ok(None);
        };
        let now = self.freshness.now();
        let known = match self.look_up(&name, now) {
            Some(known) => known,
            None if self.freshness.suffices(now) => match self.fetch(key, name, now).await {
                // The visit is one all the same.
                Err(Error::Data(_)) => {
                    return self.store.resume_uncached(key, ip, user_agent).await;
                }
                fetched => fetched?,
            },
            // The server's time isn't known either, and so not whether a visit is due.
            None => {
                let _change = self.changes(name.id);
                return self.store.resume_uncached(key, ip, user_agent).await;
            }
        };
        let Some(entry) = known else {
            return Ok(None);
        };
        let server_time = self.freshness.server_time(now);
        match entry.visit(ip, user_agent, server_time) {
            Visit::Moved => self.record_visit(key, name, ip, user_agent, &entry).await,
            Visit::Due => {
                let Some(_claim) = self.claim_visit(name.id) else {
                    return Ok(Some(entry.session));
                };
                self.record_visit(key, name, ip, user_agent, &entry).await
            }
            Visit::Known => Ok(Some(entry.session)),
        }
    }

    /// Makes it the caller's to record a visit that is due, unless somebody is doing so. A page makes many requests at once,
    /// and one of them is enough.
    fn claim_visit(&self, id: Uuid) -> Option<Claim<'_>> {
        let is_first = lock(&self.claimed_visits).insert(id);
        is_first.then(|| Claim { cache: self, id })
    }

    /// What the cache can say of this key: a live session, or surely none, or nothing at all.
    #[inline]
    fn look_up(&self, name: &Name, now: Moment) -> Option<Option<Entry>> {
        // Before the shelf is looked at: an announcement takes off what it names, and then counts as known.
        if !self.freshness.suffices(now) {
            self.counters.bypassed.increment(1);
            return None;
        }
        if let Some(entry) = self.shelf.get(name)
            && entry.is_alive(self.freshness.server_time(now))
        {
            self.counters.hits.increment(1);
            return Some(Some(entry));
        }
        if self.shelf.is_absent(name, now) {
            self.counters.negative_hits.increment(1);
            return Some(None);
        }
        self.counters.misses.increment(1);
        None
    }

    /// From the database, together with all who want the same.
    async fn fetch(
        self: &Arc<Self>,
        key: &Key,
        name: Name,
        now: Moment,
    ) -> Result<Option<Entry>, Error> {
        let load = self
            .shelf
            .load(name, now, |watching| self.begin_load(key, name, watching));
        load.await
    }

    fn begin_load(self: &Arc<Self>, key: &Key, name: Name, watching: Watching) -> Load {
        let (cache, key) = (Arc::clone(self), key.clone());
        async move {
            let Some(read) = cache.read(&key).await? else {
                cache.shelf.put_absence(&watching);
                return Ok(None);
            };
            let (entry, _) = cache.keep(&watching, name, read);
            Ok(Some(entry))
        }
        .boxed()
        .shared()
    }

    async fn read(&self, key: &Key) -> Result<Option<Read>, Error> {
        const SQL: &str = concat!(
            "SELECT ",
            cacheable_columns!(),
            " FROM qsessions.load_for_cache(key => $1::text)"
        );
        let parameters: &[Parameter<'_>] = &[(&key.argument(), Type::TEXT)];
        self.store.optional_row(SQL, parameters).await
    }

    /// Records a visit, and lets what is known of the session follow.
    async fn record_visit(
        &self,
        key: &Key,
        name: Name,
        ip: Option<IpAddr>,
        user_agent: Option<&str>,
        known: &Entry,
    ) -> Result<Option<Arc<Session>>, Error> {
        let watching = self.shelf.watch(name, self.freshness.now());
        // Unless what it comes to is kept, the copy from before must not stay.
        let change = self.changes(name.id);
        let seen = self.store.resume_for_cache(key, ip, user_agent).await?;
        let Some((session, data_bytes, server_started_at)) = seen else {
            return Ok(None);
        };
        let read = Read {
            session,
            data_bytes,
            visits: known.visits(),
            server: Server {
                started_at: server_started_at,
                is_standby: false,
            },
        };
        let (entry, is_kept) = self.keep(&watching, name, read);
        if is_kept {
            change.settle();
        }
        Ok(Some(entry.session))
    }

    /// Keeps what was read, if it may be kept. Whether it was.
    fn keep(&self, watching: &Watching, name: Name, read: Read) -> (Entry, bool) {
        let entry = Entry::new(
            read.session,
            name.digest,
            watching.generation(),
            read.visits,
        );
        let kept = self.is_from_our_server(read.server)
            && read.data_bytes <= self.max_data_bytes
            && self.shelf.put(watching, &entry);
        if !kept {
            self.counters.fills_dropped.increment(1);
        }
        (entry, kept)
    }

    fn is_from_our_server(&self, server: Server) -> bool {
        let ours = *lock(&self.server);
        if server.is_standby || ours.is_none() {
            // A standby is behind, and what it has to say is old already.
            return false;
        }
        let same = ours == Some(server.started_at);
        if !same {
            self.server_changed.notify_one();
        }
        same
    }

    /// A session that is being changed through this store.
    pub(crate) fn changes(&self, id: Uuid) -> Change<'_> {
        Change { cache: self, id }
    }

    /// For a key that may get a session now.
    pub(crate) fn drop_key(&self, key: &Key) {
        if let Some(name) = name(key) {
            self.shelf.drop_session(name.id);
            self.shelf.drop_absence(&name);
        }
    }

    /// Waits until all is known that was committed before now, or until nothing older can be answered any more.
    pub(crate) async fn catch_up(&self) {
        let now = self.freshness.now();
        self.shelf.read_anew_since(now);
        let mut state = self.state.subscribe();
        self.probe_wanted.notify_one();
        let known = state.wait_for(|state| !state.is_listening || self.freshness.reaches(now));
        let patience = self.freshness.max_staleness();
        if tokio::time::timeout(patience, known).await.is_err() {
            self.shelf.drop_all();
        }
    }

    pub(crate) async fn ready(&self) -> Result<(), Error> {
        let mut state = self.state.subscribe();
        // The sender is a part of self, so that it can't be gone.
        let Ok(state) = state
            .wait_for(|state| state.is_serving || state.is_hopeless)
            .await
        else {
            return Ok(());
        };
        match &state.trouble {
            Some(message) if !state.is_serving => Err(Error::Listener {
                message: message.clone(),
            }),
            _ => Ok(()),
        }
    }

    pub(crate) fn health(&self) -> Health {
        let now = self.freshness.now();
        let serving = self.freshness.suffices(now);
        let trouble = self.state.borrow().trouble.clone();
        Health {
            serving,
            staleness: self.freshness.staleness(now),
            trouble: trouble.or_else(|| {
                (!serving).then(|| "no probe has come back within max_staleness".to_owned())
            }),
            sessions: self.shelf.len(),
        }
    }
}

/// Has the copy of a session dropped when it is: with the call that changes the session, whether that has succeeded, has failed
/// with the connection, or was given up.
pub(crate) struct Change<'a> {
    cache: &'a Cache,
    id: Uuid,
}

impl Change<'_> {
    /// What the session is now has been kept, so that nothing is to be dropped.
    fn settle(self) {
        std::mem::forget(self);
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.cache.shelf.drop_session(self.id);
    }
}

/// Ends with the request that has it, also with one that is given up.
struct Claim<'a> {
    cache: &'a Cache,
    id: Uuid,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        lock(&self.cache.claimed_visits).remove(&self.id);
    }
}

/// The name of the session of a key, unless no session can have it.
#[inline]
fn name(key: &Key) -> Option<Name> {
    let (id, digest) = key.identify()?;
    Some(Name { id, digest })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
