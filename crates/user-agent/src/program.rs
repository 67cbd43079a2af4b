//! The program that sent a string: a browser, an app, a bot or a tool.

mod bot;
mod found;
mod product;

use crate::category::Category;
use crate::rules::FIRST_ENGINE;
use crate::scan::{self, Matches};
use crate::text::{is_mozilla, version};

pub(crate) use found::Found;

pub(crate) fn program<'a>(text: &'a str, matches: &Matches) -> Found<'a> {
    let found = matches.program.as_ref();
    let is_engine = found.is_some_and(|found| found.rank >= FIRST_ENGINE);
    let by_rule = found.map(|found| Found::by_rule(text, found));
    if let Some(program) = &by_rule
        && !program.is_person()
    {
        return by_rule.unwrap_or_default();
    }
    // An app that a person uses may send the address of its own page.
    let is_certain = found.is_some_and(|found| found.start == 0 && found.rule.category.is_some());
    // A bot may bear the name of a browser, but no browser that of a bot.
    if !is_certain && let Some(bot) = bot::bot(text, by_rule.is_some()) {
        return bot;
    }
    match by_rule {
        // A program that is made of an engine has a name of its own behind it.
        Some(engine) if is_engine => behind_the_engine(text).unwrap_or(engine),
        Some(program) => program,
        None if is_mozilla(text) => match behind_the_engine(text) {
            Some(program) => program,
            None if matches.system.is_none()
                && matches.device.is_none()
                && !text.contains("Gecko") =>
            {
                bot::without_a_system(text).unwrap_or_default()
            }
            None => Found::default(),
        },
        // The string of a feature phone or of a set-top box begins with the name of the device.
        None if matches.device.is_some_and(|device| device.start == 0) => Found::default(),
        None if matches.system.is_none() && matches.device.is_none() && is_bare(text) => {
            let mut tool = Found::new(text, None);
            tool.category = Some(Category::Tool);
            tool
        }
        None => leading_product(text),
    }
}

/// Whether a text is nothing but a name: one word, or several with a capital letter.
fn is_bare(text: &str) -> bool {
    const NO_NAMES: &[&str] = &["Mozilla", "null", "undefined", "none", "unknown", "test"];
    let is_word = |word: &str| {
        word.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:'&".contains(&byte))
    };
    let mut words = text.split(' ');
    text.len() <= 60
        && !NO_NAMES.iter().any(|word| text.eq_ignore_ascii_case(word))
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
        && words.all(is_word)
        && !text.contains("WAP")
        && (!text.contains(' ') || text.bytes().any(|byte| byte.is_ascii_uppercase()))
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
    // A number that letters follow is the hash of a build.
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

/// Whether a name has only letters, digits and the characters that join words.
fn is_plain(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// A library that sends only its name: `example-http-client`.
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
