//! The checker finds violations, and accepts histories without them.

use std::time::Duration;

use uuid::Uuid;

use super::{Rule, check};
use crate::history::{Deed, Effect, Event, Former, Found, KeyHash, Nanos, Outcome, Who};

const MILLI: Nanos = 1_000_000;
const HOUR: Nanos = 3_600_000 * MILLI;
const ID: Uuid = Uuid::from_u128(7);
const KEY: KeyHash = KeyHash(1);
const NEXT_KEY: KeyHash = KeyHash(2);
const USER: i64 = 42;

/// Two processes whose caches have a `max_staleness` of 100 ms. Times are in milliseconds, and a
/// call takes one.
#[derive(Default)]
struct History(Vec<Event>);

impl History {
    /// A session of a user that began at 10, with token 1.
    fn new() -> Self {
        let mut effects = vec![
            Effect::Owned { id: ID, user: USER },
            Effect::Expires { id: ID, at: HOUR },
        ];
        effects.extend([key_began(KEY), saved(1, 1)]);
        Self::default().change(0, 10, &effects)
    }

    fn event(mut self, process: usize, at: Nanos, deed: Deed) -> Self {
        self.0.push(Event {
            process,
            operation: String::new(),
            start: at * MILLI,
            end: (at + 1) * MILLI,
            deed,
        });
        self
    }

    fn change(self, process: usize, at: Nanos, effects: &[Effect]) -> Self {
        let deed = Deed::Change {
            outcome: Outcome::Done,
            known: Some((at + 1) * MILLI),
            effects: effects.to_vec(),
        };
        self.event(process, at, deed)
    }

    /// A change that takes until `end`.
    fn slow_change(self, process: usize, at: Nanos, end: Nanos, effects: &[Effect]) -> Self {
        let mut history = self.change(process, at, effects);
        let event = history.0.last_mut().expect("the change is there");
        event.end = end * MILLI;
        if let Deed::Change { known, .. } = &mut event.deed {
            *known = Some(event.end);
        }
        history
    }

    fn try_change(self, process: usize, at: Nanos, effects: &[Effect]) -> Self {
        let deed = Deed::Change {
            outcome: Outcome::Unknown,
            known: None,
            effects: effects.to_vec(),
        };
        self.event(process, at, deed)
    }

    /// Data with the token of the version.
    fn found(self, process: usize, at: Nanos, key: KeyHash, version: i64) -> Self {
        self.found_data(process, at, key, version, version as u64)
    }

    fn found_data(self, process: usize, at: Nanos, key: KeyHash, version: i64, token: u64) -> Self {
        let id = ID;
        let found = Some(Found { id, version, token });
        self.event(process, at, Deed::Load { key, found })
    }

    fn none(self, process: usize, at: Nanos, key: KeyHash) -> Self {
        self.event(process, at, Deed::Load { key, found: None })
    }

    fn wrong(mut self) -> Vec<(Rule, Nanos)> {
        self.0.sort_by_key(|event| event.start);
        let violations = check(&self.0, &[Duration::from_millis(100); 2]);
        let load = |at: usize| self.0[at].start / MILLI;
        violations
            .iter()
            .map(|violation| (violation.rule, load(violation.load)))
            .collect()
    }
}

fn key_began(key: KeyHash) -> Effect {
    Effect::KeyBegan { id: ID, key }
}

/// The effects of a rotation at which the key before gets this grace, in milliseconds.
fn rotated(former: KeyHash, key: KeyHash, grace: Option<Nanos>) -> Vec<Effect> {
    let former = grace.map(|grace| Former {
        key: former,
        grace: grace * MILLI,
    });
    let id = ID;
    vec![key_began(key), Effect::Rekeyed { id, key, former }]
}

fn saved(version: i64, token: u64) -> Effect {
    let version = Some(version);
    Effect::Saved {
        id: ID,
        version,
        token,
    }
}

fn ended(who: Who) -> Effect {
    Effect::Ended { who, except: None }
}

/// Process 1 loads the first version at this time, which changes by process 0 may forbid.
fn found_at(history: History, at: Nanos) -> Vec<(Rule, Nanos)> {
    history.found(1, at, KEY, 1).wrong()
}

