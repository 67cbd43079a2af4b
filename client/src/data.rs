//! The data of a session: the text that the server has sent, and the value that it stands for, which
//! is made when it is first asked for.

use std::fmt;
use std::sync::OnceLock;

use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::error::Error;
use crate::json::{self, Jsonb};
use crate::members::Members;

/// The column `data` of a [`SessionData`](crate::SessionData): its field `data` can be read there.
///
/// The value is made when it is first used, also by comparing, printing or serializing the session,
/// and stays in memory as long as the session. It is made at once if the data is unusual: if it is
/// not an object, or has more than 32 members, more than 64 kB, or names that are long or have
/// escapes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DataColumn {
    /// The data that the application keeps.
    ///
    /// jsonb holds any number, and a [`Value`] does not. An integer from `i64::MIN` to `u64::MAX`
    /// is exact. Any other number is the nearest `f64`, or [`f64::MAX`] if it is larger than every
    /// `f64`. An application that needs more can read with
    /// [`data_as`](crate::SessionData::data_as), or enable the feature `arbitrary_precision` of
    /// serde_json, which changes how all of its crates read numbers.
    pub data: Value,
    is_rounded: bool,
}

/// JSON text that can be read: that was checked.
#[derive(Clone)]
pub(crate) struct Data {
    text: Box<str>,
    /// `None`: the text is no object, or an unusual one.
    members: Option<Members>,
    column: OnceLock<DataColumn>,
}

impl Data {
    /// Fails if the text cannot be read. Few requests want all of it, so that the value of usual
    /// data is not made yet.
    pub(crate) fn read(column: Jsonb<'_>) -> Result<Self, Error> {
        let text = column.text()?;
        let members = Members::of(text);
        let column = match members {
            Some(_) => OnceLock::new(),
            None => OnceLock::from(DataColumn::read(text)?),
        };
        Ok(Self {
            text: text.into(),
            members,
            column,
        })
    }

    /// The size of the text in bytes.
    #[cfg(feature = "cache")]
    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn column(&self) -> &DataColumn {
        self.column
            .get_or_init(|| DataColumn::read(&self.text).expect("the text was checked"))
    }

    pub(crate) fn read_as<T: DeserializeOwned>(&self) -> Result<T, Error> {
        match from_text(&self.text) {
            Some(data) => Ok(data),
            None => Ok(T::deserialize(&self.column().data)?),
        }
    }

    pub(crate) fn member<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        if let Some(members) = &self.members {
            let Some(text) = members.find(&self.text, name) else {
                return Ok(None);
            };
            if let Some(value) = from_text(text) {
                return Ok(Some(value));
            }
        }
        let member = self.column().data.get(name);
        Ok(member.map(T::deserialize).transpose()?)
    }
}

/// `None` if the value of the text may be read as this type, and the text is not: it may have a number
/// for which the type wants the nearest `f64`, or more levels than serde_json reads. And with
/// arbitrary precision, serde_json shows some types another number in a text than in a value.
fn from_text<T: DeserializeOwned>(text: &str) -> Option<T> {
    (!json::is_arbitrarily_precise())
        .then(|| serde_json::from_str(text).ok())
        .flatten()
}

#[cfg(all(test, feature = "cache"))]
impl Data {
    pub(crate) fn for_tests(text: &str) -> Self {
        Self::read(Jsonb::of(text)).unwrap()
    }
}

impl DataColumn {
    fn read(text: &str) -> Result<Self, Error> {
        let (data, is_rounded) = json::read(text)?;
        Ok(Self { data, is_rounded })
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        let are_exact = || !self.column().is_rounded && !other.column().is_rounded;
        self.text == other.text || are_exact() && self.column().data == other.column().data
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.column().data.fmt(f)
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.column().data.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn data(text: &str) -> Data {
        Data::read(Jsonb::of(text)).unwrap()
    }

    #[test]
    fn a_member_is_read_as_it_is_in_the_whole() {
        let huge = format!("{{\"a\": 1{}, \"b\": [7]}}", "0".repeat(400));
        let deep = format!("{{\"a\": {}1{}}}", "[".repeat(200), "]".repeat(200));
        let texts = [
            r#"{"a": {"b": [1, 2.5]}, "b": "x\ny"}"#,
            r#"{"a": null}"#,
            r#"{"a": "\u0001", "\"": 1}"#,
            r#"[{"a": 1}]"#,
            "null",
            &huge,
            &deep,
        ];
        for text in texts {
            let (data, whole) = (data(text), json::read(text).unwrap().0);
            for name in ["a", "b", "\"", ""] {
                let member = data.member::<Value>(name).unwrap();
                assert_eq!(member.as_ref(), whole.get(name), "{name:?} of {text:.40}");
            }
            assert_eq!(data.column().data, whole);
        }
    }

    #[test]
    fn a_member_has_the_type_that_is_asked_for() {
        let data = data(r#"{"count": 3, "name": "x", "none": null}"#);
        assert_eq!(data.member("count").unwrap(), Some(3_u8));
        assert_eq!(data.member("count").unwrap(), Some(3.0_f64));
        assert_eq!(data.member("none").unwrap(), Some(None::<u8>));
        assert_eq!(data.member::<u8>("other").unwrap(), None);
        assert!(matches!(data.member::<u8>("name"), Err(Error::Data(_))));
    }

    #[test]
    fn data_with_a_rounded_number_is_only_equal_to_the_same_text() {
        let number = |last| format!("[1{}{last}]", "0".repeat(400));
        let (one, other) = (data(&number(1)), data(&number(2)));
        assert_eq!(one, data(&number(1)));
        assert_ne!(one, other);
        assert_eq!(one.column().data, json!([f64::MAX]));
        assert_eq!(data(r#"{"a": 1, "b": 2}"#), data(r#"{"b": 2, "a": 1}"#));
    }

    #[test]
    fn the_deepest_data_is_read_as_a_map_on_a_small_stack() {
        let text = format!("{}1{}", "{\"a\": ".repeat(1000), "}".repeat(1000));
        let data = data(&text);
        let read = || data.read_as::<std::collections::HashMap<String, Value>>();
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(2 << 20);
            let read = thread.spawn_scoped(scope, || read().unwrap().len());
            assert_eq!(read.unwrap().join().unwrap(), 1);
        });
    }

    #[test]
    fn text_that_cannot_be_read_is_an_error_at_once() {
        let deep = format!("{{\"a\": {}1{}}}", "[".repeat(1001), "]".repeat(1001));
        for text in ["", r#"{"a": "\ud800"}"#, r#"{"a": 1"#, &deep] {
            let read = Data::read(Jsonb::of(text));
            assert!(matches!(read, Err(Error::Data(_))), "{text:.40}");
        }
    }
}
