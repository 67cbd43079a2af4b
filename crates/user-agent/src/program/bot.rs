//! Bots that no rule knows.

use super::found::Found;
use super::product::is_common;
use crate::model;
use crate::rules::NOT_BOTS;
use crate::text::{is_mozilla, words};

/// What bots call themselves.
const KINDS: &[&str] = &[
    "bot", "spider", "crawler", "crawl", "scraper", "fetcher", "archiver",
];

/// Words that may follow `compatible;` and are no name of a bot.
const NOT_NAMES: &[&str] = &[
    "MSIE",
    "IE",
    "Konqueror",
    "Windows",
    "Linux",
    "X11",
    "Macintosh",
    "Android",
    "iPhone",
    "iPad",
    "U;",
];

/// A bot has `bot` or a similar word in its name, or gives the address of a page about itself or of
/// a person, or calls itself compatible with a browser.
///
/// `is_known` tells whether a rule has found a program. Then only unmistakable signs count.
pub(crate) fn bot(text: &str, is_known: bool) -> Option<Found<'_>> {
    // A television lists its abilities and models, which may look like the name of a bot.
    by_form(text, is_known).filter(|_| !text.contains("HbbTV/"))
}

fn by_form(text: &str, is_known: bool) -> Option<Found<'_>> {
    let address = address(text, is_known);
    if let Some(word) = words(text).find(|word| is_bot(word))
        && (address.is_some() || !is_of_a_model(text, word))
    {
        return Some(Found::bot(name_around(text, word)));
    }
    if let Some(name) = behind_gecko(text) {
        return Some(Found::bot(name));
    }
    if !is_mozilla(text) {
        let before = &text[..address?];
        let product = words(before).find(|word| word.find('/') > Some(0));
        let name = product.unwrap_or_else(|| heading(before));
        // The text of an attack may have an address too, but has no name.
        let is_name = name.starts_with(|first: char| first.is_alphanumeric());
        return is_name.then(|| Found::bot(name));
    }
    if let Some(name) = compatible_name(text)
        && (address.is_some() || !is_known)
    {
        return Some(Found::bot(name));
    }
    let before = &text[..address?];
    let products = words(before).filter(|word| word.find('/') > Some(0));
    let product = products
        .filter(|word| !is_common(word.split('/').next().unwrap_or_default()))
        .last();
    Some(Found::bot(product.unwrap_or_default()))
}

/// A program that passes for a browser, but names no system and no engine:
/// `Mozilla/5.0 Example/1.0`.
pub(crate) fn without_a_system(text: &str) -> Option<Found<'_>> {
    let rest = text.strip_prefix("Mozilla/5.0 ")?;
    let is_name = |word: &&str| {
        let name = word.split('/').next().unwrap_or_default();
        !is_common(name)
            && !NOT_NAMES.contains(&name)
            && name.starts_with(|first: char| first.is_ascii_alphabetic())
    };
    let name = words(rest)
        .take(8)
        .find(is_name)
        .filter(|name| name.len() <= 60)?;
    Some(Found::bot(name))
}

/// `Example` in `AppleWebKit/537.36 (KHTML, like Gecko; compatible; Example/1.0)`. Browsers put
/// nothing there.
fn behind_gecko(text: &str) -> Option<&str> {
    const ENGINE: &str = "(KHTML, like Gecko; ";
    let mut comments = text.match_indices('(').map(|(start, _)| &text[start..]);
    let rest = comments.find_map(|comment| comment.strip_prefix(ENGINE))?;
    let inside = rest.split(')').next()?;
    let inside = inside
        .trim_start_matches("compatible")
        .trim_start_matches([';', ' ']);
    let name = inside.split(';').next()?.trim();
    let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic()) && name.len() <= 60;
    is_name.then_some(name)
}

/// Whether a word of the text belongs to the name of a model.
fn is_of_a_model(text: &str, word: &str) -> bool {
    let start = word.as_ptr().addr() - text.as_ptr().addr();
    !word.contains('/') && model::range(text).contains(&start)
}