#[test]
fn what_is_right_is_not_complained_of() {
    let history = History::new()
        .found(0, 12, KEY, 1)
        .none(1, 20, KEY)
        .found(1, 200, KEY, 1)
        .change(0, 300, &[saved(2, 2)])
        .found(0, 302, KEY, 2)
        .found(1, 302, KEY, 1)
        .found(1, 500, KEY, 2)
        .change(
            1,
            600,
            &[Effect::KeyEnded { key: KEY }, key_began(NEXT_KEY)],
        )
        .none(1, 602, KEY)
        .found(0, 650, KEY, 2)
        .found(0, 650, NEXT_KEY, 2)
        .none(0, 800, KEY);
    assert_eq!(history.wrong(), []);
}

#[test]
fn a_version_that_was_replaced_too_long_ago_is_wrong() {
    let history = || History::new().change(0, 300, &[saved(2, 2)]);
    assert_eq!(found_at(history(), 401), []);
    assert_eq!(found_at(history(), 402), [(Rule::OldVersion, 402)]);
}

#[test]
fn what_somebody_has_found_was_committed() {
    let history = || {
        History::new()
            .try_change(0, 300, &[saved(2, 2)])
            .found(0, 350, KEY, 2)
    };
    assert_eq!(found_at(history(), 451), []);
    assert_eq!(found_at(history(), 452), [(Rule::OldVersion, 452)]);
    let nobody_has = History::new().try_change(0, 300, &[saved(2, 2)]);
    assert_eq!(found_at(nobody_has, 900), []);
}

#[test]
fn a_save_that_does_not_say_its_version_is_known_by_its_data() {
    let save = Effect::Saved {
        id: ID,
        version: None,
        token: 2,
    };
    let history = History::new().change(0, 300, &[save]).found(0, 700, KEY, 2);
    assert_eq!(found_at(history, 450), [(Rule::OldVersion, 450)]);
}

#[test]
fn a_process_sees_its_own_changes_at_once() {
    let saves = History::new().change(1, 300, &[saved(2, 2)]);
    assert_eq!(found_at(saves, 302), [(Rule::OldVersion, 302)]);
    let ends = History::new().change(1, 300, &[ended(Who::Session(ID))]);
    assert_eq!(found_at(ends, 302), [(Rule::DeadKey, 302)]);
    let begins = History::new().none(0, 12, KEY);
    assert_eq!(begins.wrong(), [(Rule::LiveKeyNotFound, 12)]);
}

#[test]
fn a_dead_key_that_is_found_is_wrong_whatever_has_ended_it() {
    for end in [
        Effect::KeyEnded { key: KEY },
        ended(Who::Session(ID)),
        ended(Who::User(USER)),
        ended(Who::Everybody),
    ] {
        let history = || History::new().change(0, 300, &[end]);
        assert_eq!(found_at(history(), 401), [], "{end:?}");
        assert_eq!(found_at(history(), 402), [(Rule::DeadKey, 402)], "{end:?}");
        let possibly = History::new().try_change(0, 300, &[end]);
        assert_eq!(found_at(possibly, 900), [], "{end:?}");
    }
}

#[test]
fn what_does_not_surely_end_a_key_does_not() {
    let who = Who::User(USER);
    let except = Some(KEY);
    for spares in [
        Effect::Ended { who, except },
        Effect::MayEnd { who },
        ended(Who::User(USER + 1)),
        Effect::KeyEnded { key: NEXT_KEY },
    ] {
        let history = History::new().change(0, 300, &[spares]);
        assert_eq!(found_at(history, 900), [], "{spares:?}");
    }
    // The session may have begun after its user's sessions were ended.
    let at_once = History::new().change(1, 10, &[ended(who)]);
    assert_eq!(found_at(at_once, 900), []);
}

#[test]
fn a_key_that_was_seen_dead_does_not_come_back() {
    let history = || {
        History::new()
            .try_change(0, 300, &[Effect::KeyEnded { key: KEY }])
            .none(0, 310, KEY)
    };
    assert_eq!(found_at(history(), 411), []);
    assert_eq!(found_at(history(), 412), [(Rule::DeadKey, 412)]);
}

