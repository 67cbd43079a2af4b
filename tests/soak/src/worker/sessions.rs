//! Loading, creating and saving.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use qsessions::{ClientHints, Error, Expiry, Key, NewSession, Session, Visit};
use serde_json::json;

use super::attempt::{Attempt, Call, attempt};
use super::{Known, PURGE, USERS, Worker};
use crate::history::{Effect, KeyHash, Nanos, Who, now};

/// Longer than a run.
pub(super) const LONG: Duration = Duration::from_secs(3600);

/// Converts a time of the server's clock, which is this machine's, to the clock of histories.
pub(super) fn on_our_clock(instant: Option<SystemTime>) -> Nanos {
    let Some(instant) = instant else {
        return Nanos::MAX;
    };
    let (now, now_there) = (now(), SystemTime::now());
    match instant.duration_since(now_there) {
        Ok(later) => now + later.as_nanos() as Nanos,
        Err(error) => now.saturating_sub(error.duration().as_nanos() as Nanos),
    }
}

impl Worker {
    /// Loads a session several times, like a page that makes several requests.
    pub(super) async fn load_often(&self, rng: &mut Rng, known: &Known) {
        for _ in 0..rng.u32(1..10) {
            self.load(rng, known).await;
            tokio::time::sleep(Duration::from_micros(rng.u64(0..8_000))).await;
        }
    }

    pub(super) async fn load(&self, rng: &mut Rng, known: &Known) {
        let call = self.call("load");
        self.note_load(rng, call, known.hash(), self.store.load(&known.key))
            .await;
    }

    pub(super) async fn resume(&self, rng: &mut Rng, known: &Known) {
        // Sometimes from another address.
        let ip =
            (rng.u32(0..20) == 0).then(|| IpAddr::from(Ipv4Addr::new(192, 0, 2, rng.u8(1..5))));
        let hints = some_hints(rng);
        let call = self.call("resume");
        let resume = self.store.resume(&known.key).ip(ip).client_hints(&hints);
        self.note_load(rng, call, known.hash(), resume).await;
    }

    /// Records visits to some sessions, of which any may have ended.
    pub(super) async fn record_visits(&self, rng: &mut Rng, known: &Known) {
        let others = (0..rng.u32(1..20)).filter_map(|_| self.keyring.pick(rng));
        let visited: Vec<_> = others.chain([known.clone()]).collect();
        let visits: Vec<_> = visited
            .iter()
            .filter_map(|known| {
                let ip = IpAddr::from(Ipv4Addr::new(192, 0, 2, rng.u8(1..5)));
                Some(Visit::new(&known.key)?.ip(ip).client_hints(some_hints(rng)))
            })
            .collect();
        let call = self.call("record visits");
        let recorded = attempt(rng, self.store.record_visits(&visits)).await;
        self.note(call, &recorded, vec![]);
        self.look_again(rng, &[known]).await;
    }

    async fn note_load(
        &self,
        rng: &mut Rng,
        call: Call<'_>,
        key: KeyHash,
        load: impl IntoFuture<Output = Result<Option<Session>, Error>>,
    ) {
        match attempt(rng, load).await {
            Attempt::Done(session) => call.loaded(key, session.as_ref()),
            Attempt::Refused(_) | Attempt::Unknown => call.failed(),
        }
    }

    pub(super) async fn create(&self, rng: &mut Rng) {
        self.create_as(rng, "create", None).await;
    }

    /// Creates a session with a key that only this process has loaded before.
    pub(super) async fn create_with_key(&self, rng: &mut Rng) {
        let key = Key::new(format!("soak-{:032x}", rng.u128(..)));
        let hash = KeyHash::of(key.expose());
        for _ in 0..2 {
            let call = self.call("load before");
            self.note_load(rng, call, hash, self.store.load(&key)).await;
        }
        self.create_as(rng, "create with key", Some(key)).await;
    }

    async fn create_as(&self, rng: &mut Rng, operation: &'static str, key: Option<Key>) {
        let token = self.token();
        let mut new = self.store.create().data(json!({ "token": token }));
        let user = rng.bool().then(|| rng.i64(1..=USERS));
        if let Some(user) = user {
            new = new.user(user);
        }
        new = match rng.u32(0..10) {
            0 => new.idle_timeout(LONG),
            _ => new.ttl(LONG),
        };
        new = new.key(key.as_ref());
        let call = self.call(operation);
        let created = attempt(rng, new).await;
        let effects = match &created {
            Attempt::Done(created) => began(created, user, token),
            _ => vec![],
        };
        self.note(call, &created, effects);
        if let Attempt::Done(created) = created {
            self.publish(rng, created).await;
        }
    }

    /// Publishes a new key, and loads it.
    pub(super) async fn publish(&self, rng: &mut Rng, created: NewSession) {
        let known = Known {
            key: created.key,
            id: created.id,
        };
        self.keyring.publish(&known);
        self.look_again(rng, &[&known]).await;
    }

    pub(super) async fn save(&self, rng: &mut Rng, known: &Known) {
        let token = self.token();
        let ttl = (rng.u32(0..4) == 0).then_some(LONG);
        let expires = now() + LONG.as_nanos() as Nanos;
        let call = self.call("save");
        let mut save = self.store.save(&known.key, json!({ "token": token }));
        if let Some(ttl) = ttl {
            save = save.ttl(ttl);
        }
        let saved = attempt(rng, save).await;
        let mut effects = self.saved(known, &saved, token);
        effects.extend(ttl.map(|_| Effect::Expires {
            id: known.id,
            at: expires,
        }));
        self.note_change(call, &saved, known, effects);
        self.look_again(rng, &[known]).await;
    }

