//! Reading a string by words.

/// Whether `marker` stands in `text`, and where it ends.
///
/// A marker begins a word, or with `^` the text.
pub(crate) fn find(text: &str, marker: &str) -> Option<usize> {
    match marker.strip_prefix('^') {
        Some(marker) => text.starts_with(marker).then_some(marker.len()),
        None => word_starts(text)
            .find(|&start| text[start..].starts_with(marker))
            .map(|start| start + marker.len()),
    }
}

/// Where words begin.
pub(crate) fn word_starts(text: &str) -> impl Iterator<Item = usize> {
    let bytes = text.as_bytes();
    (0..bytes.len()).filter(|&index| {
        !is_separator(bytes[index]) && (index == 0 || is_separator(bytes[index - 1]))
    })
}

/// All separators are ASCII, so that a word begins and ends at a character's boundary.
fn is_separator(byte: u8) -> bool {
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

/// The version that `text` begins with: numbers with dots or underscores between them.
pub(crate) fn version(text: &str) -> Option<&str> {
    let end = text
        .find(|character: char| !matches!(character, '0'..='9' | '.' | '_'))
        .unwrap_or(text.len());
    let version = text[..end].trim_end_matches(['.', '_']);
    version
        .starts_with(|character: char| character.is_ascii_digit())
        .then_some(version)
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