#[test]
fn a_live_key_that_is_not_found_is_wrong() {
    assert_eq!(History::new().none(1, 111, KEY).wrong(), []);
    let late = History::new().none(1, 112, KEY);
    assert_eq!(late.wrong(), [(Rule::LiveKeyNotFound, 112)]);
    let unknown = History::new().none(1, 112, KeyHash(99));
    assert_eq!(unknown.wrong(), []);
    for end in [
        Effect::KeyEnded { key: KEY },
        ended(Who::Session(ID)),
        ended(Who::User(USER)),
        Effect::MayEnd {
            who: Who::User(USER),
        },
        ended(Who::Everybody),
        Effect::Expires {
            id: ID,
            at: 400 * MILLI,
        },
    ] {
        let possibly = History::new().try_change(0, 300, &[end]).none(1, 500, KEY);
        assert_eq!(possibly.wrong(), [], "{end:?}");
        let later = History::new().none(1, 500, KEY).try_change(0, 502, &[end]);
        assert_eq!(later.wrong(), [(Rule::LiveKeyNotFound, 500)], "{end:?}");
    }
}

#[test]
fn data_of_another_version_is_wrong() {
    let history = History::new().found_data(1, 200, KEY, 1, 2);
    assert_eq!(history.wrong(), [(Rule::OtherData, 200)]);
    let unknown = History::new()
        .try_change(0, 300, &[saved(2, 2)])
        .found_data(0, 400, KEY, 2, 2)
        .found_data(1, 500, KEY, 2, 3);
    assert_eq!(unknown.wrong(), [(Rule::OtherData, 500)]);
}

#[test]
fn another_session_than_the_keys_is_wrong() {
    let history = History::new().event(
        1,
        200,
        Deed::Load {
            key: KEY,
            found: Some(Found {
                id: Uuid::from_u128(8),
                version: 1,
                token: 9,
            }),
        },
    );
    assert_eq!(history.wrong(), [(Rule::OtherSession, 200)]);
}

#[test]
fn a_former_key_may_open_its_session_until_the_grace_is_over() {
    // The rotation ends at 301, the grace at 501 and the tolerance at 551.
    let history = || History::new().change(0, 300, &rotated(KEY, NEXT_KEY, Some(200)));
    for at in [302, 450, 651] {
        assert_eq!(found_at(history(), at), [], "{at}");
        assert_eq!(history().found(1, at, NEXT_KEY, 1).wrong(), [], "{at}");
    }
    assert_eq!(found_at(history(), 652), [(Rule::DeadKey, 652)]);
    let possibly = History::new().try_change(0, 300, &rotated(KEY, NEXT_KEY, Some(200)));
    assert_eq!(found_at(possibly, 900), []);
}

#[test]
fn a_former_key_that_opens_nothing_in_its_grace_is_wrong() {
    let history = || History::new().change(0, 300, &rotated(KEY, NEXT_KEY, Some(200)));
    let none_at = |at| history().none(1, at, KEY).wrong();
    // The grace is over at 500 at the earliest, and the tolerance begins at 450.
    assert_eq!(none_at(302), [(Rule::LiveKeyNotFound, 302)]);
    assert_eq!(none_at(449), [(Rule::LiveKeyNotFound, 449)]);
    assert_eq!(none_at(450), []);
    assert_eq!(none_at(900), []);
    // So is one whose rotation may not have been made, and the new one in any case.
    let possibly = History::new().try_change(0, 300, &rotated(KEY, NEXT_KEY, Some(200)));
    let wrong = [(Rule::LiveKeyNotFound, 350)];
    assert_eq!(possibly.none(1, 350, KEY).wrong(), wrong);
    let wrong = [(Rule::LiveKeyNotFound, 450)];
    assert_eq!(history().none(1, 450, NEXT_KEY).wrong(), wrong);
}

#[test]
fn a_former_key_does_not_outlive_its_session_or_another_key() {
    const HOUR_OF_GRACE: Option<Nanos> = Some(3_600_000);
    let ends = [
        vec![ended(Who::Session(ID))],
        vec![ended(Who::User(USER))],
        vec![ended(Who::Everybody)],
        rotated(NEXT_KEY, KeyHash(3), None),
        rotated(NEXT_KEY, KeyHash(3), HOUR_OF_GRACE),
    ];
    let history = || History::new().change(0, 300, &rotated(KEY, NEXT_KEY, HOUR_OF_GRACE));
    for end in &ends {
        let ended = || history().change(0, 400, end);
        assert_eq!(found_at(ended(), 501), [], "{end:?}");
        assert_eq!(found_at(ended(), 502), [(Rule::DeadKey, 502)], "{end:?}");
        assert_eq!(ended().none(1, 600, KEY).wrong(), [], "{end:?}");
        let possibly = history().try_change(0, 400, end);
        assert_eq!(found_at(possibly, 600), [], "{end:?}");
        let possibly = history().try_change(0, 400, end).none(1, 600, KEY);
        assert_eq!(possibly.wrong(), [], "{end:?}");
    }
    // A login by the former key ends the present one too.
    let login = || history().change(0, 400, &rotated(KEY, KeyHash(3), None));
    let wrong = [(Rule::DeadKey, 502)];
    assert_eq!(login().found(1, 502, NEXT_KEY, 1).wrong(), wrong);
    assert_eq!(login().found(1, 502, KEY, 1).wrong(), wrong);
    assert_eq!(login().found(1, 502, KeyHash(3), 1).wrong(), []);
}

