//! The device that a string tells.

use std::borrow::Cow;

use crate::category::Category;
use crate::rules::Model;
use crate::scan::Match;
use crate::text::{comment, find_word};
use crate::{model, system};

/// What is known of the device.
#[derive(Debug, Default)]
pub(crate) struct Found<'a> {
    pub(crate) name: Option<Cow<'a, str>>,
    pub(crate) vendor: Option<Cow<'a, str>>,
    pub(crate) category: Option<Category>,
}

impl<'a> Found<'a> {
    fn family(name: &'static str, vendor: Option<&'static str>) -> Self {
        Self {
            name: Some(name.into()),
            vendor: vendor.map(Cow::Borrowed),
            category: None,
        }
    }

    /// From the name of a model.
    pub(crate) fn named(name: &'a str) -> Self {
        Self::of_model(model::named(name))
    }

    fn of_model(model: Option<(&'a str, Option<&'static Model>)>) -> Self {
        let Some((name, model)) = model else {
            return Self::default();
        };
        Self {
            name: Some(name.into()),
            vendor: model.map(|model| model.vendor.into()),
            category: model.and_then(|model| model.category),
        }
    }
}

pub(crate) fn device<'a>(
    text: &'a str,
    system: &system::Found<'_>,
    found: Option<&Match>,
) -> Found<'a> {
    // The string of an iPad that passes for a Mac has no other word for the device.
    if system.is(&["iPadOS"]) {
        return Found::family("iPad", Some("Apple"));
    }
    if let Some(found) = found {
        return Found {
            // The name of a rule may be the rest of the word, which may be empty.
            name: Some(found.name(text)).filter(|name| !name.is_empty()),
            vendor: found.rule.vendor.map(Cow::Borrowed),
            category: found.rule.category,
        };
    }
    if system.is(&[
        "Android",
        "HarmonyOS",
        "KaiOS",
        "Firefox OS",
        "Tizen",
        "Fire OS",
    ]) {
        return Found::of_model(model::model(text));
    }
    match system.name.as_deref() {
        Some("Windows Phone") => windows_phone(text),
        Some("macOS") => Found::family("Mac", Some("Apple")),
        Some("ChromeOS") => Found::family("Chromebook", None),
        _ => Found::default(),
    }
}

/// Whether a word ends in 'TV': `SMART-TV`, `GoogleTV`, `Android TV`.
pub(crate) fn is_tv(text: &str) -> bool {
    text.split(|character: char| !character.is_ascii_alphanumeric())
        .any(|word| word.ends_with("TV") || word == "SmartTv")
}

/// Whether a string says that it comes from a tablet.
pub(crate) fn is_tablet(text: &str) -> bool {
    find_word(text, "Tablet").is_some()
}

/// `… IEMobile/10.0; ARM; Touch; NOKIA; Lumia 920`: the model comes last, and its maker before it.
fn windows_phone(text: &str) -> Found<'_> {
    let mut parts = comment(text).rsplit(';').map(str::trim);
    let (Some(name), Some(vendor)) = (parts.next(), parts.next()) else {
        return Found::default();
    };
    let is_part = |part: &str| {
        let others = [
            "Windows", "Android", "Trident", "IEMobile", "rv:", "Touch", "ARM",
        ];
        part.is_empty() || others.iter().any(|other| part.starts_with(other))
    };
    if is_part(name) || is_part(vendor) {
        return Found::default();
    }
    let vendor = match vendor {
        "NOKIA" => "Nokia",
        "SAMSUNG" => "Samsung",
        "HUAWEI" => "Huawei",
        other => other,
    };
    Found {
        name: Some(name.into()),
        vendor: Some(vendor.into()),
        category: None,
    }
}
