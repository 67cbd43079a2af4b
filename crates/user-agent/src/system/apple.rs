//! What the versions mean that Apple's systems send.

use std::borrow::Cow;

use crate::category::Category;
use crate::rules::DARWIN;
use crate::text::{find_word, major, version};

type System<'a> = (Cow<'a, str>, Option<Cow<'a, str>>, Option<Category>);

/// iOS or iPadOS; or macOS, if the string has only the version of the kernel.
pub(super) fn mobile<'a>(text: &'a str, version: Option<Cow<'a, str>>) -> System<'a> {
    let is_pad = find_word(text, "iPad").is_some();
    if version.is_none() && find_word(text, "Darwin/").is_some() {
        return darwin(text);
    }
    let version = unfrozen(text, version).or_else(|| behind(text, "FBSV/").map(dotted));
    // Since version 13, the system of the iPad has a name of its own and can pass for that of a
    // Mac.
    let is_new = match version.as_deref().and_then(major) {
        Some(major) => major >= 13,
        None => find_word(text, "iPadOS").is_some() || find_word(text, "Macintosh").is_some(),
    };
    let category = if is_pad {
        Category::Tablet
    } else {
        Category::Mobile
    };
    let name = if is_pad && is_new { "iPadOS" } else { "iOS" };
    (name.into(), version, Some(category))
}

/// A program that fetches something with Apple's libraries sends the version of the kernel. Until
/// 2020, a computer sent its processor too. Now nothing tells a computer from a phone, and there
/// are many more phones. A program that sends this version without those libraries runs on a
/// computer.
fn darwin(text: &str) -> System<'_> {
    let is_mac = text.contains("(x86_64)")
        || text.contains("(i386)")
        || find_word(text, "CFNetwork/").is_none();
    let kernel = behind(text, "Darwin/");
    let row = kernel.and_then(|kernel| {
        DARWIN.iter().find(|(begin, ..)| {
            let rest = kernel.strip_prefix(begin);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    });
    let (ios, macos) = row.map_or(("", ""), |&(_, ios, macos)| (ios, macos));
    let known =
        |version: &'static str| Some(Cow::Borrowed(version)).filter(|_| !version.is_empty());
    if is_mac {
        ("macOS".into(), known(macos), Some(Category::Desktop))
    } else {
        ("iOS".into(), known(ios), Some(Category::Mobile))
    }
}

/// Safari and the browsers that are made of Chromium send `10_15_7` on every later macOS.
pub(super) fn is_frozen(text: &str, version: &str) -> bool {
    version == "10.15.7" && text.contains("10_15_7")
}

/// From iOS 26 on, WebKit sends 18 as the version of the system. The version of Safari tells the
/// true one, and so do some apps.
fn unfrozen<'a>(text: &'a str, given: Option<Cow<'a, str>>) -> Option<Cow<'a, str>> {
    if given.as_deref().and_then(major) != Some(18) {
        return given;
    }
    let real = ["Version/", "FBSV/", "iOS "].into_iter().find_map(|word| {
        let version = behind(text, word)?;
        major(version).filter(|&major| major >= 26)?;
        Some(dotted(version))
    });
    real.or(given)
}

fn behind<'a>(text: &'a str, word: &'static str) -> Option<&'a str> {
    version(&text[find_word(text, word)?..])
}

/// Apple writes `10_13_6`.
pub(super) fn dotted(version: &str) -> Cow<'_, str> {
    if version.contains('_') {
        version.replace('_', ".").into()
    } else {
        version.into()
    }
}
