//! What Apple's systems say of their versions, and what that means.

use std::borrow::Cow;

use crate::Category;
use crate::rules::DARWIN;
use crate::text::{find_word, major, version};

type System<'a> = (Cow<'a, str>, Option<Cow<'a, str>>, Option<Category>);

/// iOS or iPadOS; macOS as well, where a program's libraries give nothing but the kernel's version.
pub(crate) fn mobile<'a>(text: &'a str, version: Option<Cow<'a, str>>) -> System<'a> {
    let is_pad = find_word(text, "iPad").is_some();
    if version.is_none() && find_word(text, "Darwin/").is_some() {
        return darwin(text);
    }
    let version = thawed(text, version).or_else(|| behind(text, "FBSV/").map(dotted));
    // The iPad's system has had a name of its own since version 13, and can pass itself off for a
    // Mac's since then.
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

/// Programs that ask Apple's libraries to fetch something gave the processor on a computer until
/// 2020. Since then, nothing tells a computer from a phone, and there are many more phones. What
/// gives the kernel's version of its own accord runs on computers.
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

/// Safari and the browsers on Chromium say `10_15_7` on every later macOS.
pub(crate) fn is_frozen(text: &str, version: &str) -> bool {
    version == "10.15.7" && text.contains("10_15_7")
}

/// From iOS 26 on, WebKit leaves the system's version at 18; the browser's own tells it, and some
/// apps do.
fn thawed<'a>(text: &'a str, given: Option<Cow<'a, str>>) -> Option<Cow<'a, str>> {
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
pub(crate) fn dotted(version: &str) -> Cow<'_, str> {
    if version.contains('_') {
        version.replace('_', ".").into()
    } else {
        version.into()
    }
}
