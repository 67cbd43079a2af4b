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

/// What the version of the platform in a client hint means.
pub(crate) fn told_version<'a>(system: &Found<'_>, told: &'a str) -> Option<Cow<'a, str>> {
    let told = crate::text::version(told)?;
    match system.name.as_deref()? {
        "Windows" => told_windows(told).map(Cow::Borrowed),
        "macOS" => Some(match apple::dotted(told) {
            // Browsers called macOS 11 so that had been made before it.
            version if version.starts_with("10.16") => Cow::Borrowed("11"),
            Cow::Borrowed(version) => Cow::Borrowed(without_zeros(version)),
            Cow::Owned(version) => without_zeros(&version).to_owned().into(),
        }),
        "Android" => Some(Cow::Borrowed(without_zeros(told))),
        "ChromeOS" => Some(Cow::Borrowed(told)),
        // The version of a kernel, or of the Android that another system is made of.
        _ => None,
    }
}

/// The numbers that Microsoft has given: the contract of its interfaces, not the version.
fn told_windows(version: &str) -> Option<&'static str> {
    let mut numbers = version.split('.').map(str::parse);
    let major: u32 = numbers.next()?.ok()?;
    let minor: u32 = numbers.next().and_then(Result::ok).unwrap_or_default();
    match (major, minor) {
        (0, 1) => Some("7"),
        (0, 2) => Some("8"),
        (0, 3) => Some("8.1"),
        (0, _) => None,
        (1..13, _) => Some("10"),
        _ => Some("11"),
    }
}

/// `14.5` of `14.5.0`, `14` of `14.0.0`.
fn without_zeros(version: &str) -> &str {
    let mut version = version;
    while let Some(shorter) = version.strip_suffix(".0") {
        version = shorter;
    }
    version
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
