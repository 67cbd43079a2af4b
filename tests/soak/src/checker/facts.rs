//! The changes of a history, by key and session.

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use crate::history::{Deed, Effect, Event, Former, Found, KeyHash, Nanos, Outcome, Who};

/// A change in the form that the rules need.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    /// Its index in the history.
    pub(super) at: usize,
    pub(super) process: usize,
    pub(super) start: Nanos,
    /// The time by which it was committed; [`Nanos::MAX`] if that is unknown.
    pub(super) end: Nanos,
    /// The time from which its own process must see it.
    pub(super) known: Option<Nanos>,
    /// Whether it was certainly made.
    pub(super) is_sure: bool,
    /// A key that it excluded.
    pub(super) except: Option<KeyHash>,
}

/// A change that has given a session a new key.
#[derive(Debug)]
pub(super) struct Rekey {
    pub(super) key: KeyHash,
    pub(super) former: Option<Former>,
    pub(super) change: Change,
}

/// Versions with the times by which they had certainly been made.
#[derive(Debug, Default)]
pub(super) struct Versions(Vec<(Nanos, i64, usize)>);

impl Versions {
    /// Sorts the entries, so that each one has the newest version until its time.
    fn arrange(&mut self) {
        self.0.sort_unstable();
        for at in 1..self.0.len() {
            let (_, version, event) = self.0[at - 1];
            if self.0[at].1 < version {
                (self.0[at].1, self.0[at].2) = (version, event);
            }
        }
    }

    /// The newest version that had been made before this time, and the event that proves it.
    pub(super) fn before(&self, time: Nanos) -> Option<(i64, usize)> {
        let count = self.0.partition_point(|(made, ..)| *made < time);
        let (_, version, event) = self.0.get(count.checked_sub(1)?)?;
        Some((*version, *event))
    }
}

#[derive(Debug, Default)]
pub(super) struct Facts {
    max_staleness: Vec<Nanos>,
    /// The session of each key, and the change that made it.
    pub(super) births: HashMap<KeyHash, (Uuid, Change)>,
    pub(super) rekeys: HashMap<Uuid, Vec<Rekey>>,
    pub(super) ends: HashMap<KeyHash, Vec<Change>>,
    pub(super) ends_of_sessions: HashMap<Uuid, Vec<Change>>,
    pub(super) ends_of_users: HashMap<i64, Vec<Change>>,
    pub(super) ends_of_all: Vec<Change>,
    pub(super) owners: HashMap<Uuid, Vec<(i64, Change)>>,
    pub(super) expiries: HashMap<Uuid, Vec<(Nanos, Change)>>,
    /// The times before which a visit keeps each session alive.
    pub(super) visits: HashMap<Uuid, Vec<(Nanos, Change)>>,
    /// The versions that all processes have made.
    pub(super) versions: HashMap<Uuid, Versions>,
    /// The versions that each process has made, with the times from which it must see them.
    pub(super) own_versions: HashMap<(usize, Uuid), Versions>,
    /// The data of each version, and an event that proves it.
    pub(super) tokens: HashMap<(Uuid, i64), (u64, usize)>,
    /// The time at which a key that had been live was first found to be dead.
    pub(super) seen_dead: HashMap<KeyHash, (Nanos, usize)>,
    /// The saves that do not return their version.
    unnumbered: Vec<(Uuid, u64, Change)>,
}

impl Facts {
    pub(super) fn of(history: &[Event], max_staleness: &[Duration]) -> Self {
        let mut facts = Self {
            max_staleness: max_staleness
                .iter()
                .map(|duration| duration.as_nanos() as Nanos)
                .collect(),
            ..Self::default()
        };
        for (at, event) in history.iter().enumerate() {
            facts.note(at, event);
        }
        facts.number_saves();
        for versions in facts.versions.values_mut() {
            versions.arrange();
        }
        for versions in facts.own_versions.values_mut() {
            versions.arrange();
        }
        for (at, event) in history.iter().enumerate() {
            facts.note_death(at, event);
        }
        facts
    }

    /// The time before which ended changes must be visible to this load.
    pub(super) fn must_see_before(&self, load: &Event) -> Nanos {
        load.start.saturating_sub(self.max_staleness[load.process])
    }

    fn note(&mut self, at: usize, event: &Event) {
        match &event.deed {
            Deed::Load { found, .. } => {
                if let Some(found) = found {
                    self.note_found(at, event.end, found);
                }
            }
            Deed::Failure => {}
            Deed::Change {
                outcome,
                known,
                effects,
            } => {
                let is_sure = *outcome == Outcome::Done;
                let change = Change {
                    at,
                    process: event.process,
                    start: event.start,
                    end: if is_sure { event.end } else { Nanos::MAX },
                    known: *known,
                    is_sure,
                    except: None,
                };
                for effect in effects {
                    self.note_effect(change, effect);
                }
            }
        }
    }

