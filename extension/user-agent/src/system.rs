//! Which operating system a string tells of.

use std::borrow::Cow;

use crate::Category;
use crate::program::version_by;
use crate::rules::{NO_MAC, SYSTEMS, Version, WINDOWS};
use crate::text::{find, major};

/// What is known of the system.
#[derive(Debug, Default)]
pub(crate) struct Found<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) version: Option<Cow<'a, str>>,
    pub(crate) category: Option<Category>,
}

pub(crate) fn system(text: &str) -> Found<'_> {
    let Some((rule, end)) = SYSTEMS.first(text) else {
        return Found::default();
    };
    let version = version_by(text, rule.version, end).map(dotted);
    let (name, version, category) = match rule.name {
        "Windows" => ("Windows", windows(version), rule.category),
        // A program without a browser around it; only computers were ever of this kind.
        "iOS" if text.contains("Darwin/") && text.contains("(x86_64)") => {
            ("macOS", None, Category::Desktop)
        }
        "macOS" if NO_MAC.iter().any(|marker| find(text, marker).is_some()) => {
            ("iPadOS", None, Category::Tablet)
        }
        "macOS" => (
            "macOS",
            version.filter(|version| !is_frozen(text, version)),
            rule.category,
        ),
        "iOS" => {
            let version = thawed(text, version);
            // The iPad's system has had a name of its own since version 13.
            let is_new = version
                .as_deref()
                .and_then(major)
                .is_some_and(|major| major >= 13);
            match find(text, "iPad") {
                Some(_) if is_new => ("iPadOS", version, Category::Tablet),
                Some(_) => ("iOS", version, Category::Tablet),
                None => ("iOS", version, rule.category),
            }
        }
        name => (name, version, rule.category),
    };
    Found {
        name: Some(name),
        version,
        category: Some(category),
    }
}

/// Chrome on Android gives `10` and no model, whatever the version.
pub(crate) fn is_reduced_android(text: &str) -> bool {
    text.contains("Android 10; K)") || text.contains("Android 10; K;")
}

fn windows(version: Option<Cow<'_, str>>) -> Option<Cow<'_, str>> {
    let version = version?;
    match WINDOWS.iter().find(|(kernel, _)| *kernel == version) {
        Some((_, name)) => Some(Cow::Borrowed(name)),
        // `Windows 98`, which was of no kernel's number.
        None => Some(version).filter(|version| !version.contains('.')),
    }
}

/// Safari and the browsers on Chromium say 10.15.7 on every later macOS.
fn is_frozen(text: &str, version: &str) -> bool {
    version == "10.15.7" && text.contains("AppleWebKit/")
}

/// From iOS 26 on, Safari gives the system's version only in its own; the system's stays at 18.
fn thawed<'a>(text: &'a str, version: Option<Cow<'a, str>>) -> Option<Cow<'a, str>> {
    if version.as_deref().and_then(major) == Some(18)
        && let Some(browser) = version_by(text, Version::After("Version/"), 0)
        && major(browser).is_some_and(|major| major >= 26)
    {
        return Some(dotted(browser));
    }
    version
}

/// Apple writes `10_13_6`.
fn dotted(version: &str) -> Cow<'_, str> {
    if version.contains('_') {
        version.replace('_', ".").into()
    } else {
        version.into()
    }
}
