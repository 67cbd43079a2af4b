//! Logins.

use fastrand::Rng;
use qsessions::{Executor, Login, NewLogin, Store};
use serde_json::json;

use super::attempt::{Attempt, attempt};
use super::keys::rekeyed;
use super::sessions::began;
use super::{Known, USERS, Worker};
use crate::history::{Effect, KeyHash, Who};

/// A login that is being prepared.
pub(super) struct Wish {
    pub(super) user: i64,
    token: u64,
    max_sessions: Option<u32>,
}

impl Worker {
    pub(super) fn wish(&self, rng: &mut Rng) -> Wish {
        Wish {
            user: rng.i64(1..=USERS),
            token: self.token(),
            max_sessions: (rng.u32(0..3) == 0).then(|| rng.u32(1..4)),
        }
    }

    pub(super) async fn log_in(&self, rng: &mut Rng, known: &Known) {
        let wish = self.wish(rng);
        let call = self.call("login");
        let created = attempt(rng, wish.login(&self.store, known)).await;
        let effects = match &created {
            Attempt::Done(created) => wish.effects(known, created),
            _ => wish.possible_effects(known),
        };
        self.note(call, &created, effects);
        self.look_again(rng, &[known]).await;
        if let Attempt::Done(created) = created {
            self.publish(rng, created.into()).await;
        }
    }
}

impl Wish {
    pub(super) fn login<'a, E: Executor>(
        &self,
        store: &'a Store<E>,
        known: &'a Known,
    ) -> Login<'a, E> {
        let login = store
            .login(self.user)
            .key(&known.key)
            .data(json!({ "token": self.token }));
        match self.max_sessions {
            Some(max_sessions) => login.max_sessions(max_sessions),
            None => login,
        }
    }

    pub(super) fn effects(&self, known: &Known, created: &NewLogin) -> Vec<Effect> {
        let (id, token) = (created.id, self.token);
        let mut effects = if id == known.id {
            let mut effects = rekeyed(known, &created.key, None);
            effects.push(Effect::Saved {
                id,
                version: None,
                token,
            });
            effects.push(Effect::Owned {
                id,
                user: self.user,
            });
            effects
        } else {
            // The old session belonged to another user, or was dead already.
            let mut effects = began(&created.clone().into(), Some(self.user), token);
            effects.push(Effect::KeyEnded { key: known.hash() });
            effects.push(Effect::MayEnd {
                who: Who::Session(known.id),
            });
            effects
        };
        let who = Who::User(self.user);
        effects.extend(self.max_sessions.map(|max_sessions| {
            if max_sessions == 1 {
                let except = Some(KeyHash::of(created.key.expose()));
                Effect::Ended { who, except }
            } else {
                Effect::MayEnd { who }
            }
        }));
        effects
    }

    fn possible_effects(&self, known: &Known) -> Vec<Effect> {
        vec![
            Effect::KeyEnded { key: known.hash() },
            Effect::Owned {
                id: known.id,
                user: self.user,
            },
            Effect::MayEnd {
                who: Who::Session(known.id),
            },
            Effect::MayEnd {
                who: Who::User(self.user),
            },
        ]
    }
}
