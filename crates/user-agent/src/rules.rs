//! The rules, as tables made at compile time from `rules/user-agents.rules`.

use crate::category::Category;

/// The name that a rule gives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Name {
    /// This text.
    Fixed(&'static str),
    /// The first text, the rest of the word that was found, and the second text.
    AroundRest(&'static str, &'static str),
}

/// A text to look for in a string.
#[derive(Debug)]
pub(crate) struct Needle {
    pub(crate) text: &'static str,
    /// Also in the middle of a word.
    pub(crate) anywhere: bool,
}

/// A text that the string must have as well, or must not have.
#[derive(Debug)]
pub(crate) struct Condition {
    pub(crate) needle: Needle,
    pub(crate) present: bool,
}

/// Where a version stands.
#[derive(Debug)]
pub(crate) enum Version {
    /// Behind the text of the marker.
    Here,
    /// Behind another text.
    After(Needle),
    /// The item of this number, from 1, among those that follow between semicolons.
    Item(usize),
    /// Always this version.
    Is(&'static str),
}

/// A program, a system or a device.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: Name,
    /// In order of preference.
    pub(crate) versions: &'static [Version],
    pub(crate) category: Option<Category>,
    pub(crate) vendor: Option<&'static str>,
}

/// The text by which a rule is found.
#[derive(Debug)]
pub(crate) struct Marker {
    pub(crate) text: &'static str,
    /// Only at the start of the string.
    pub(crate) at_start: bool,
    /// Only if the word ends there.
    pub(crate) whole: bool,
    pub(crate) conditions: &'static [Condition],
    /// 0 for programs, 1 for systems, 2 for devices, 3 for the words about which woothee is asked.
    pub(crate) table: u8,
    /// The index of the rule there.
    pub(crate) rule: u16,
}

/// What the beginning of the name of a model tells.
#[derive(Debug)]
pub(crate) struct ModelRule {
    /// With `#` for a digit, `@` for a capital letter, `$` for the end.
    pub(crate) pattern: &'static str,
    pub(crate) vendor: &'static str,
    /// The kind of device, unless it is a phone.
    pub(crate) category: Option<Category>,
}

include!(concat!(env!("OUT_DIR"), "/rules.rs"));

/// The edition of the rules, and how many there are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RuleCounts {
    /// The edition: year and month.
    pub version: &'static str,
    /// Browsers and apps.
    pub browsers: usize,
    /// Bots.
    pub bots: usize,
    /// Tools and libraries.
    pub tools: usize,
    /// Operating systems.
    pub systems: usize,
    /// Devices other than models of Android.
    pub devices: usize,
    /// Codes and beginnings of names of models, by which names and makers are known.
    pub models: usize,
}

/// Describes the rules that are compiled in.
#[must_use]
pub fn rule_counts() -> RuleCounts {
    let of = |category| {
        let rules = PROGRAMS.iter();
        rules.filter(|rule| rule.category == Some(category)).count()
    };
    let (bots, tools) = (of(Category::Bot), of(Category::Tool));
    RuleCounts {
        version: VERSION,
        browsers: PROGRAMS.len() - bots - tools,
        bots,
        tools,
        systems: SYSTEMS.len(),
        devices: DEVICES.len(),
        models: MODELS.len() + crate::known::MODEL_COUNT,
    }
}