#[test]
fn a_key_that_spares_a_session_spares_its_other_key_too() {
    let history = History::new().change(0, 300, &rotated(KEY, NEXT_KEY, Some(3_600_000)));
    let (who, except) = (Who::User(USER), Some(NEXT_KEY));
    let spared = history.change(0, 400, &[Effect::Ended { who, except }]);
    assert_eq!(found_at(spared, 900), []);
}

#[test]
fn a_key_that_began_after_a_rotation_is_not_ended_by_it() {
    let history = || {
        History::new()
            .change(0, 300, &rotated(KEY, NEXT_KEY, None))
            .change(0, 400, &rotated(NEXT_KEY, KeyHash(3), None))
    };
    assert_eq!(history().found(1, 900, KeyHash(3), 1).wrong(), []);
    let wrong = [(Rule::DeadKey, 900)];
    assert_eq!(history().found(1, 900, NEXT_KEY, 1).wrong(), wrong);
}

#[test]
fn a_session_that_expires_while_its_expiry_is_moved_lives_on() {
    let expires = |at: Nanos| Effect::Expires {
        id: ID,
        at: at * MILLI,
    };
    let moved = |at: Nanos| {
        let history = History::new().change(0, 20, &[expires(320)]);
        let history = history.slow_change(0, 300, 400, &[expires(9000)]);
        history.none(1, at, KEY).found(1, 700, KEY, 1).wrong()
    };
    assert_eq!(moved(350), []);
    // What had ended before the change began, the change cannot have found alive.
    assert_eq!(moved(298), [(Rule::DeadKey, 700)]);
}

#[test]
fn an_expired_session_that_is_found_is_wrong() {
    let expires = |at: Nanos| Effect::Expires {
        id: ID,
        at: at * MILLI,
    };
    let history = || History::new().change(0, 300, &[expires(320)]);
    assert_eq!(found_at(history(), 401), []);
    assert_eq!(found_at(history(), 402), [(Rule::Expired, 402)]);
    let not_yet = History::new().change(0, 300, &[expires(1000)]);
    assert_eq!(found_at(not_yet, 1000), []);
    let longer = history().try_change(0, 305, &[expires(9000)]);
    assert_eq!(found_at(longer, 500), []);
    let shorter_at_last = history().change(0, 200, &[expires(9000)]);
    assert_eq!(found_at(shorter_at_last, 500), [(Rule::Expired, 500)]);
}

#[test]
fn a_session_that_was_visited_is_alive_until_the_time_that_the_visit_promises() {
    let expires = |at: Nanos| Effect::Expires {
        id: ID,
        at: at * MILLI,
    };
    let visited = Effect::Visited {
        id: ID,
        until: 900 * MILLI,
    };
    let history = || History::new().change(0, 300, &[expires(400)]);
    assert_eq!(history().none(1, 500, KEY).wrong(), []);
    let history = || history().change(0, 350, &[expires(1000), visited]);
    // The tolerance begins at 850.
    let wrong = [(Rule::LiveKeyNotFound, 848)];
    assert_eq!(history().none(1, 848, KEY).wrong(), wrong);
    assert_eq!(history().none(1, 849, KEY).wrong(), []);
    let ended = history().change(0, 400, &[ended(Who::Session(ID))]);
    assert_eq!(ended.none(1, 500, KEY).wrong(), []);
    // It has expired when the visit that came last no longer counts.
    assert_eq!(found_at(history(), 1050), []);
    assert_eq!(found_at(history(), 1051), [(Rule::Expired, 1051)]);
}
