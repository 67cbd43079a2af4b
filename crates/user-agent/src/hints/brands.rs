//! The browser among the brands of a list.

use super::structured::Item;
use crate::category::Category;
use crate::rules::{Name, PROGRAMS};
use crate::text::version;

/// Brands whose browsers the rules call otherwise.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("Google Chrome", "Chrome"),
    ("Microsoft Edge", "Edge"),
    ("OperaMobile", "Opera"),
    ("Opera Mini Android", "Opera Mini"),
    ("YaBrowser", "Yandex Browser"),
    ("Naver Whale", "Whale"),
    ("CocCoc", "Coc Coc"),
    ("UCBrowser", "UC Browser"),
    ("AvastSecureBrowser", "Avast Secure Browser"),
    ("HuaweiBrowser", "Huawei Browser"),
    ("MiuiBrowser", "MIUI Browser"),
    ("HeyTapBrowser", "HeyTap Browser"),
    ("VivoBrowser", "Vivo Browser"),
    ("Silk", "Amazon Silk"),
];

/// A browser, as its list of brands names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Brand<'a> {
    pub(super) name: &'a str,
    pub(super) version: Option<&'a str>,
    /// Whether the version is only the first number.
    pub(super) is_short: bool,
}

/// The browser that a list of brands names.
///
/// A list names the engine beside the browser, and a meaningless brand, in any order.
pub(super) fn browser<'a>(items: Vec<Item<'a>>) -> Option<Brand<'a>> {
    let brands = items.into_iter().filter_map(|item| {
        let name = item.name?.trim();
        let is_name = !name.is_empty() && name.len() <= 60 && !is_meaningless(name);
        is_name.then(|| Brand {
            name: known_name(name),
            version: item.version.and_then(version),
            is_short: false,
        })
    });
    brands.min_by_key(|brand| rank(brand.name))
}

/// The kind of program, if a rule of this name tells it.
pub(super) fn category(name: &str) -> Option<Category> {
    let is_named = |rule_name: Name| matches!(rule_name, Name::Fixed(fixed) if fixed == name);
    let rule = PROGRAMS.iter().find(|rule| is_named(rule.name));
    rule?.category
}

fn known_name(brand: &str) -> &str {
    let found = OTHER_NAMES.iter().find(|(other, _)| *other == brand);
    found.map_or(brand, |(_, name)| *name)
}

/// The more general a name, the later.
fn rank(name: &str) -> u8 {
    match name {
        "Chromium" => 3,
        // Yandex Browser has this second name.
        "Yowser" => 2,
        "Chrome" | "Android WebView" => 1,
        _ => 0,
    }
}

/// `Not?A_Brand`, `Not/A)Brand`, `(Not(A:Brand`: browsers add such a brand, so that servers learn
/// to read lists of any brands.
fn is_meaningless(brand: &str) -> bool {
    let letters = brand.bytes().filter(u8::is_ascii_alphabetic);
    letters.eq(b"NotABrand".iter().copied())
}
