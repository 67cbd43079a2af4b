//! Words, comments and versions in a string.

use crate::rules::Needle;

/// Where a needle ends in the text.
pub(crate) fn find(text: &str, needle: &Needle) -> Option<usize> {
    // A needle may be in the text any number of times without beginning a word. Each search goes on
    // behind the last, so that the text is read once.
    let mut from = 0;
    while let Some(offset) = text[from..].find(needle.text) {
        let start = from + offset;
        let begins = start == 0 || is_separator(text.as_bytes()[start - 1]);
        if begins || needle.anywhere || is_separator(needle.text.as_bytes()[0]) {
            return Some(start + needle.text.len());
        }
        from = start + 1;
    }
    None
}

pub(crate) fn contains(text: &str, needle: &Needle) -> bool {
    find(text, needle).is_some()
}

/// Where this beginning of a word ends in the text.
pub(crate) fn find_word(text: &str, word: &'static str) -> Option<usize> {
    find(
        text,
        &Needle {
            text: word,
            anywhere: false,
        },
    )
}

/// Where words begin.
pub(crate) fn word_starts(text: &str) -> impl Iterator<Item = usize> {
    let mut after_separator = true;
    text.bytes().enumerate().filter_map(move |(index, byte)| {
        let separator = is_separator(byte);
        let starts = after_separator && !separator;
        after_separator = separator;
        starts.then_some(index)
    })
}

/// All separators are ASCII, so that a word begins and ends at a character's boundary.
pub(crate) fn is_separator(byte: u8) -> bool {
    SEPARATORS[usize::from(byte)]
}

static SEPARATORS: [bool; 256] = {
    let mut table = [false; 256];
    let separators = b" \t;,()[]/+\"";
    let mut index = 0;
    while index < separators.len() {
        table[separators[index] as usize] = true;
        index += 1;
    }
    table
};

/// A longer number is not taken for a version.
const MAX_VERSION_LENGTH: usize = 40;

/// The version that `text` begins with, perhaps after a `v`: numbers with dots or underscores
/// between them.
pub(crate) fn version(text: &str) -> Option<&str> {
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let end = text
        .bytes()
        .position(|byte| !matches!(byte, b'0'..=b'9' | b'.' | b'_'))
        .unwrap_or(text.len());
    let version = text[..end].trim_end_matches(['.', '_']);
    let is_version = version.starts_with(|first: char| first.is_ascii_digit())
        && version.len() <= MAX_VERSION_LENGTH;
    is_version.then_some(version)
}

/// The number that a version begins with.
pub(crate) fn major(version: &str) -> Option<u32> {
    version.split(['.', '_']).next()?.parse().ok()
}

/// The words between spaces, brackets, commas and semicolons, in and outside of comments, without
/// addresses of pages and of people.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '\t', ';', ',', '(', ')', '[', ']', '"'])
        .filter(|word| !word.is_empty() && !word.contains("://") && !word.contains('@'))
}

/// Whether a string has the form that browsers use. The product `Mozilla/5.0` itself means nothing.
pub(crate) fn is_mozilla(text: &str) -> bool {
    text.starts_with("Mozilla/")
}

/// The first comment (RFC 9110: text in round brackets, which may have more in it):
/// `Android 12; moto g(60)`.
pub(crate) fn comment(text: &str) -> &str {
    let rest = text.split_once('(').map_or("", |(_, rest)| rest);
    let mut depth = 0_usize;
    for (index, byte) in rest.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' if depth == 0 => return &rest[..index],
            b')' => depth -= 1,
            _ => {}
        }
    }
    rest
}

/// The words behind the engine that are outside of brackets. Without an engine there are none.
pub(crate) fn words_behind_the_engine(text: &str) -> impl Iterator<Item = &str> {
    let start = match text.find(" Firefox/") {
        Some(start) => start + 1,
        None => text.find("Gecko)").unwrap_or(text.len()),
    };
    outside_brackets(&text[start..])
}

/// Words outside of brackets.
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