    /// Makes an anonymous session that of a user under the key that it has, which ends the grace of
    /// a former key. The version tells that it was anonymous until then.
    pub(super) async fn save_user(&self, rng: &mut Rng, known: &Known) {
        let Attempt::Done(Some(session)) = attempt(rng, self.store.load(&known.key)).await else {
            return;
        };
        let (id, user, token) = (known.id, rng.i64(1..=USERS), self.token());
        let call = self.call("save with a user");
        let save = self.store.save(&known.key, json!({ "token": token }));
        let save = save.user(user).expected_version(session.version);
        let saved = attempt(rng, save).await;
        let mut effects = self.saved(known, &saved, token);
        effects.push(Effect::Owned { id, user });
        if session.user_id.is_some() {
            self.note_change(call, &saved, known, effects);
        } else if let Attempt::Refused(Error::SessionNotFound) = saved {
            // The key is dead, or a former one.
            let who = Who::Session(id);
            call.refused(vec![Effect::MayEnd { who }]);
        } else {
            let (key, former) = (known.hash(), None);
            effects.push(Effect::Rekeyed { id, key, former });
            self.note(call, &saved, effects);
        }
        self.look_again(rng, &[known]).await;
    }

    pub(super) async fn save_expecting(&self, rng: &mut Rng, known: &Known) {
        let loaded = self.store.load(&known.key);
        let Attempt::Done(Some(session)) = attempt(rng, loaded).await else {
            return;
        };
        let token = self.token();
        let call = self.call("save expecting a version");
        let save = self.store.save(&known.key, json!({ "token": token }));
        let saved = attempt(rng, save.expected_version(session.version)).await;
        let effects = self.saved(known, &saved, token);
        self.note_change(call, &saved, known, effects);
        self.look_again(rng, &[known]).await;
    }

    pub(super) async fn patch(&self, rng: &mut Rng, known: &Known) {
        let token = self.token();
        let changes = json!({ "token": token, "patched": true });
        let call = self.call("patch");
        let patched = attempt(rng, self.store.patch(&known.key, changes).remove(&["x"])).await;
        let effects = self.saved(known, &patched, token);
        self.note_change(call, &patched, known, effects);
        self.look_again(rng, &[known]).await;
    }

    pub(super) async fn set_expiry(&self, rng: &mut Rng, known: &Known) {
        let ttl = match rng.u32(0..3) {
            0 => LONG,
            _ => Duration::from_millis(rng.u64(100..4000)),
        };
        let earliest = now() + ttl.as_nanos() as Nanos;
        let call = self.call("set expiry");
        let ends = attempt(rng, self.store.set_expiry(&known.key, Expiry::ttl(ttl))).await;
        let at = match &ends {
            Attempt::Done(ends) => on_our_clock(*ends),
            _ => earliest,
        };
        let effects = vec![Effect::Expires { id: known.id, at }];
        self.note_change(call, &ends, known, effects);
        self.look_again(rng, &[known]).await;
    }

    /// Deletes sessions that have expired, of which caches are not notified. Nothing ends by it, so
    /// only that it has happened is recorded.
    pub(super) async fn purge(&self, rng: &mut Rng) {
        let call = self.call(PURGE);
        let batch_size = rng.u32(1..20);
        let purged = attempt(rng, self.store.purge_expired().batch_size(batch_size)).await;
        if !matches!(purged, Attempt::Done(0)) {
            self.note(call, &purged, vec![]);
        }
    }

    fn saved(&self, known: &Known, saved: &Attempt<i64>, token: u64) -> Vec<Effect> {
        let version = match saved {
            Attempt::Done(version) => Some(*version),
            _ => None,
        };
        let id = known.id;
        vec![Effect::Saved { id, version, token }]
    }

    /// Like [`note`](Self::note), for a method that reports a dead key.
    pub(super) fn note_change<T>(
        &self,
        call: Call<'_>,
        attempt: &Attempt<T>,
        known: &Known,
        effects: Vec<Effect>,
    ) {
        match attempt {
            Attempt::Refused(Error::SessionNotFound) => {
                call.refused(vec![Effect::KeyEnded { key: known.hash() }]);
            }
            _ => self.note(call, attempt, effects),
        }
    }
}

fn some_hints(rng: &mut Rng) -> ClientHints {
    let model = ["", "Pixel 8", "Galaxy S24"][rng.usize(0..3)];
    let headers = [("Sec-CH-UA-Model", model)].into_iter();
    headers.filter(|(_, model)| !model.is_empty()).collect()
}

/// The effects of a new session.
pub(super) fn began(created: &NewSession, user: Option<i64>, token: u64) -> Vec<Effect> {
    let id = created.id;
    let mut effects = vec![
        Effect::KeyBegan {
            id,
            key: KeyHash::of(created.key.expose()),
        },
        Effect::Saved {
            id,
            version: Some(1),
            token,
        },
        Effect::Expires {
            id,
            at: on_our_clock(created.expires_at),
        },
    ];
    effects.extend(user.map(|user| Effect::Owned { id, user }));
    effects
}
