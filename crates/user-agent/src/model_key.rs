// build.rs includes this file too, so that both sides agree.

/// Behind a key that is the beginning of codes.
pub(crate) const PREFIX: u8 = b'*';

/// How many letters and digits may follow such a beginning: the country or the edition, as `U1` in
/// `SM-S921U1`.
pub(crate) const MAX_REST: usize = 5;

/// Whether a code of `count` further bytes, of which `next` is the first, is one that begins so.
/// A number does not go on: `V20` is not the beginning of `V2036`.
pub(crate) fn may_follow(last: u8, next: u8, count: usize) -> bool {
    count <= MAX_REST && !(last.is_ascii_digit() && next.is_ascii_digit())
}

/// Markets, behind the code of a model.
pub(crate) const MARKETS: &[&str] = &["EEA", "ROW", "RU", "EU", "NEU", "RUS", "TR", "US", "JP"];

/// Before a key that is the name of a maker. It is in no code.
pub(crate) const MAKER: u8 = 1;

/// Behind a key that begins the codes of one maker only. It is in no code.
pub(crate) const FAMILY: u8 = 2;

/// The code of a model as the automaton has it: strings and lists differ in case, spaces and
/// brackets.
pub(crate) fn key(code: &str) -> impl Iterator<Item = u8> {
    let bytes = code
        .bytes()
        .filter(|byte| !matches!(*byte, b' ' | b'_' | b'(' | b')' | ..=FAMILY | PREFIX));
    bytes.map(|byte| byte.to_ascii_lowercase())
}
