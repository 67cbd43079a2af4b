//! Which program sent a string.

use std::borrow::Cow;

use crate::rules::FIRST_ENGINE;
use crate::scan::{Match, Matches};
use crate::text::{is_mozilla, version};
use crate::{Category, bot, product, scan};

/// What is known of the program.
#[derive(Debug, Default)]
pub(crate) struct Found<'a> {
    pub(crate) name: Option<Cow<'a, str>>,
    pub(crate) version: Option<&'a str>,
    pub(crate) category: Option<Category>,
    /// Who runs it, where it is a bot.
    pub(crate) operator: Option<&'static str>,
}

impl<'a> Found<'a> {
    pub(crate) fn new(name: &'a str, version: Option<&'a str>) -> Self {
        Self {
            name: Some(Cow::Borrowed(name)),
            version,
            ..Self::default()
        }
    }

    fn by_rule(text: &'a str, found: &Match) -> Self {
        Self {
            name: Some(found.name(text)),
            version: found.version(text),
            category: found.rule.category,
            operator: found.rule.vendor,
        }
    }

    /// Whether a person uses it.
    pub(crate) fn is_person(&self) -> bool {
        !matches!(self.category, Some(Category::Bot | Category::Tool))
    }
}

pub(crate) fn program<'a>(text: &'a str, matches: &Matches) -> Found<'a> {
    let found = matches.program.as_ref();
    let is_engine = found.is_some_and(|found| found.place >= FIRST_ENGINE);
    let by_rule = found.map(|found| Found::by_rule(text, found));
    if let Some(program) = &by_rule
        && !program.is_person()
    {
        return by_rule.unwrap_or_default();
    }
    // Bots call themselves by browsers' names, too, but no browser by a bot's.
    if let Some(bot) = bot::bot(text, by_rule.is_some()) {
        return bot;
    }
    match by_rule {
        // What is made of an engine has a name of its own behind it.
        Some(engine) if is_engine => behind_the_engine(text).unwrap_or(engine),
        Some(program) => program,
        None if is_mozilla(text) => behind_the_engine(text).unwrap_or_default(),
        // An old telephone or a box begins with its own name.
        None if matches.device.is_some_and(|device| device.start == 0) => Found::default(),
        None => leading_product(text),
    }
}

fn behind_the_engine(text: &str) -> Option<Found<'_>> {
    if let Some(found) = scan::without_a_version(text) {
        return Some(Found::by_rule(text, &found));
    }
    let (name, version) = product::behind_the_engine(text)?;
    Some(Found::new(name, Some(version)))
}

/// The name that a string begins with, as in `MyBank/4512 CFNetwork/1498.700.2`.
fn leading_product(text: &str) -> Found<'_> {
    let Some((name, rest)) = text.split_once('/') else {
        return bare_library(text);
    };
    let is_name = !name.is_empty()
        && name.len() <= 40
        && !name.eq_ignore_ascii_case("mozilla")
        && !name.contains(['(', ')', ';', ':', '=', '<', '{', '"', '$'])
        && !name.starts_with(' ');
    // What goes on with letters is the hash of a build.
    let version = version(rest).filter(|version| {
        version.contains('.')
            || !rest[version.len()..].starts_with(|next: char| next.is_ascii_alphanumeric())
    });
    match version {
        Some(_) if is_name => Found::new(name, version),
        None if is_name && name.len() > 2 && is_plain(name) && !rest.starts_with('/') => {
            Found::new(name, None)
        }
        _ => Found::default(),
    }
}

/// Whether it has nothing but letters, digits and what names are joined with.
fn is_plain(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// A library that says no more than its name: `example-http-client`.
fn bare_library(text: &str) -> Found<'_> {
    const PARTS: &[&str] = &["http", "client", "fetch", "curl"];
    let is_name = text.len() <= 40 && is_plain(text);
    let lower = if is_name {
        text.to_ascii_lowercase()
    } else {
        String::new()
    };
    if !PARTS.iter().any(|part| lower.contains(part)) {
        return Found::default();
    }
    let mut library = Found::new(text, None);
    library.category = Some(Category::Tool);
    library
}
