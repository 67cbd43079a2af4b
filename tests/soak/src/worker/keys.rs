//! Rotations, and calls that end sessions.

use fastrand::Rng;
use qsessions::Key;

use super::attempt::{Attempt, attempt};
use super::{Known, USERS, Worker};
use crate::history::{Effect, KeyHash, Who};

impl Worker {
    pub(super) async fn rotate(&self, rng: &mut Rng, known: &Known) {
        let call = self.call("rotate");
        let rotated = attempt(rng, self.store.rotate_key(&known.key)).await;
        let effects = match &rotated {
            Attempt::Done(key) => rekeyed(known, key),
            _ => vec![Effect::KeyEnded { key: known.hash() }],
        };
        self.note_change(call, &rotated, known, effects);
        self.look_again(rng, &[known]).await;
        if let Attempt::Done(key) = rotated {
            let id = known.id;
            let known = Known { key, id };
            self.keyring.publish(&known);
            self.look_again(rng, &[&known]).await;
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

/// The effects of a rotation.
pub(super) fn rekeyed(known: &Known, key: &Key) -> Vec<Effect> {
    vec![
        Effect::KeyEnded { key: known.hash() },
        Effect::KeyBegan {
            id: known.id,
            key: KeyHash::of(key.expose()),
        },
    ]
}
