//! The pass over a string that finds the rules that match.

use std::borrow::Cow;

use crate::bucket::bucket;
use crate::category::Category;
use crate::model;
use crate::rules::{
    BEGIN, DEVICES, FIRST_ENGINE, MARKERS, Marker, Name, PROGRAMS, Rule, SYSTEMS, Version,
};
use crate::text::{contains, find, is_separator, version, word_starts, words_behind_the_engine};

/// A rule that matches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Match {
    pub(crate) rule: &'static Rule,
    /// Its index in the table: of the rules that match, the first one wins.
    pub(crate) rank: u16,
    /// Where the text of the marker begins.
    pub(crate) start: usize,
    /// Where the text of the marker ends.
    end: usize,
}

impl Match {
    /// The name, with the rest of the word where the rule says so.
    pub(crate) fn name<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.rule.name {
            Name::Fixed(name) => Cow::Borrowed(name),
            Name::AroundRest(before, behind) => {
                let rest = rest_of_word(&text[self.end..]);
                Cow::Owned([before, rest, behind].concat().trim_end().to_owned())
            }
        }
    }

    /// The version, read where the rule says.
    pub(crate) fn version<'a>(&self, text: &'a str) -> Option<&'a str> {
        self.rule.versions.iter().find_map(|source| match source {
            Version::Here => {
                let mut rest = &text[self.end..];
                if matches!(self.rule.name, Name::AroundRest(..)) {
                    rest = &rest[rest_of_word(rest).len()..];
                }
                version(rest.strip_prefix(['/', ' ', '_', ':', '-']).unwrap_or(rest))
            }
            Version::After(needle) => find(text, needle).and_then(|end| version(&text[end..])),
            Version::Item(number) => {
                let items = text[self.end..].split(')').next()?;
                version(items.split(';').nth(number - 1)?.trim())
            }
            Version::Is(version) => Some(version),
        })
    }
}

/// The best match in each of the tables.
#[derive(Debug, Default)]
pub(crate) struct Matches {
    pub(crate) program: Option<Match>,
    pub(crate) system: Option<Match>,
    pub(crate) device: Option<Match>,
    /// Whether woothee may know more.
    pub(crate) ask_woothee: bool,
}

pub(crate) fn matches(text: &str) -> Matches {
    let mut best = [(u16::MAX, 0, 0); 4];
    let bytes = text.as_bytes();
    let model = model::range(text);
    let mut unmet = Unmet::default();
    for start in word_starts(text) {
        let rest = &bytes[start..];
        let &[first, second, ..] = rest else { break };
        let bucket = bucket(first, second);
        let markers = usize::from(BEGIN[bucket])..usize::from(BEGIN[bucket + 1]);
        for index in markers {
            let marker = &MARKERS[index];
            let best = &mut best[usize::from(marker.table)];
            if marker.rule < best.0
                && fits(marker, text, start)
                && !(model.contains(&start) && may_be_a_model(marker))
                && unmet.meets(index, text)
            {
                *best = (marker.rule, start, start + marker.text.len());
            }
        }
    }
    let found = |rules: &'static [Rule], (rank, start, end): (u16, usize, usize)| {
        let rule = rules.get(usize::from(rank))?;
        Some(Match {
            rule,
            rank,
            start,
            end,
        })
    };
    Matches {
        program: found(&PROGRAMS, best[0]),
        system: found(&SYSTEMS, best[1]),
        device: found(&DEVICES, best[2]),
        ask_woothee: best[3].0 != u16::MAX,
    }
}

/// The browser or app whose product stands behind the engine without a version:
/// `… Safari/604.1 Brave`. Some browsers do not send their version.
pub(crate) fn without_a_version(text: &str) -> Option<Match> {
    let alone = words_behind_the_engine(text).filter(|word| !word.contains('/'));
    let mut unmet = Unmet::default();
    let matches = alone.flat_map(|word| {
        let start = word.as_ptr() as usize - text.as_ptr() as usize;
        let bucket = match *word.as_bytes() {
            [first, second, ..] => bucket(first, second),
            _ => return None,
        };
        let mut markers = usize::from(BEGIN[bucket])..usize::from(BEGIN[bucket + 1]);
        let index = markers.find(|&index| {
            let marker = &MARKERS[index];
            marker.table == 0
                && marker.rule < FIRST_ENGINE
                && !marker.at_start
                && marker.text.strip_suffix(['/', ' ']) == Some(word)
                && unmet.meets(index, text)
        })?;
        let marker = &MARKERS[index];
        let rule = &PROGRAMS[usize::from(marker.rule)];
        let is_persons = !matches!(rule.category, Some(Category::Bot | Category::Tool));
        is_persons.then_some(Match {
            rule,
            rank: marker.rule,
            start,
            end: start + word.len(),
        })
    });
    matches.min_by_key(|found| found.rank)
}

/// Whether a marker finds a program by a plain word, which may be part of the name of a model.
fn may_be_a_model(marker: &Marker) -> bool {
    marker.table == 0
        && !marker.text.contains('/')
        && PROGRAMS[usize::from(marker.rule)].category != Some(Category::Bot)
}

fn fits(marker: &Marker, text: &str, start: usize) -> bool {
    let bytes = text.as_bytes();
    let end = start + marker.text.len();
    bytes[start..].starts_with(marker.text.as_bytes())
        && (!marker.at_start || start == 0)
        && (!marker.whole || bytes.get(end).is_none_or(|&next| is_separator(next)))
}

/// The markers whose conditions a text does not meet, one bit for each.
///
/// A condition is looked for in the whole text. A text may repeat the word of a marker hundreds of
/// times, and is searched once.
struct Unmet([u64; MARKERS.len().div_ceil(64)]);

impl Default for Unmet {
    fn default() -> Self {
        Self([0; MARKERS.len().div_ceil(64)])
    }
}

impl Unmet {
    /// Whether the text meets the conditions of a marker.
    fn meets(&mut self, marker: usize, text: &str) -> bool {
        let conditions = MARKERS[marker].conditions;
        if conditions.is_empty() {
            return true;
        }
        let (word, bit) = (&mut self.0[marker / 64], 1 << (marker % 64));
        if *word & bit != 0 {
            return false;
        }
        let is_met = conditions
            .iter()
            .all(|condition| contains(text, &condition.needle) == condition.present);
        if !is_met {
            *word |= bit;
        }
        is_met
    }
}

fn rest_of_word(text: &str) -> &str {
    let end = text.bytes().position(is_separator).unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::{MARKERS, Unmet};

    #[test]
    fn a_condition_that_is_not_met_is_looked_for_once() {
        let is_android_browser = |text: &str| text == "Android";
        let marker = MARKERS
            .iter()
            .position(|marker| is_android_browser(marker.text) && !marker.conditions.is_empty())
            .expect("the rule of Android's browser has a condition");
        let needle = marker_needle(marker);
        let mut unmet = Unmet::default();
        assert!(unmet.meets(marker, needle));
        assert!(!unmet.meets(marker, "Android"));
        // The text of a parse is always the same. Another one shows that it is not searched again.
        assert!(!unmet.meets(marker, needle));
    }

    fn marker_needle(marker: usize) -> &'static str {
        MARKERS[marker].conditions[0].needle.text
    }
}
