//! Names of programs that no rule knows.

use crate::rules::NOT_PROGRAMS;
use crate::text::{version, words_behind_the_engine};

/// Whether a product is one that many browsers send, or a detail.
pub(super) fn is_common(name: &str) -> bool {
    NOT_PROGRAMS.binary_search(&name).is_ok()
}

/// The first product behind the engine that is not one of those that many browsers send:
/// `Example/1.2` in `… AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36
/// Example/1.2`.
pub(super) fn behind_the_engine(text: &str) -> Option<(&str, &str)> {
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
