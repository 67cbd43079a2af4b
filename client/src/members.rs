//! Where the members of a JSON object are in its text.
//!
//! A request that wants one member need not have all of them read, and made into maps and strings in
//! many places of the memory.

use std::fmt;
use std::ops::Range;

use serde::Deserializer as _;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::Deserializer;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::json::{MAX_LEVELS, levels};

/// As many as most sessions have. They are beside what the session itself is.
const INLINE: usize = 8;
/// More are found faster in a map.
const MOST: usize = 32;
/// What is between a name and its value as PostgreSQL writes it.
const COLON: &str = "\": ";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Members(SmallVec<[Member; INLINE]>);

/// Offsets into the text, in bytes, and what tells most names apart without a look at it. All members
/// of most sessions are in one or two lines of a processor's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Member {
    name: u16,
    end: u16,
    length: u8,
    first: u8,
    last: u8,
}

impl Members {
    /// `None` if the text is not an object that can be read for certain: what is between its names
    /// is JSON, and is made into values later.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let is_long = text.len() > usize::from(u16::MAX);
        if is_long || !text.starts_with('{') || has_many_levels(text) {
            return None;
        }
        // Half of a surrogate pair is the only thing in valid JSON that no string can hold.
        if text.contains("\\ud") || text.contains("\\uD") {
            return None;
        }
        let mut reader = Deserializer::from_str(text);
        let members = reader.deserialize_map(Reader { text }).ok()?;
        reader.end().ok()?;
        Some(members)
    }

    /// The JSON text of the member of this name.
    #[inline]
    pub(crate) fn find<'a>(&self, text: &'a str, name: &str) -> Option<&'a str> {
        let (length, first, last) = sample(name)?;
        let found = self.0.iter().find(|member| {
            (member.length, member.first, member.last) == (length, first, last)
                && text.get(member.name()) == Some(name)
        })?;
        text.get(found.value())
    }
}

impl Member {
    fn name(&self) -> Range<usize> {
        let begin = usize::from(self.name);
        begin..begin + usize::from(self.length)
    }

    fn value(&self) -> Range<usize> {
        self.name().end + COLON.len()..usize::from(self.end)
    }
}

/// The length of a name, its first byte and its last. `None` if it is too long for an index.
fn sample(name: &str) -> Option<(u8, u8, u8)> {
    let length = name.len().try_into().ok()?;
    let (first, last) = (name.bytes().next(), name.bytes().next_back());
    Some((length, first.unwrap_or(0), last.unwrap_or(0)))
}

/// Whether there are more than can be read.
fn has_many_levels(text: &str) -> bool {
    let opens = text.bytes().filter(|byte| matches!(byte, b'[' | b'{'));
    // Counting them is faster, and enough for most data.
    opens.count() > MAX_LEVELS && levels(text.as_bytes()) > MAX_LEVELS
}

struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    fn member(&self, name: &RawValue, value: &RawValue) -> Option<Member> {
        let begin = |part: &str| part.as_ptr().addr().checked_sub(self.text.as_ptr().addr());
        let (name, value) = (name.get(), value.get());
        let name = name.strip_prefix('"')?.strip_suffix('"')?;
        let (length, first, last) = sample(name)?;
        let (name_begins, value_begins) = (begin(name)?, begin(value)?);
        let is_usual = value_begins == name_begins + name.len() + COLON.len();
        // A name with escapes is not what it looks like.
        (is_usual && !name.contains('\\')).then_some(())?;
        Some(Member {
            name: name_begins.try_into().ok()?,
            end: (value_begins + value.len()).try_into().ok()?,
            length,
            first,
            last,
        })
    }
}

impl<'de> Visitor<'de> for Reader<'de> {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object whose members can be found by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = SmallVec::new();
        while let Some((name, value)) = map.next_entry::<&'de RawValue, &'de RawValue>()? {
            let member = self.member(name, value);
            let member = member.filter(|_| members.len() < MOST);
            members.push(member.ok_or_else(|| A::Error::custom("not for an index"))?);
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_found_by_its_name() {
        let text =
            r#"{"": 0, "cart": [1, {"theme": "x"}], "theme": "d\"}ark", "thEme": null, "é": "\n"}"#;
        let members = Members::of(text).unwrap();
        let found = |name| members.find(text, name);
        assert_eq!(found(""), Some("0"));
        assert_eq!(found("cart"), Some(r#"[1, {"theme": "x"}]"#));
        assert_eq!(found("theme"), Some(r#""d\"}ark""#));
        assert_eq!(found("thEme"), Some("null"));
        assert_eq!(found("é"), Some(r#""\n""#));
        for name in ["them", "car", "e", "theMe", "\"", &"x".repeat(300)] {
            assert_eq!(found(name), None, "{name:?}");
        }
        let empty = Members::of("{}").unwrap();
        assert_eq!(empty.find("{}", ""), None);
    }

    #[test]
    fn what_cannot_be_read_for_certain_has_no_index() {
        let object = |members: usize| {
            let members: Vec<_> = (0..members).map(|n| format!("\"{n}\": {n}")).collect();
            format!("{{{}}}", members.join(", "))
        };
        let nested = |levels| format!("{{\"a\": {}1{}}}", "[".repeat(levels), "]".repeat(levels));
        let long_name = |length| format!("{{\"{}\": 1}}", "x".repeat(length));
        let long = |length| format!("{{\"a\": \"{}\"}}", "x".repeat(length));
        let many = format!("{{\"a\": [{}]}}", ["[1]"; 2000].join(", "));
        let escapes = r#"{"a": "\u0001", "b": "C:\\users"}"#.to_owned();
        for text in [
            object(MOST),
            nested(MAX_LEVELS - 1),
            long_name(255),
            long(65_000),
            many,
            escapes,
        ] {
            assert!(Members::of(&text).is_some(), "{text:.40}");
        }
        let texts = [
            &object(MOST + 1),
            &nested(MAX_LEVELS),
            &long_name(256),
            &long(66_000),
            r#"{"a":1}"#,
            "1",
            "[]",
            "",
            "{",
            r#"{"a": 1"#,
            r#"{"a": 1}}"#,
            r#"{"a": tru}"#,
            r#"{"a": 1.}"#,
            r#"{"a": "\ud800"}"#,
            r#"{"a\"b": 1}"#,
        ];
        for text in texts {
            assert_eq!(Members::of(text), None, "{text:.40}");
        }
    }
}
