//! Which program sent a string.

use crate::Category;
use crate::rules::{PLAIN_WEBKIT, PROGRAMS, Program, Version};
use crate::text::{find, version, words};

/// What is known of the program.
#[derive(Debug, Default)]
pub(crate) struct Found<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) version: Option<&'a str>,
    pub(crate) category: Option<Category>,
}

impl<'a> Found<'a> {
    /// From a word as `GPTBot/1.2`.
    fn product(word: &'a str, category: Category) -> Self {
        let (name, rest) = word.split_once('/').unwrap_or((word, ""));
        Self {
            name: Some(name),
            version: version(rest),
            category: Some(category),
        }
    }
}

pub(crate) fn program(text: &str) -> Found<'_> {
    let rule = PROGRAMS.first(text);
    if let Some((rule, end)) = rule
        && rule.category.is_some()
    {
        return named(text, rule, end);
    }
    // Bots call themselves by browsers' names, too, but no browser by a bot's.
    if let Some(bot) = bot(text) {
        return bot;
    }
    if let Some((rule, end)) = rule {
        return named(text, rule, end);
    }
    if text.contains("AppleWebKit/")
        && let Some((rule, end)) = PLAIN_WEBKIT.first(text)
    {
        return named(text, rule, end);
    }
    if is_mozilla(text) {
        Found::default()
    } else {
        leading_product(text)
    }
}

/// Whether a string is in the form that browsers use, where `Mozilla/5.0` means nothing.
pub(crate) fn is_mozilla(text: &str) -> bool {
    text.starts_with("Mozilla/")
}

/// Where a rule says that the version stands.
pub(crate) fn version_by(text: &str, rule: Version, end: usize) -> Option<&str> {
    match rule {
        Version::Here => {
            let rest = &text[end..];
            version(rest.strip_prefix(['/', ' ']).unwrap_or(rest))
        }
        Version::After(marker) => find(text, marker).and_then(|end| version(&text[end..])),
        Version::Absent => None,
    }
}

fn named<'a>(text: &'a str, rule: &'static Program, end: usize) -> Found<'a> {
    Found {
        name: Some(rule.name),
        version: version_by(text, rule.version, end),
        category: rule.category,
    }
}

/// Bots by what most of them do: have 'bot', 'spider' or 'crawler' in their names, or give the
/// address of a page about them.
fn bot(text: &str) -> Option<Found<'_>> {
    if let Some(word) = words(text).find(|word| is_bot(word)) {
        return Some(Found::product(word, Category::Bot));
    }
    let before = &text[..text.find("+http")?];
    let mut products = words(before).filter(|word| word.find('/') > Some(0));
    let product = if is_mozilla(text) {
        products.last()
    } else {
        products.next()
    }?;
    // With nothing but the browser's own parts before the address, there is no name to tell.
    (!is_mozilla(product)).then(|| Found::product(product, Category::Bot))
}

fn is_bot(word: &str) -> bool {
    let name = word.split('/').next().unwrap_or_default();
    // Cubot makes telephones.
    let is_phone = name
        .get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case("cubot"));
    !is_phone
        && name.bytes().enumerate().any(|(start, byte)| {
            let part: &[u8] = match byte.to_ascii_lowercase() {
                b'b' => b"bot",
                b's' => b"spider",
                b'c' => b"crawler",
                _ => return false,
            };
            let rest = &name.as_bytes()[start..];
            // 'bottle' is no bot, 'Slackbot-LinkExpanding' is.
            let ends = |next: Option<&u8>| !next.is_some_and(u8::is_ascii_lowercase);
            let found = rest
                .get(..part.len())
                .is_some_and(|found| found.eq_ignore_ascii_case(part));
            found && ends(rest.get(part.len()))
        })
}

/// The name that a string begins with, as in `MyBank/4512 CFNetwork/1498.700.2`.
fn leading_product(text: &str) -> Found<'_> {
    let Some((name, rest)) = text.split_once('/') else {
        return Found::default();
    };
    let is_name = !name.is_empty()
        && name.len() <= 40
        && !name.contains(['(', ')', ';', ':', '=', '<', '{', '"'])
        && !name.starts_with(' ');
    match version(rest) {
        Some(version) if is_name => Found {
            name: Some(name),
            version: Some(version),
            category: None,
        },
        _ => Found::default(),
    }
}
