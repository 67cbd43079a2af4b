// build.rs includes this file too, so that both sides agree.

/// How many buckets the markers are sorted into.
pub(crate) const BUCKETS: usize = 1024;

/// The bucket of a text that begins with these two bytes. With the rules of 2026.11, seven buckets
/// of ten are empty, and most of the others have one or two markers.
pub(crate) const fn bucket(first: u8, second: u8) -> usize {
    (first as usize * 37 + second as usize * 5) % BUCKETS
}
