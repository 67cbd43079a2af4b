//! The report of a run.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::chaos::Mishaps;
use crate::checker::Violation;
use crate::history::{Deed, Effect, Event, KeyHash, Nanos, Outcome, Who};
use crate::run::Options;
use crate::worker::{Counts, PURGE, TWO_PHASES};

/// The number of events that are printed with a violation, before and after the load.
const CONTEXT: usize = 25;
/// The number of violations that are printed in full.
const SHOWN: usize = 5;

/// The result of a run.
#[derive(Debug)]
pub struct Report {
    /// The parameters of the run.
    pub options: Options,
    /// The events of all processes.
    pub history: Vec<Event>,
    /// The violations in the history.
    pub violations: Vec<Violation>,
    /// The faults that were injected.
    pub mishaps: Mishaps,
    /// The counters of the caches, by process.
    pub counts: Vec<Counts>,
}

impl Report {
    /// The reason why the run proves nothing, if there is one, for example that a cache has
    /// answered no load.
    #[must_use]
    pub fn shortcomings(&self) -> Vec<String> {
        let seconds = self.options.duration.as_secs() as usize;
        let mishaps = &self.mishaps;
        let is_too_few = [
            ("loads", self.loads() < 20 * seconds),
            ("changes", self.changes(Outcome::Done) < 2 * seconds),
            ("loads by former keys", self.loads_by_former_keys() == 0),
            ("purges", self.purges() == 0),
            (
                "visits in the background",
                self.total("visits_written") < seconds as u64,
            ),
            ("unknown outcomes", self.changes(Outcome::Unknown) == 0),
            ("restarts", mishaps.restarts == 0),
            ("stalls", mishaps.stalls == 0),
            ("cuts", mishaps.cuts == 0),
            ("hits, of all answers", self.share("hits") < 0.1),
        ];
        let mut shortcomings: Vec<_> = is_too_few
            .into_iter()
            .filter(|(_, is_few)| *is_few)
            .map(|(what, _)| format!("too few {what}"))
            .collect();
        if self.options.is_preloaded && self.two_phases() == 0 {
            shortcomings.push("no transaction was committed in two phases".to_owned());
        }
        if self.options.is_preloaded && mishaps.notifiers_ended == 0 {
            shortcomings.push("no notifier was ended".to_owned());
        }
        for (process, counts) in self.counts.iter().enumerate() {
            if count(counts, "hits") == 0 {
                shortcomings.push(format!(
                    "the cache of process {process} has answered nothing"
                ));
            }
        }
        shortcomings
    }

    fn loads(&self) -> usize {
        let loads = self.history.iter();
        loads
            .filter(|event| matches!(event.deed, Deed::Load { .. }))
            .count()
    }

    fn changes(&self, wanted: Outcome) -> usize {
        let is_wanted = |event: &&Event| matches!(&event.deed, Deed::Change { outcome, effects, .. } if *outcome == wanted && !effects.is_empty());
        self.history.iter().filter(is_wanted).count()
    }

    /// The number of purges that have deleted something.
    fn purges(&self) -> usize {
        self.done(PURGE).count()
    }

    /// The number of transactions that were prepared and then committed.
    fn two_phases(&self) -> usize {
        self.done(TWO_PHASES)
            .filter(|effects| !effects.is_empty())
            .count()
    }

    /// The effects of each confirmed change by an operation.
    fn done(&self, operation: &str) -> impl Iterator<Item = &Vec<Effect>> {
        self.history.iter().filter_map(move |event| {
            let is_it = event.operation == operation;
            match &event.deed {
                Deed::Change {
                    outcome: Outcome::Done,
                    effects,
                    ..
                } if is_it => Some(effects),
                _ => None,
            }
        })
    }

    /// The number of sessions that were found by a key after its rotation.
    fn loads_by_former_keys(&self) -> usize {
        let mut rotated = HashMap::new();
        for event in &self.history {
            if let Deed::Change { effects, .. } = &event.deed {
                rotated.extend(effects.iter().filter_map(|effect| match effect {
                    Effect::Rekeyed { former, .. } => former.map(|former| (former.key, event.end)),
                    _ => None,
                }));
            }
        }
        let is_by_former_key = |event: &&Event| match &event.deed {
            Deed::Load { key, found } => {
                found.is_some() && rotated.get(key).is_some_and(|end| *end < event.start)
            }
            _ => false,
        };
        self.history.iter().filter(is_by_former_key).count()
    }

    fn total(&self, name: &str) -> u64 {
        self.counts.iter().map(|counts| count(counts, name)).sum()
    }

    /// The share of a counter in all loads of the caches.
    fn share(&self, name: &str) -> f64 {
        let answers = ["hits", "negative_hits", "misses", "bypassed"];
        let asked: u64 = answers.iter().map(|name| self.total(name)).sum();
        self.total(name) as f64 / asked.max(1) as f64
    }

    /// The violations, each with the concurrent events of the same session.
    #[must_use]
    pub fn explain(&self) -> String {
        let mut text = String::new();
        for violation in self.violations.iter().take(SHOWN) {
            text += &self.explain_one(violation);
        }
        text
    }

