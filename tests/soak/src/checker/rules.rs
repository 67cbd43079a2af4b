//! The rules that loads must follow.

use uuid::Uuid;

use super::Rule;
use super::facts::{Change, Facts, Rekey};
use crate::history::{Event, Found, KeyHash, Nanos};

/// A tolerance, because an expiry appears earlier or later if a clock is adjusted during the run.
const CLOCK_ERROR: Nanos = 50_000_000;

/// A load in the form that the rules need.
pub(super) struct Load<'a> {
    pub(super) event: &'a Event,
    pub(super) key: KeyHash,
    /// The load must see changes that had ended before this time.
    pub(super) must_see_before: Nanos,
}

impl Load<'_> {
    fn must_see(&self, change: &Change) -> bool {
        change.must_be_seen(self.event, self.must_see_before)
    }
}

type Wrong = (Rule, usize);

/// The rule that forbids this result, and the event that proves it.
pub(super) fn wrongly_found(facts: &Facts, load: &Load<'_>, found: &Found) -> Option<Wrong> {
    let rules = [
        other_session,
        dead_key,
        replaced_key,
        old_version,
        own_old_version,
        other_data,
        expired,
    ];
    rules.iter().find_map(|rule| rule(facts, load, found))
}

fn other_session(facts: &Facts, load: &Load<'_>, found: &Found) -> Option<Wrong> {
    let (id, birth) = facts.births.get(&load.key)?;
    (*id != found.id).then_some((Rule::OtherSession, birth.at))
}

fn dead_key(facts: &Facts, load: &Load<'_>, found: &Found) -> Option<Wrong> {
    let seen_dead = facts.seen_dead.get(&load.key);
    let ended = facts.ends.get(&load.key).into_iter().flatten();
    let end = seen_dead
        .filter(|(since, _)| *since < load.must_see_before)
        .map(|(_, at)| *at)
        .or_else(|| {
            ended
                .chain(facts.ends_of_sessions.get(&found.id).into_iter().flatten())
                .chain(ends_with_others(facts, load.key, found.id))
                .find(|change| load.must_see(change))
                .map(|change| change.at)
        });
    end.map(|at| (Rule::DeadKey, at))
}

/// A key that the session had before a change to its keys, unless a grace lasts.
fn replaced_key(facts: &Facts, load: &Load<'_>, found: &Found) -> Option<Wrong> {
    let (_, birth) = facts.births.get(&load.key)?;
    let mut rekeys = facts.rekeys.get(&found.id)?.iter();
    let is_replaced = |rekey: &&Rekey| match rekey.grace_of(load.key) {
        Some(grace) => {
            let end = rekey.change.end.saturating_add(grace + CLOCK_ERROR);
            end < load.must_see_before
        }
        None => {
            rekey.key != load.key
                && rekey.change.surely_follows(birth)
                && load.must_see(&rekey.change)
        }
    };
    rekeys
        .find(is_replaced)
        .map(|rekey| (Rule::DeadKey, rekey.change.at))
}

/// A change that has ended this key together with other sessions that had begun before.
fn ends_with_others(facts: &Facts, key: KeyHash, id: Uuid) -> impl Iterator<Item = &Change> {
    let birth = facts.births.get(&key).map(|(_, birth)| birth);
    let owners = facts.owners.get(&id).into_iter().flatten();
    owners
        .flat_map(move |(user, owned)| {
            let ends = facts.ends_of_users.get(user).into_iter().flatten();
            ends.filter(move |end| end.surely_follows(owned))
        })
        .chain(&facts.ends_of_all)
        .filter(move |end| {
            let spares = end.except.is_some_and(|except| {
                // A session can have two keys, and each of them spares it.
                except == key
                    || facts
                        .births
                        .get(&except)
                        .is_some_and(|(other, _)| *other == id)
            });
            !spares && birth.is_some_and(|birth| end.surely_follows(birth))
        })
}

fn old_version(facts: &Facts, load: &Load<'_>, found: &Found) -> Option<Wrong> {
    let (version, at) = facts
        .versions
        .get(&found.id)?
        .before(load.must_see_before)?;
    (version > found.version).then_some((Rule::OldVersion, at))
}

fn own_old_version(facts: &Facts, load: &Load<'_>, found: &Found) -> Option<Wrong> {
    let own = facts.own_versions.get(&(load.event.process, found.id))?;
    let (version, at) = own.before(load.event.start + 1)?;
    (version > found.version).then_some((Rule::OldVersion, at))
}

fn other_data(facts: &Facts, _: &Load<'_>, found: &Found) -> Option<Wrong> {
    let (token, at) = facts.tokens.get(&(found.id, found.version))?;
    (*token != found.token).then_some((Rule::OtherData, *at))
}

/// Whether the last known expiry had passed. If another change may have set a later one, there is
/// no violation.
fn expired(facts: &Facts, load: &Load<'_>, found: &Found) -> Option<Wrong> {
    let expiries = facts.expiries.get(&found.id)?;
    let (_, end) = expiries.iter().find(|(at, change)| {
        load.must_see(change)
            && load.event.start > at.saturating_add(CLOCK_ERROR)
            && !expiries.iter().any(|(_, other)| {
                other.at != change.at && other.can_follow(change) && other.can_be_seen(load.event)
            })
    })?;
    Some((Rule::Expired, end.at))
}

/// The rule that requires the session of this key, and the event that proves it.
pub(super) fn wrongly_not_found(facts: &Facts, load: &Load<'_>) -> Option<Wrong> {
    let (id, birth) = facts.births.get(&load.key)?;
    let is_alive = load.must_see(birth)
        && !possible_ends(facts, load, *id)
            .any(|end| end.can_be_seen(load.event) && end.can_follow(birth))
        && !may_have_expired(facts, load, *id);
    is_alive.then_some((Rule::LiveKeyNotFound, birth.at))
}

/// All changes that can have ended this key.
fn possible_ends<'a>(
    facts: &'a Facts,
    load: &'a Load<'_>,
    id: Uuid,
) -> impl Iterator<Item = &'a Change> {
    let owners = facts.owners.get(&id).into_iter().flatten();
    let by_user = owners
        .filter(|(_, owned)| owned.can_be_seen(load.event))
        .flat_map(|(user, _)| facts.ends_of_users.get(user).into_iter().flatten())
        .filter(|end| end.except != Some(load.key));
    let ended = facts.ends.get(&load.key).into_iter().flatten();
    let rekeys = facts.rekeys.get(&id).into_iter().flatten();
    let by_rekey = rekeys.filter(|rekey| match rekey.grace_of(load.key) {
        Some(grace) => rekey.change.start + grace < load.event.end + CLOCK_ERROR,
        None => rekey.key != load.key,
    });
    ended
        .chain(facts.ends_of_sessions.get(&id).into_iter().flatten())
        .chain(by_rekey.map(|rekey| &rekey.change))
        .chain(by_user)
        .chain(&facts.ends_of_all)
}

fn may_have_expired(facts: &Facts, load: &Load<'_>, id: Uuid) -> bool {
    let mut visits = facts.visits.get(&id).into_iter().flatten();
    let is_kept_alive = visits.any(|(until, visit)| {
        visit.end < load.event.start && load.event.end + CLOCK_ERROR < *until
    });
    if is_kept_alive {
        return false;
    }
    let expiries = facts.expiries.get(&id).into_iter().flatten();
    let mut seen = expiries.filter(|(_, change)| change.can_be_seen(load.event));
    seen.any(|(at, _)| at.saturating_sub(CLOCK_ERROR) < load.event.end)
}
