//! Rotations, and calls that end sessions.

use std::time::Duration;

use fastrand::Rng;
use qsessions::Key;

use super::attempt::{Attempt, attempt};
use super::{Known, USERS, Worker};
use crate::history::{Effect, Former, KeyHash, Nanos, Who};

/// A grace of which the worker waits for the end.
const SHORT_GRACE: Duration = Duration::from_secs(1);
/// More than the `max_staleness` of all processes.
const MOST_STALE: Duration = Duration::from_millis(1700);

impl Worker {
    pub(super) async fn rotate(&self, rng: &mut Rng, known: &Known) {
        let grace = some_grace(rng);
        let call = self.call("rotate");
        let rotated = attempt(rng, self.store.rotate_key(&known.key).grace(grace)).await;
        let effects = match &rotated {
            Attempt::Done(key) => rekeyed(known, key, grace),
            _ => vec![Effect::MayEnd {
                who: Who::Session(known.id),
            }],
        };
        // A refusal does not say that the key is dead: a former key cannot be rotated.
        self.note(call, &rotated, effects);
        self.look_again(rng, &[known]).await;
        if let Attempt::Done(key) = rotated {
            let id = known.id;
            let known = Known { key, id };
            self.keyring.publish(&known);
            self.look_again(rng, &[&known]).await;
        }
        if let Some(grace) = grace.filter(|grace| *grace < SHORT_GRACE) {
            // The former key is dead by then, also for a cache that has not heard of its end.
            tokio::time::sleep(grace + MOST_STALE).await;
            self.load(rng, known).await;
        }
    }

    pub(super) async fn log_out(&self, rng: &mut Rng, known: &Known) {
        let call = self.call("logout");
        let ended = attempt(rng, self.store.logout(&known.key)).await;
        let mut effects = vec![Effect::KeyEnded { key: known.hash() }];
        if !matches!(ended, Attempt::Done(false)) {
            effects.push(Effect::Ended {
                who: Who::Session(known.id),
                except: None,
            });
        }
        self.note(call, &ended, effects);
        self.look_again(rng, &[known]).await;
    }

    pub(super) async fn revoke(&self, rng: &mut Rng, known: &Known) {
        let call = self.call("revoke");
        let revoked = attempt(rng, self.store.revoke(known.id)).await;
        let effects = vec![Effect::Ended {
            who: Who::Session(known.id),
            except: None,
        }];
        self.note(call, &revoked, effects);
        self.look_again(rng, &[known]).await;
    }

    /// Ends a user's sessions in batches, as administrators do.
    pub(super) async fn revoke_by_filter(&self, rng: &mut Rng, known: &Known) {
        let user = rng.i64(1..=USERS);
        let call = self.call("revoke by a filter");
        let batch_size = rng.u32(1..5);
        let revoke = self.store.revoke_sessions().user(user);
        let revoked = attempt(rng, revoke.batch_size(batch_size)).await;
        let effects = vec![Effect::Ended {
            who: Who::User(user),
            except: None,
        }];
        self.note(call, &revoked, effects);
        self.look_again(rng, &[known]).await;
    }

    pub(super) async fn revoke_user(&self, rng: &mut Rng, known: &Known) {
        let user = rng.i64(1..=USERS);
        let spared = rng.bool().then_some(known);
        let except = spared.map(|known| &known.key);
        let call = self.call("revoke user's sessions");
        let revoked = attempt(rng, self.store.revoke_user_sessions(user).except(except)).await;
        let effects = vec![Effect::Ended {
            who: Who::User(user),
            except: spared.map(Known::hash),
        }];
        self.note(call, &revoked, effects);
        self.look_again(rng, &[known]).await;
    }
}

/// How long the former key is to open the session.
pub(super) fn some_grace(rng: &mut Rng) -> Option<Duration> {
    (rng.u32(0..3) > 0).then(|| Duration::from_millis(rng.u64(50..3000)))
}

/// The effects of a rotation.
pub(super) fn rekeyed(known: &Known, key: &Key, grace: Option<Duration>) -> Vec<Effect> {
    let (id, key, former) = (known.id, KeyHash::of(key.expose()), known.hash());
    let graced = grace.map(|grace| Former {
        key: former,
        grace: grace.as_nanos() as Nanos,
    });
    let mut effects = vec![
        Effect::KeyBegan { id, key },
        Effect::Rekeyed {
            id,
            key,
            former: graced,
        },
    ];
    if grace.is_none() {
        effects.push(Effect::KeyEnded { key: former });
    }
    effects
}
