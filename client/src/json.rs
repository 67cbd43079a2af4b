//! A session's data as it crosses the wire: JSON text, which PostgreSQL keeps as jsonb.
//!
//! serde_json reads most of it. This reads what jsonb holds and serde_json refuses: numbers beyond
//! the range of an `f64`, and more than 128 levels of arrays and objects.

use std::sync::LazyLock;

use serde::Serialize;
use serde::de::Error as _;
use serde_json::value::RawValue;
use serde_json::{Error, Map, Number, Value};
use tokio_postgres::types::{FromSql, Json, Type};

/// How many levels of arrays and objects may be nested in data that is written or read.
///
/// A `Value` is cloned, compared, printed and dropped by recursion, so that a deep one can exhaust
/// the stack. Cloning nested objects needs most: 1.9 kB for each level in an unoptimised build, and
/// 0.3 kB in an optimised one (serde_json 1.0.154, rustc 1.95). The threads of std and tokio have
/// 2 MiB. Python's `json` writes and reads as many levels with its default settings.
pub(crate) const MAX_LEVELS: usize = 1000;

/// Data as the JSON text that PostgreSQL will read. It is serialized once, before a connection is
/// taken.
pub(crate) fn json(data: impl Serialize) -> Result<Json<Box<RawValue>>, Error> {
    let text = serde_json::value::to_raw_value(&data)?;
    if levels(text.get().as_bytes()) > MAX_LEVELS {
        // It could be saved, and not be loaded.
        return Err(too_deep());
    }
    Ok(Json(text))
}

fn too_deep() -> Error {
    Error::custom(format_args!(
        "more than {MAX_LEVELS} levels of arrays and objects"
    ))
}

/// How many levels of arrays and objects a JSON text has.
pub(crate) fn levels(json: &[u8]) -> usize {
    let (mut level, mut deepest) = (0_usize, 0);
    let (mut is_string, mut is_escaped) = (false, false);
    for byte in json {
        if is_string {
            is_string = is_escaped || *byte != b'"';
            is_escaped = !is_escaped && *byte == b'\\';
            continue;
        }
        match byte {
            b'"' => is_string = true,
            b'[' | b'{' => {
                level += 1;
                deepest = deepest.max(level);
            }
            b']' | b'}' => level = level.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// A column of type jsonb as it is sent: a version, then text.
#[derive(Clone, Copy)]
pub(crate) struct Jsonb<'a> {
    text: &'a [u8],
}

impl<'a> FromSql<'a> for Jsonb<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        const VERSION: u8 = 1;
        match raw.split_first() {
            Some((&VERSION, text)) => Ok(Self { text }),
            _ => Err("an unknown version of jsonb".into()),
        }
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSONB
    }
}

impl<'a> Jsonb<'a> {
    #[cfg(test)]
    pub(crate) fn of(text: &'a str) -> Self {
        Self {
            text: text.as_bytes(),
        }
    }

    pub(crate) fn text(self) -> Result<&'a str, Error> {
        std::str::from_utf8(self.text).map_err(Error::custom)
    }

    pub(crate) fn value(self) -> Result<Value, Error> {
        Ok(read(self.text()?)?.0)
    }
}

/// Whether a [`Value`] keeps each number as it is written: whether the application has enabled the
/// feature `arbitrary_precision` of serde_json.
pub(crate) fn is_arbitrarily_precise() -> bool {
    static IS: LazyLock<bool> = LazyLock::new(|| serde_json::from_str::<Value>("1e400").is_ok());
    *IS
}

/// The value of a text, and whether a number had to be rounded.
pub(crate) fn read(text: &str) -> Result<(Value, bool), Error> {
    // serde_json is faster, and reads nearly all data.
    if let Ok(value) = serde_json::from_str(text) {
        return Ok((value, false));
    }
    let mut reader = Reader {
        rest: text,
        has_rounded: false,
    };
    Ok((reader.document()?, reader.has_rounded))
}

/// Reads JSON without recursion, so that no text can exhaust the stack.
struct Reader<'a> {
    rest: &'a str,
    /// A number was too large and was replaced by the nearest `f64`.
    has_rounded: bool,
}

/// An array, or an object and the name of its next member, that has not ended yet.
enum Open {
    Array(Vec<Value>),
    Object(Map<String, Value>, String),
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Value, Error> {
        let mut open = Vec::new();
        loop {
            let mut value = match self.begin()? {
                Ok(scalar) => scalar,
                Err(container) if open.len() < MAX_LEVELS => {
                    open.push(container);
                    continue;
                }
                Err(_) => return Err(too_deep()),
            };
            // The value may end the container that it is in, and that one the next.
            loop {
                let Some(container) = open.pop() else {
                    return Ok(value);
                };
                match self.add(container, value)? {
                    Ok(complete) => value = complete,
                    Err(container) => {
                        open.push(container);
                        break;
                    }
                }
            }
        }
    }

    /// A whole value, or the beginning of an array or object that is not empty.
    fn begin(&mut self) -> Result<Result<Value, Open>, Error> {
        self.skip_space();
        if self.take("[") {
            self.skip_space();
            let is_empty = self.take("]");
            return Ok(match is_empty {
                true => Ok(Value::Array(Vec::new())),
                false => Err(Open::Array(Vec::new())),
            });
        }
        if self.take("{") {
            self.skip_space();
            if self.take("}") {
                return Ok(Ok(Value::Object(Map::new())));
            }
            return Ok(Err(Open::Object(Map::new(), self.name()?)));
        }
        self.scalar().map(Ok)
    }