    fn explain_one(&self, violation: &Violation) -> String {
        let load = &self.history[violation.load];
        let cause = &self.history[violation.because_of];
        let ago = (load.start as f64 - cause.end as f64) / 1e6;
        let mut text = format!(
            "\n{:?}: #{} because of #{}, which had ended {ago:.3} ms before (max_staleness {:?})\n",
            violation.rule,
            violation.load,
            violation.because_of,
            crate::run::max_staleness(load.process),
        );
        let (keys, ids) = self.subjects(load);
        let related: Vec<_> = (0..self.history.len())
            .filter(|at| concerns(&self.history[*at], &keys, &ids))
            .collect();
        let place = related.partition_point(|at| *at < violation.load);
        let around = place.saturating_sub(CONTEXT)..(place + CONTEXT / 3).min(related.len());
        let shown = related[around].iter().copied();
        let cause =
            (!shown.clone().any(|at| at == violation.because_of)).then_some(violation.because_of);
        for at in cause.into_iter().chain(shown) {
            text += &line(at, &self.history[at], load.start, &ids);
        }
        text
    }

    /// The keys and the session of an event.
    fn subjects(&self, load: &Event) -> (Vec<KeyHash>, Vec<uuid::Uuid>) {
        let Deed::Load { key, found } = &load.deed else {
            return (vec![], vec![]);
        };
        let mut ids: Vec<_> = found.iter().map(|found| found.id).collect();
        for event in &self.history {
            if let Deed::Change { effects, .. } = &event.deed {
                ids.extend(effects.iter().filter_map(|effect| match effect {
                    Effect::KeyBegan { id, key: began } if began == key => Some(*id),
                    _ => None,
                }));
            }
        }
        (vec![*key], ids)
    }
}

fn count(counts: &Counts, name: &str) -> u64 {
    let name = format!("qsessions_cache_{name}_total");
    counts.get(&name).copied().unwrap_or_default()
}

fn concerns(event: &Event, keys: &[KeyHash], ids: &[uuid::Uuid]) -> bool {
    match &event.deed {
        Deed::Failure => false,
        Deed::Load { key, found } => {
            keys.contains(key) || found.is_some_and(|found| ids.contains(&found.id))
        }
        Deed::Change { effects, .. } => effects.iter().any(|effect| is_about(effect, keys, ids)),
    }
}

fn is_about(effect: &Effect, keys: &[KeyHash], ids: &[uuid::Uuid]) -> bool {
    match effect {
        Effect::KeyEnded { key } => keys.contains(key),
        Effect::KeyBegan { id, .. }
        | Effect::Rekeyed { id, .. }
        | Effect::Saved { id, .. }
        | Effect::Owned { id, .. }
        | Effect::Expires { id, .. }
        | Effect::Visited { id, .. } => ids.contains(id),
        Effect::Ended { who, .. } | Effect::MayEnd { who } => match who {
            Who::Session(id) => ids.contains(id),
            Who::User(_) => false,
            Who::Everybody => true,
        },
    }
}

/// Times are in milliseconds before and after the load.
fn line(at: usize, event: &Event, zero: Nanos, ids: &[uuid::Uuid]) -> String {
    let since = |time: Nanos| (time as f64 - zero as f64) / 1e6;
    let deed = match &event.deed {
        Deed::Load { key, found: None } => format!("{:016x}: none", key.0),
        Deed::Load {
            key,
            found: Some(found),
        } => format!(
            "{:016x}: version {} {:x}",
            key.0, found.version, found.token
        ),
        Deed::Failure => "failed".to_owned(),
        Deed::Change {
            outcome,
            known,
            effects,
        } => {
            let shown: Vec<_> = effects
                .iter()
                .filter(|effect| effects.len() < 10 || is_about(effect, &[], ids))
                .collect();
            let known = known.map_or("-".to_owned(), |known| format!("{:.3}", since(known)));
            format!("{outcome:?} known {known} {shown:?}")
        }
    };
    let (start, end) = (since(event.start), since(event.end));
    format!(
        "  #{at} process {} [{start:.3}, {end:.3}] {}: {deed}\n",
        event.process, event.operation
    )
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mishaps = &self.mishaps;
        let mode = if self.options.is_preloaded {
            "ring"
        } else {
            "notify"
        };
        writeln!(
            f,
            "{:?} in mode {mode}, seed {}",
            self.options.duration, self.options.seed
        )?;
        writeln!(
            f,
            "  {} loads answered, {} by former keys, {} changes, {} of unknown outcome, {} loads failed",
            self.loads(),
            self.loads_by_former_keys(),
            self.changes(Outcome::Done),
            self.changes(Outcome::Unknown),
            self.history
                .iter()
                .filter(|event| event.deed == Deed::Failure)
                .count(),
        )?;
        let mut operations = BTreeMap::<&str, usize>::new();
        for event in &self.history {
            *operations.entry(&event.operation).or_default() += 1;
        }
        let operations: Vec<_> = operations
            .iter()
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        writeln!(f, "  {}", operations.join(", "))?;
        writeln!(
            f,
            "  the caches: {:.0} % hits, {:.0} % known to be none, {:.0} % misses, {:.0} % bypassed; {} fills dropped, {} ids heard",
            100.0 * self.share("hits"),
            100.0 * self.share("negative_hits"),
            100.0 * self.share("misses"),
            100.0 * self.share("bypassed"),
            self.total("fills_dropped"),
            self.total("invalidations"),
        )?;
        write!(
            f,
            "  {} restarts, {} stalls, {} trickles, {} cuts, {} notifiers ended, \
             {} left transactions settled; {} violations",
            mishaps.restarts,
            mishaps.stalls,
            mishaps.trickles,
            mishaps.cuts,
            mishaps.notifiers_ended,
            mishaps.settled,
            self.violations.len(),
        )
    }
}
