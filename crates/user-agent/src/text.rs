//! Reading a string by words.

use crate::rules::Place;

/// Where something that a rule looks for ends in the text.
pub(crate) fn find(text: &str, place: &Place) -> Option<usize> {
    // A needle may be in the text any number of times without beginning a word; each look goes on
    // behind the last, so that the text is read once.
    let mut from = 0;
    while let Some(offset) = text[from..].find(place.text) {
        let start = from + offset;
        let begins = start == 0 || is_separator(text.as_bytes()[start - 1]);
        if begins || place.anywhere || is_separator(place.text.as_bytes()[0]) {
            return Some(start + place.text.len());
        }
        from = start + 1;
    }
    None
}

pub(crate) fn present(text: &str, place: &Place) -> bool {
    find(text, place).is_some()
}

/// Where a word begins with this, and that ends.
pub(crate) fn find_word(text: &str, word: &'static str) -> Option<usize> {
    find(
        text,
        &Place {
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

/// What is longer is no version.
const LONGEST_VERSION: usize = 40;

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
        && version.len() <= LONGEST_VERSION;
    is_version.then_some(version)
}

/// The number that a version begins with.
pub(crate) fn major(version: &str) -> Option<u32> {
    version.split(['.', '_']).next()?.parse().ok()
}

/// Products and remarks, one after the other: what stands between spaces, brackets, commas and
/// semicolons, without addresses of pages and of people.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '\t', ';', ',', '(', ')', '[', ']', '"'])
        .filter(|word| !word.is_empty() && !word.contains("://") && !word.contains('@'))
}

/// Whether a string is in the form that browsers use, where `Mozilla/5.0` means nothing.
pub(crate) fn is_mozilla(text: &str) -> bool {
    text.starts_with("Mozilla/")
}

/// The text in the first brackets, with those that are in it: `Android 12; moto g(60)`.
pub(crate) fn remark(text: &str) -> &str {
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
