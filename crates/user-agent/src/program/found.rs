//! A program, as far as it is known.

use std::borrow::Cow;

use crate::category::Category;
use crate::scan::Match;
use crate::text::version;

/// What is known of the program.
#[derive(Debug, Default)]
pub(crate) struct Found<'a> {
    pub(crate) name: Option<Cow<'a, str>>,
    pub(crate) version: Option<&'a str>,
    pub(crate) category: Option<Category>,
    /// The operator of a bot.
    pub(crate) operator: Option<&'static str>,
}

impl<'a> Found<'a> {
    pub(super) fn new(name: &'a str, version: Option<&'a str>) -> Self {
        Self {
            name: Some(Cow::Borrowed(name)),
            version,
            ..Self::default()
        }
    }

    pub(super) fn by_rule(text: &'a str, found: &Match) -> Self {
        Self {
            name: Some(found.name(text)),
            version: found.version(text),
            category: found.rule.category,
            operator: found.rule.vendor,
        }
    }

    /// From a word as `GPTBot/1.2`, or from an empty one.
    pub(super) fn bot(word: &'a str) -> Self {
        let (name, rest) = word.split_once('/').unwrap_or_else(|| numbered(word));
        let name = name.trim();
        let mut found = match name {
            "" => Self::default(),
            name => Self::new(name, version(rest)),
        };
        found.category = Some(Category::Bot);
        found
    }

    /// Whether a person uses it.
    pub(crate) fn is_person(&self) -> bool {
        !matches!(self.category, Some(Category::Bot | Category::Tool))
    }
}

/// `examplebot` and `0.5.0` of `examplebot0.5.0`.
fn numbered(word: &str) -> (&str, &str) {
    let name = word.trim_end_matches(|last: char| last.is_ascii_digit() || last == '.');
    let number = &word[name.len()..];
    if number.trim_matches('.').contains('.') {
        (name, number)
    } else {
        (word, "")
    }
}
