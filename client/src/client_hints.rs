//! The client hints that a browser sends beside its `User-Agent`.

use std::collections::BTreeMap;

use serde::Serialize;
#[cfg(feature = "cache")]
use tokio_postgres::Row;
use tokio_postgres::types::Json;

/// The `Sec-CH-UA-*` headers of a request.
///
/// Browsers no longer put the model of a phone, the version of Windows or their own minor version
/// into the `User-Agent`. They send them as client hints: some with each request, the others after
/// the response header `Accept-CH` has asked for them.
///
/// It collects any iterator of names and values, such as `headers.iter()` of an `http::HeaderMap`,
/// and keeps only the headers that a session keeps. So all headers can be passed as they are.
///
/// ```
/// use qsessions::ClientHints;
///
/// let headers = [
///     ("Cookie", "id=secret"),
///     ("Sec-CH-UA-Model", r#""Pixel 8""#),
///     ("Sec-CH-UA-Platform", r#""Android""#),
/// ];
/// let hints: ClientHints = headers.iter().copied().collect();
/// assert_eq!(hints.len(), 2);
/// assert_eq!(hints.get("sec-ch-ua-model"), Some(r#""Pixel 8""#));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct ClientHints(BTreeMap<&'static str, String>);

/// What sessions keep, in lower case.
const NAMES: [&str; 11] = [
    "sec-ch-ua",
    "sec-ch-ua-arch",
    "sec-ch-ua-bitness",
    "sec-ch-ua-form-factors",
    "sec-ch-ua-full-version",
    "sec-ch-ua-full-version-list",
    "sec-ch-ua-mobile",
    "sec-ch-ua-model",
    "sec-ch-ua-platform",
    "sec-ch-ua-platform-version",
    "sec-ch-ua-wow64",
];
/// That of all names.
const PREFIX: &[u8] = b"sec-ch-ua";
/// Sessions keep no longer value.
const MAX_BYTES: usize = 512;

impl ClientHints {
    /// The value of a hint. Names are in lower case here.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The number of hints.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none, as from a browser that sends none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The hints as an argument of an SQL function. Without hints it is null, which changes
    /// nothing.
    pub(crate) fn argument(hints: Option<&Self>) -> Option<Json<&Self>> {
        hints.filter(|hints| !hints.is_empty()).map(Json)
    }

    /// The hints of a session as the server sends them. Other programs can write anything there,
    /// and what is no hint is none.
    #[cfg(feature = "cache")]
    pub(crate) fn from_column(row: &Row, column: usize) -> Self {
        let hints = row.try_get::<_, Option<Json<BTreeMap<String, String>>>>(column);
        let hints = hints.ok().flatten().into_iter();
        hints.flat_map(|Json(hints)| hints).collect()
    }

    /// These, and the others in addition or in their place.
    #[cfg(feature = "cache")]
    pub(crate) fn with(&self, others: &Self) -> Self {
        let mut hints = self.0.clone();
        hints.extend(others.0.iter().map(|(name, value)| (*name, value.clone())));
        Self(hints)
    }

    /// Whether these include all of the others, as jsonb's `@>` says.
    #[cfg(any(feature = "cache", test))]
    pub(crate) fn contains(&self, others: &Self) -> bool {
        let mut others = others.0.iter();
        others.all(|(name, value)| self.0.get(name) == Some(value))
    }
}

/// Of several headers with one name, the last one counts.
impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, V)> for ClientHints {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        let mut hints = BTreeMap::new();
        for (name, value) in headers {
            // Most headers of a request are no hints, and are not compared with each name.
            let start = name.as_ref().as_bytes().get(..PREFIX.len());
            if start.is_some_and(|start| start.eq_ignore_ascii_case(PREFIX)) {
                hints.extend(hint(name.as_ref(), value.as_ref()));
            }
        }
        Self(hints)
    }
}

/// A header as it is kept, if it is.
fn hint(name: &str, value: &[u8]) -> Option<(&'static str, String)> {
    let mut names = NAMES.iter().copied();
    let name = names.find(|hint| hint.eq_ignore_ascii_case(name))?;
    let value = std::str::from_utf8(value).ok()?;
    is_kept(value).then(|| (name, value.to_owned()))
}

/// A header of HTTP has no control characters.
fn is_kept(value: &str) -> bool {
    (1..=MAX_BYTES).contains(&value.len()) && !value.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&str, &str)]) -> ClientHints {
        headers.iter().copied().collect()
    }

    #[test]
    fn only_client_hints_are_kept_and_their_names_are_in_lower_case() {
        let hints = of(&[
            ("Sec-CH-UA", r#""Chromium";v="130""#),
            ("SEC-CH-UA-MOBILE", "?1"),
            ("Sec-CH-UA-Model", r#""Pixel 7""#),
            ("Sec-CH-UA-Model", r#""Pixel 8""#),
            ("Sec-CH-UA-", "x"),
            ("Sec-CH-UAX", "x"),
            ("Sec-CH-Width", "x"),
            ("Cookie", "x"),
            ("", "x"),
        ]);
        let names: Vec<_> = hints.0.keys().copied().collect();
        assert_eq!(names, ["sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-model"]);
        assert_eq!(hints.get("sec-ch-ua-model"), Some(r#""Pixel 8""#));
        let json = serde_json::to_string(&of(&[("Sec-CH-UA-Mobile", "?0")])).unwrap();
        assert_eq!(json, r#"{"sec-ch-ua-mobile":"?0"}"#);
    }

    #[test]
    fn a_value_that_is_empty_too_long_or_no_text_is_left_out() {
        for (value, is_kept) in [
            ("x".repeat(512).as_bytes(), true),
            ("x".repeat(513).as_bytes(), false),
            ("ä".repeat(256).as_bytes(), true),
            ("ä".repeat(257).as_bytes(), false),
            (b"", false),
            (b"a\0b", false),
            (b"a\tb", false),
            (b"\xe4", false),
        ] {
            let hints: ClientHints = [("Sec-CH-UA-Model", value)].into_iter().collect();
            assert_eq!(hints.is_empty(), !is_kept, "{value:?}");
        }
    }

    #[test]
    fn hints_contain_each_part_of_themselves() {
        let phone = of(&[("Sec-CH-UA-Model", "a"), ("Sec-CH-UA-Mobile", "?1")]);
        let model = of(&[("Sec-CH-UA-Model", "a")]);
        let other = of(&[("Sec-CH-UA-Model", "b")]);
        assert!(phone.contains(&phone) && phone.contains(&model));
        assert!(phone.contains(&ClientHints::default()));
        assert!(!phone.contains(&other) && !model.contains(&phone));
    }
}