/// Where the address of a page or a person begins.
///
/// Some toolbars have put the address of their makers into the strings of known browsers, bare and
/// among the details. A bot has it behind its product or in brackets of its own.
fn address(text: &str, is_known: bool) -> Option<usize> {
    if let Some(start) = pages(text).find(|&start| text[..start].ends_with('+')) {
        return Some(start - 1);
    }
    if !is_known {
        return pages(text).next().or_else(|| mentioned(text));
    }
    let is_in_brackets = |start: &usize| text[..*start].ends_with('(');
    let mut brackets = text.match_indices('(').map(|(start, _)| start);
    pages(text)
        .find(is_in_brackets)
        .or_else(|| brackets.find(|&start| text[start..].starts_with("(www.")))
        .or_else(|| person(text))
}

/// Where addresses of pages begin, as `https://example.com`. Most strings have no colon.
fn pages(text: &str) -> impl Iterator<Item = usize> {
    let colons = text.match_indices(':').map(|(colon, _)| colon);
    let schemes = colons.filter(|&colon| text[colon..].starts_with("://"));
    schemes.map(|colon| {
        let letters = text[..colon].bytes().rev();
        colon - letters.take_while(u8::is_ascii_alphabetic).count()
    })
}

/// Where the address of a person begins, in whatever form.
fn mentioned(text: &str) -> Option<usize> {
    let at = text.find('@')?;
    let part = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let is_person = part(bytes.get(at + 1)) && at > 0 && part(bytes.get(at - 1));
    let start = text[..at].rfind([' ', '(', ';', ',', '+'])? + 1;
    is_person.then_some(start)
}

/// Where the address of a person begins, as `someone@example.com`.
fn person(text: &str) -> Option<usize> {
    let at = text.find('@')?;
    let is_part =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'+');
    let before = text[..at]
        .bytes()
        .rev()
        .take_while(|&byte| is_part(byte))
        .count();
    let host = &text[at + 1..];
    let host = &host[..host.bytes().take_while(|&byte| is_part(byte)).count()];
    let (name, domain) = host.trim_end_matches('.').rsplit_once('.')?;
    let is_domain =
        (2..=8).contains(&domain.len()) && domain.bytes().all(|byte| byte.is_ascii_lowercase());
    (before > 0 && !name.is_empty() && is_domain).then_some(at - before)
}

/// `Example` in `(compatible; Example/1.0; …)`.
fn compatible_name(text: &str) -> Option<&str> {
    let (_, rest) = text.rsplit_once("compatible; ")?;
    let end = rest
        .find([';', ',', '(', ')', '+', '<'])
        .unwrap_or(rest.len());
    let name = rest[..end].trim();
    let name = name.split(" http").next().unwrap_or_default();
    let is_name = name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.len() <= 60
        && name != "U"
        && !NOT_NAMES.iter().any(|other| name.starts_with(other));
    is_name.then_some(name)
}

/// The beginning of a text, up to the first bracket or separator.
fn heading(text: &str) -> &str {
    let end = text.find(['(', ';', ',', '[', '+']).unwrap_or(text.len());
    let name = text[..end].trim_matches([' ', '-', ':']);
    if name.len() <= 60 { name } else { "" }
}

/// The word. If it is just `Bot`, the words before it belong to the name.
fn name_around<'a>(text: &'a str, word: &'a str) -> &'a str {
    let name = word.split('/').next().unwrap_or_default();
    if !KINDS.iter().any(|kind| name.eq_ignore_ascii_case(kind)) {
        return word;
    }
    let Some(start) = text.find(word) else {
        return word;
    };
    let from = text[..start]
        .rfind(['(', ')', ';', ',', '[', ']', '/', '"'])
        .map_or(0, |index| index + 1);
    let longer = text[from..start + word.len()].trim();
    if longer.len() <= 60 { longer } else { word }
}

fn is_bot(word: &str) -> bool {
    let name = word.split('/').next().unwrap_or_default();
    let starts_with = |other: &&str| {
        let start = name.get(..other.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(other))
    };
    let bytes = name.as_bytes();
    let found = bytes.iter().enumerate().any(|(start, byte)| {
        // Most words end here.
        if !matches!(byte | 0x20, b'b' | b's' | b'c' | b'f' | b'a') {
            return false;
        }
        KINDS.iter().any(|kind| {
            let end = start + kind.len();
            // 'Slackbot-LinkExpanding' is a bot, 'bottle' is not.
            bytes
                .get(start..end)
                .is_some_and(|part| part.eq_ignore_ascii_case(kind.as_bytes()))
                && !bytes.get(end).is_some_and(u8::is_ascii_lowercase)
        })
    });
    found && !NOT_BOTS.iter().any(starts_with)
}
