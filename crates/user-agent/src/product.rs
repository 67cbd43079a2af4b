//! Names of programs that no rule knows.

use crate::rules::NO_PROGRAM;
use crate::text::version;

/// Whether a product is a part of every browser, or a detail.
pub(crate) fn is_common(name: &str) -> bool {
    NO_PROGRAM.binary_search(&name).is_ok()
}

/// The first product behind the engine that is none of those that all browsers have:
/// `Example/1.2` in `… AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36
/// Example/1.2`.
pub(crate) fn behind_the_engine(text: &str) -> Option<(&str, &str)> {
    words_behind_the_engine(text).find_map(|word| {
        let (name, rest) = word.split_once('/')?;
        let is_name = (2..=40).contains(&name.len())
            && name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
            && !is_common(name);
        let version = version(rest)?;
        is_name.then_some((name, version))
    })
}

/// The words behind the engine that stand in no brackets; none, where there is no engine.
pub(crate) fn words_behind_the_engine(text: &str) -> impl Iterator<Item = &str> {
    let start = match text.find(" Firefox/") {
        Some(start) => start + 1,
        None => text.find("Gecko)").unwrap_or(text.len()),
    };
    outside_brackets(&text[start..])
}

/// Words that stand in no brackets.
fn outside_brackets(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    text.split_inclusive(['(', ')', '[', ']', ' ', ';', ','])
        .filter_map(move |piece| {
            let inside = depth > 0;
            let word = piece.trim_end_matches(['(', ')', '[', ']', ' ', ';', ',']);
            match piece.as_bytes().last() {
                Some(b'(' | b'[') => depth += 1,
                Some(b')' | b']') => depth = depth.saturating_sub(1),
                _ => {}
            }
            (!inside && !word.is_empty()).then_some(word)
        })
}
