//! The rules, as tables made at compile time from `rules/user-agents.rules`.

use crate::Category;

/// What a rule calls what it has found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Name {
    /// This.
    Fixed(&'static str),
    /// This, the rest of the word that was found, and this.
    AroundRest(&'static str, &'static str),
}

/// Text that is looked for in a string.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) text: &'static str,
    /// Also in the middle of a word.
    pub(crate) anywhere: bool,
}

/// What has to be elsewhere in the string, or must not be.
#[derive(Debug)]
pub(crate) struct Need {
    pub(crate) place: Place,
    pub(crate) present: bool,
}

/// Where a version stands.
#[derive(Debug)]
pub(crate) enum Version {
    /// Behind what was found.
    Here,
    /// Behind something else.
    After(Place),
    /// It is the one at this place among the things between semicolons that follow, counted from 1.
    Item(usize),
    /// It is always this.
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

/// What to look for.
#[derive(Debug)]
pub(crate) struct Marker {
    pub(crate) text: &'static str,
    /// Only at the start of the string.
    pub(crate) at_start: bool,
    /// Only if the word ends there.
    pub(crate) whole: bool,
    pub(crate) needs: &'static [Need],
    /// 0 for programs, 1 for systems, 2 for devices, 3 for what woothee knows more of.
    pub(crate) table: u8,
    /// Its place there.
    pub(crate) rule: u16,
}

/// What the beginning of the name of an Android's model tells.
#[derive(Debug)]
pub(crate) struct Model {
    /// With `#` for a digit, `@` for a capital letter, `$` for the end.
    pub(crate) pattern: &'static str,
    pub(crate) vendor: &'static str,
    /// The kind of device where that is no phone.
    pub(crate) category: Option<Category>,
}

include!(concat!(env!("OUT_DIR"), "/rules.rs"));

/// How many rules there are, and which edition of them.
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
    /// Devices with names of their own.
    pub devices: usize,
    /// Beginnings of models' names, by which their makers are known.
    pub models: usize,
}

/// Which rules are compiled in.
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
        models: MODELS.len(),
    }
}
