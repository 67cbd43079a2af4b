//! What all extractors of one request share.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use axum::http::request::Parts;
use qsessions::{Key, Uuid};
use tokio::sync::Mutex as AsyncMutex;

use crate::builder::Config;
use crate::error::Error;
use crate::state::{CookieChange, State};
use crate::store::on_store;
use crate::visitor::Visitor;

/// What all requests of a layer share.
pub(crate) struct LayerState {
    pub(crate) config: Config,
    pub(crate) told: ToldExpiries,
}

impl LayerState {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            told: ToldExpiries::default(),
        }
    }
}

/// The session of a request, which the layer puts into its extensions.
#[derive(Clone)]
pub(crate) struct Handle(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) layer: Arc<LayerState>,
    /// Set when something asks for the session.
    visitor: OnceLock<Visitor>,
    is_loaded: AtomicBool,
    state: Mutex<State>,
    /// Calls that load or change the session follow one another.
    pub(crate) calls: AsyncMutex<()>,
}

impl Shared {
    pub(crate) fn new(layer: Arc<LayerState>) -> Self {
        Self {
            layer,
            visitor: OnceLock::new(),
            is_loaded: AtomicBool::new(false),
            state: Mutex::default(),
            calls: AsyncMutex::default(),
        }
    }

    pub(crate) fn of(parts: &Parts) -> Result<Arc<Self>, Error> {
        let handle = parts.extensions.get::<Handle>().ok_or(Error::NoLayer)?;
        handle.0.read_request(parts);
        Ok(Arc::clone(&handle.0))
    }

    fn read_request(&self, parts: &Parts) {
        let config = self.config();
        self.visitor.get_or_init(|| {
            self.state().sent_key = config.cookies.key(&parts.headers);
            Visitor::new(parts, &config.proxies)
        });
    }

    pub(crate) fn config(&self) -> &Config {
        &self.layer.config
    }

    /// Whether something has asked for the session.
    pub(crate) fn is_loaded(&self) -> bool {
        self.is_loaded.load(Ordering::Acquire)
    }

    pub(crate) fn visitor(&self) -> &Visitor {
        static UNKNOWN: std::sync::LazyLock<Visitor> = std::sync::LazyLock::new(Visitor::default);
        self.visitor.get().unwrap_or(&UNKNOWN)
    }

    /// A panic of the application cannot leave the state half changed, because no code of the
    /// application runs under the lock.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resumes the session, once in a request.
    pub(crate) async fn load(&self) -> Result<(), Error> {
        if self.is_loaded() {
            return Ok(());
        }
        let _turn = match self.calls.try_lock() {
            Ok(turn) => turn,
            Err(_) => self.calls.lock().await,
        };
        // Another extractor may have resumed it meanwhile.
        if !self.is_loaded() {
            self.resume().await?;
            self.is_loaded.store(true, Ordering::Release);
        }
        Ok(())
    }

    async fn resume(&self) -> Result<(), Error> {
        let mut sent = SentKey::take(self);
        let Some(key) = &sent.key else {
            return Ok(());
        };
        let (config, visitor) = (self.config(), self.visitor());
        let record = on_store!(config.store, store => {
            let call = store.resume(key).ip(visitor.ip).user_agent(visitor.user_agent());
            call.client_hints(&visitor.client_hints).await
        })?;
        // A cookie that opens no session is left alone: the response to another request may just
        // have set a new one.
        if let Some(record) = record {
            let prolongs =
                config.prolongs_cookies && self.layer.told.note(record.id, record.expires_at);
            let mut state = self.state();
            state.load(sent.key.take(), record);
            if prolongs {
                state.cookie = CookieChange::Prolong;
            }
        }
        Ok(())
    }

    /// The key for a call that changes the session, if there is one.
    pub(crate) fn key(&self) -> Option<Key> {
        self.state().key.clone()
    }

    /// Fails when no cookie can be set any more.
    pub(crate) fn check_head(&self) -> Result<(), Error> {
        match self.state().is_head_sent {
            true => Err(Error::HeadSent),
            false => Ok(()),
        }
    }
}

/// The key that the browser has sent, while the session is resumed by it.
struct SentKey<'a> {
    shared: &'a Shared,
    key: Option<Key>,
}

impl<'a> SentKey<'a> {
    fn take(shared: &'a Shared) -> Self {
        let key = shared.state().sent_key.take();
        Self { shared, key }
    }
}

/// If the call fails or is given up, another one can follow.
impl Drop for SentKey<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.shared.state().sent_key = Some(key);
        }
    }
}

/// Changes after the head of the response need a call of `save`.
#[cfg(feature = "tracing")]
impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if state.is_head_sent && state.has_changes() {
            let id = state.id().map(tracing::field::display);
            tracing::warn!(
                session = id,
                "a session was changed after the head of the response, and not saved"
            );
        }
    }
}

/// Which expiries this process has already told browsers. Telling one asks the database, so that
/// sessions must seldom displace each other. A session that was displaced is told again.
pub(crate) struct ToldExpiries {
    hasher: RandomState,
    sets: Box<[[AtomicU64; WAYS]]>,
}

/// In one cache line.
const WAYS: usize = 8;
/// In all sets, 1 MiB.
const SETS: usize = 16_384;
/// The half of a slot that tells the session. The other one tells its expiry.
const SESSION: u64 = 0xffff_ffff << 32;

impl Default for ToldExpiries {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            sets: (0..SETS).map(|_| Default::default()).collect(),
        }
    }
}

impl ToldExpiries {
    /// Notes the expiry of a session, and returns whether it is news.
    pub(crate) fn note(&self, id: Uuid, expires_at: Option<SystemTime>) -> bool {
        let session = self.hasher.hash_one(id);
        let expiry = self.hasher.hash_one((id, expires_at));
        let told = (session & SESSION) | (expiry & !SESSION);
        let set = &self.sets[(session & !SESSION) as usize % SETS];
        let slots = set.each_ref().map(|slot| slot.load(Ordering::Relaxed));
        if slots.contains(&told) {
            return false;
        }
        let slot = slots
            .iter()
            .position(|slot| slot & SESSION == told & SESSION)
            .or_else(|| slots.iter().position(|slot| *slot == 0))
            .unwrap_or(told as usize % WAYS);
        set[slot].store(told, Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_expiry_is_news_once() {
        let (told, id) = (ToldExpiries::default(), Uuid::from_u128(7));
        let expiry = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert!(told.note(id, expiry(1)));
        assert!(!told.note(id, expiry(1)));
        assert!(told.note(id, expiry(2)));
        assert!(!told.note(id, expiry(2)));
        assert!(told.note(id, None));
    }

    #[test]
    fn many_sessions_do_not_displace_each_other() {
        let told = ToldExpiries::default();
        let ids = || (0..2000).map(Uuid::from_u128);
        assert!(ids().all(|id| told.note(id, None)));
        assert!(!ids().any(|id| told.note(id, None)));
    }
}