    /// The container with the value in it: whole (`Ok`), or not ended yet (`Err`).
    fn add(&mut self, container: Open, value: Value) -> Result<Result<Value, Open>, Error> {
        self.skip_space();
        let goes_on = self.take(",");
        Ok(match container {
            Open::Array(mut values) => {
                values.push(value);
                if goes_on {
                    Err(Open::Array(values))
                } else {
                    self.expect("]")?;
                    Ok(Value::Array(values))
                }
            }
            Open::Object(mut members, name) => {
                members.insert(name, value);
                if goes_on {
                    Err(Open::Object(members, self.name()?))
                } else {
                    self.expect("}")?;
                    Ok(Value::Object(members))
                }
            }
        })
    }

    fn name(&mut self) -> Result<String, Error> {
        self.skip_space();
        let name = serde_json::from_str(self.string())?;
        self.skip_space();
        self.expect(":")?;
        Ok(name)
    }

    fn scalar(&mut self) -> Result<Value, Error> {
        if self.rest.starts_with('"') {
            return serde_json::from_str(self.string());
        }
        let end = self.rest.find([',', ']', '}', ' ', '\n', '\r', '\t']);
        let token = self.split_off(end);
        match serde_json::from_str(token) {
            Ok(value) => Ok(value),
            Err(error) => self.nearest(token).ok_or(error),
        }
    }

    /// The nearest `f64`, for a number that is farther from zero than any.
    fn nearest(&mut self, token: &str) -> Option<Value> {
        let is_number = |byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let number: f64 = token.parse().ok()?;
        if number.is_finite() || !token.bytes().all(is_number) {
            return None;
        }
        self.has_rounded = true;
        Number::from_f64(number.clamp(f64::MIN, f64::MAX)).map(Value::Number)
    }

    /// A string with its quotes. If the text is none, serde_json reports it.
    fn string(&mut self) -> &'a str {
        let mut is_escaped = true; // The first quote does not end the string.
        let end = self.rest.bytes().position(|byte| {
            let is_end = byte == b'"' && !is_escaped;
            is_escaped = !is_escaped && byte == b'\\';
            is_end
        });
        self.split_off(end.map(|end| end + 1))
    }

    fn split_off(&mut self, end: Option<usize>) -> &'a str {
        let (token, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        token
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\n', '\r', '\t']);
    }

    fn take(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<(), Error> {
        match self.take(token) {
            true => Ok(()),
            false => Err(Error::custom(format_args!("expected `{token}`"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_slowly(text: &str) -> Result<Value, Error> {
        Reader {
            rest: text,
            has_rounded: false,
        }
        .document()
    }

    fn nested(levels: usize) -> [String; 2] {
        [("[", "]"), ("{\"a\": ", "}")]
            .map(|(open, close)| format!("{}1{}", open.repeat(levels), close.repeat(levels)))
    }

    #[test]
    fn both_readers_read_the_same() {
        let texts = [
            "null",
            " [ ] ",
            "{ }",
            r#"{"a": 1, "b": [1, 2.5, -3e2, "x", {"c": null}, [], {}, true, false], "": ""}"#,
            r#"["\"", "\\", "a\\\"b", "],{", "\u00e9\n\ud83d\ude00 é"]"#,
            "[18446744073709551615, -9223372036854775808, 18446744073709551616, 0.1, 1e-400]",
            r#"{"a": 1, "a": 2}"#,
            "[[[1], [2]], [[3]]]",
        ];
        for text in texts {
            let expected: Value = serde_json::from_str(text).unwrap();
            assert_eq!(read_slowly(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn text_that_is_not_json_is_an_error() {
        let texts = [
            "",
            "[",
            "[1",
            "[1,",
            "[1 2]",
            "{",
            "{1: 2}",
            r#"{"a" 1}"#,
            r#"{"a": 1"#,
            "\"",
            "\"\\",
            "inf",
            "-inf",
            "nan",
            "-",
            "1.",
            "[}",
            "tru",
        ];
        for text in texts {
            assert!(read_slowly(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_number_beyond_the_range_becomes_the_nearest_one() {
        let huge = format!("[1{}, -1{0}, 7]", "0".repeat(400));
        let nearest = json!([f64::MAX, f64::MIN, 7]);
        assert_eq!(read(&huge).unwrap(), (nearest, true));
    }

    #[test]
    fn every_f64_comes_back_as_it_was() {
        for number in [
            f64::MAX,
            f64::MIN,
            f64::MIN_POSITIVE,
            5e-324,
            0.1 + 0.2,
            1e23,
        ] {
            // As numeric writes it: without an exponent.
            let (value, is_rounded) = read(&format!("{number}")).unwrap();
            assert_eq!(value.as_f64(), Some(number));
            assert!(!is_rounded);
        }
    }

    #[test]
    fn as_many_levels_as_are_written_are_read_and_no_more() {
        for text in nested(MAX_LEVELS) {
            let value = read(&text).unwrap().0;
            assert_eq!(levels(text.as_bytes()), MAX_LEVELS);
            assert_eq!(
                json(value.clone()).unwrap().0.get().replace(':', ": "),
                text
            );
        }
        for levels in [MAX_LEVELS + 1, 1_000_000] {
            for text in nested(levels) {
                let error = read(&text).unwrap_err();
                assert!(error.to_string().contains("1000 levels"), "{error}");
            }
        }
        for text in nested(MAX_LEVELS + 1) {
            let text: Box<RawValue> = RawValue::from_string(text).unwrap();
            assert!(json(text).is_err());
        }
    }

    #[test]
    fn brackets_in_strings_are_not_levels() {
        assert_eq!(levels(br#"["[[[", "\"[[", {"[\\": 1}]"#), 2);
        assert_eq!(levels(b"1"), 0);
    }

    #[test]
    fn data_that_json_cannot_hold_is_an_error_and_not_a_panic() {
        let map = std::collections::HashMap::from([((1, 2), 3)]);
        assert!(json(map).is_err());
    }
}