    /// A load that returns a change proves that it had been committed by then.
    fn note_found(&mut self, at: usize, end: Nanos, found: &Found) {
        self.versions
            .entry(found.id)
            .or_default()
            .0
            .push((end, found.version, at));
        self.tokens
            .entry((found.id, found.version))
            .or_insert((found.token, at));
    }

    fn note_effect(&mut self, change: Change, effect: &Effect) {
        match *effect {
            Effect::KeyBegan { id, key } => {
                if change.is_sure {
                    self.births.insert(key, (id, change));
                }
            }
            Effect::Rekeyed { id, key, former } => {
                self.rekeys.entry(id).or_default().push(Rekey {
                    key,
                    former,
                    change,
                });
            }
            Effect::KeyEnded { key } => self.ends.entry(key).or_default().push(change),
            Effect::Saved { id, version, token } => self.note_saved(change, id, version, token),
            Effect::Owned { id, user } => {
                self.owners.entry(id).or_default().push((user, change));
            }
            Effect::Ended { who, except } => self.note_end(who, Change { except, ..change }),
            Effect::MayEnd { who } => {
                let is_sure = false;
                self.note_end(who, Change { is_sure, ..change });
            }
            Effect::Expires { id, at } => {
                self.expiries.entry(id).or_default().push((at, change));
            }
            Effect::Visited { id, until } => {
                self.visits.entry(id).or_default().push((until, change));
            }
        }
    }

    fn note_end(&mut self, who: Who, change: Change) {
        match who {
            Who::Session(id) => self.ends_of_sessions.entry(id).or_default().push(change),
            Who::User(user) => self.ends_of_users.entry(user).or_default().push(change),
            Who::Everybody => self.ends_of_all.push(change),
        }
    }

    fn note_saved(&mut self, change: Change, id: Uuid, version: Option<i64>, token: u64) {
        if !change.is_sure {
            return;
        }
        match version {
            Some(version) => {
                self.tokens.insert((id, version), (token, change.at));
                self.note_made(change, id, version);
            }
            None => self.unnumbered.push((id, token, change)),
        }
    }

    fn note_made(&mut self, change: Change, id: Uuid, version: i64) {
        let made = (change.end, version, change.at);
        self.versions.entry(id).or_default().0.push(made);
        if let Some(known) = change.known {
            let own = self.own_versions.entry((change.process, id)).or_default();
            own.0.push((known, version, change.at));
        }
    }

    /// A load that returns the data of a save also has its version.
    fn number_saves(&mut self) {
        let numbers: HashMap<(Uuid, u64), i64> = self
            .tokens
            .iter()
            .map(|((id, version), (token, _))| ((*id, *token), *version))
            .collect();
        for (id, token, change) in std::mem::take(&mut self.unnumbered) {
            if let Some(version) = numbers.get(&(id, token)) {
                self.note_made(change, id, *version);
            }
        }
    }

    /// A key is dead if a load had to see it and did not, and it remains dead.
    ///
    /// The load is no proof while a change of the expiry is under way: that change may have found the
    /// session alive, and the session expires for others until it is committed.
    fn note_death(&mut self, at: usize, event: &Event) {
        let Deed::Load { key, found: None } = &event.deed else {
            return;
        };
        let Some((id, birth)) = self.births.get(key) else {
            return;
        };
        let mut expiries = self.expiries.get(id).into_iter().flatten();
        let may_go_on =
            expiries.any(|(_, change)| change.can_be_seen(event) && change.end > event.start);
        if birth.must_be_seen(event, self.must_see_before(event)) && !may_go_on {
            let seen = self.seen_dead.entry(*key).or_insert((event.end, at));
            *seen = (*seen).min((event.end, at));
        }
    }
}

impl Rekey {
    /// The grace of a key, if this change has made it a former one.
    pub(super) fn grace_of(&self, key: KeyHash) -> Option<Nanos> {
        let former = self.former.filter(|former| former.key == key)?;
        Some(former.grace)
    }
}

impl Change {
    /// Whether this load must see the change.
    pub(super) fn must_be_seen(&self, load: &Event, must_see_before: Nanos) -> bool {
        let knows =
            || self.process == load.process && self.known.is_some_and(|known| known <= load.start);
        self.is_sure && (self.end < must_see_before || knows())
    }

    /// Whether this load can have seen the change.
    pub(super) fn can_be_seen(&self, load: &Event) -> bool {
        self.start < load.end
    }

    /// Whether the change can have been made after another one.
    pub(super) fn can_follow(&self, other: &Self) -> bool {
        self.end > other.start
    }

    /// Whether the change can only have begun after another one was committed.
    pub(super) fn surely_follows(&self, other: &Self) -> bool {
        other.is_sure && other.end < self.start
    }
}
