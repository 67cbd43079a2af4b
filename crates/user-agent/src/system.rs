//! The operating system that a string tells.

mod apple;

use std::borrow::Cow;

use crate::category::Category;
use crate::rules::{ANDROID, NOT_MACS, WINDOWS};
use crate::scan::Match;
use crate::text::find_word;

/// What is known of the system.
#[derive(Debug, Default)]
pub(crate) struct Found<'a> {
    pub(crate) name: Option<Cow<'a, str>>,
    pub(crate) version: Option<Cow<'a, str>>,
    pub(crate) category: Option<Category>,
}

impl Found<'_> {
    /// Whether it has one of these names.
    pub(crate) fn is(&self, names: &[&str]) -> bool {
        let name = self.name.as_deref();
        name.is_some_and(|name| names.contains(&name))
    }
}

pub(crate) fn system<'a>(text: &'a str, found: Option<&Match>) -> Found<'a> {
    let Some(found) = found else {
        return in_a_name(text);
    };
    let name = found.name(text);
    let version = found.version(text).map(apple::dotted);
    let category = found.rule.category;
    let (name, version, category) = match &*name {
        "Windows" => (name, windows(version), category),
        "Android" => (name, android(text, version), category),
        "macOS" if NOT_MACS.iter().any(|word| find_word(text, word).is_some()) => {
            ("iPadOS".into(), None, Some(Category::Tablet))
        }
        "macOS" => {
            let version = version.filter(|version| !apple::is_frozen(text, version));
            (name, version, category)
        }
        "iOS" => apple::mobile(text, version),
        _ => (name, version, category),
    };
    Found {
        name: Some(name),
        version,
        category,
    }
}

/// Some apps have their system in their names: `Example-Android/3.4`, `Example-iOS/3.4`.
fn in_a_name(text: &str) -> Found<'static> {
    const NAMES: &[(&str, &str)] = &[("Android", "Android"), ("-iOS", "iOS"), ("_iOS", "iOS")];
    let found = NAMES.iter().find(|(part, _)| text.contains(part));
    found.map_or_else(Found::default, |(_, name)| Found {
        name: Some(Cow::Borrowed(*name)),
        version: None,
        category: Some(Category::Mobile),
    })
}

/// Chrome on Android sends `10` and no model, whatever the version.
pub(crate) fn is_reduced_android(text: &str) -> bool {
    text.contains("Android 10; K)") || text.contains("Android 10; K;")
}

/// Chrome on ChromeOS sends this number of the platform, whatever the version.
pub(crate) fn is_reduced_chrome_os(version: &str) -> bool {
    version == "14541.0.0"
}

fn windows(version: Option<Cow<'_, str>>) -> Option<Cow<'_, str>> {
    let version = version?;
    match WINDOWS.iter().find(|(kernel, _)| *kernel == version) {
        Some((_, name)) => Some(Cow::Borrowed(name)),
        // `Windows 98`, which is not the number of a kernel.
        None => Some(version).filter(|version| !version.contains('.') || version == "8.1"),
    }
}

/// `Android/33` and `Android (33/13; …)` have the API level. The latter has the version as well.
fn android<'a>(text: &'a str, version: Option<Cow<'a, str>>) -> Option<Cow<'a, str>> {
    if let Some(end) = find_word(text, "Android (")
        && let Some((level, rest)) = text[end..].split_once('/')
        && level.bytes().all(|byte| byte.is_ascii_digit())
    {
        return crate::text::version(rest).map(Cow::Borrowed);
    }
    let version = version?;
    let level = ANDROID.iter().find(|(level, _)| *level == version);
    Some(level.map_or(version, |(_, version)| Cow::Borrowed(*version)))
}
