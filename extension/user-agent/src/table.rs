//! Tables of rules, sorted at compile time by what their markers begin with.
//!
//! A string is read once, and at each word only the rules are tried that can match there: some
//! three instead of two hundred.

use crate::text::word_starts;

/// What a marker stands for.
#[derive(Debug)]
pub(crate) struct Rule<T> {
    pub(crate) marker: &'static str,
    pub(crate) value: T,
}

/// `N` rules in order of priority.
#[derive(Debug)]
pub(crate) struct Table<T: 'static, const N: usize> {
    rules: &'static [Rule<T>],
    /// The places of the rules in `rules`, sorted by the first byte of the marker, then by priority.
    order: [u16; N],
    /// Where in `order` the rules for a byte begin; those for the next byte begin where they end.
    begin: [u16; BYTES + 1],
}

/// Markers are ASCII.
const BYTES: usize = 128;

impl<T, const N: usize> Table<T, N> {
    pub(crate) const fn new(rules: &'static [Rule<T>]) -> Self {
        assert!(rules.len() == N && N < u16::MAX as usize);
        let (mut order, mut begin) = ([0; N], [0; BYTES + 1]);
        let (mut byte, mut filled) = (0, 0);
        while byte < BYTES {
            begin[byte] = filled as u16;
            let mut index = 0;
            while index < N {
                if first_byte(rules[index].marker) as usize == byte {
                    order[filled] = index as u16;
                    filled += 1;
                }
                index += 1;
            }
            byte += 1;
        }
        begin[BYTES] = filled as u16;
        assert!(filled == N, "a marker is empty or not ASCII");
        Self {
            rules,
            order,
            begin,
        }
    }

    /// What the first rule stands for whose marker is in `text`, and where the marker ends there.
    pub(crate) fn first(&self, text: &str) -> Option<(&'static T, usize)> {
        let (mut best, mut end) = (N, 0);
        for start in word_starts(text) {
            let rest = &text.as_bytes()[start..];
            let byte = usize::from(rest[0]);
            if byte >= BYTES {
                continue;
            }
            let places = usize::from(self.begin[byte])..usize::from(self.begin[byte + 1]);
            for &index in &self.order[places] {
                let index = usize::from(index);
                if index >= best {
                    break;
                }
                let marker = self.rules[index].marker;
                let (marker, fits) = match marker.strip_prefix('^') {
                    Some(marker) => (marker, start == 0),
                    None => (marker, true),
                };
                if fits && rest.starts_with(marker.as_bytes()) {
                    (best, end) = (index, start + marker.len());
                    break;
                }
            }
        }
        self.rules.get(best).map(|rule| (&rule.value, end))
    }
}

const fn first_byte(marker: &str) -> u8 {
    let bytes = marker.as_bytes();
    if bytes[0] == b'^' { bytes[1] } else { bytes[0] }
}
