//! The device that a string tells.

use std::borrow::Cow;

use crate::category::Category;
use crate::model::Model;
use crate::scan::Match;
use crate::text::{comment, find_word};
use crate::{known, model, system};

/// What is known of the device.
#[derive(Debug, Default)]
pub(crate) struct Found<'a> {
    /// The model as the string has it, or the family.
    pub(crate) name: Option<Cow<'a, str>>,
    /// What people call the model, without its maker, where that is not the model itself.
    pub(crate) called: Option<&'static str>,
    pub(crate) vendor: Option<Cow<'a, str>>,
    pub(crate) category: Option<Category>,
}

impl<'a> Found<'a> {
    fn family(name: &'static str, vendor: Option<&'static str>) -> Self {
        Self {
            name: Some(name.into()),
            vendor: vendor.map(Cow::Borrowed),
            ..Self::default()
        }
    }

    /// From the name of a model.
    pub(crate) fn named(name: &'a str) -> Self {
        Self::of_model(model::named(name))
    }

    fn of_model(model: Option<Model<'a>>) -> Self {
        let Some(model) = model else {
            return Self::default();
        };
        Self {
            name: Some(model.text.into()),
            called: model.called,
            vendor: model.vendor.map(Cow::Borrowed),
            category: model.category,
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
        let mut found = Found::family("iPad", Some("Apple"));
        found.called = apple(text, "iPad");
        return found;
    }
    if let Some(found) = found {
        // The name of a rule may be the rest of the word, which may be empty.
        let name = Some(found.name(text)).filter(|name| !name.is_empty());
        let is_apples = found.rule.vendor == Some("Apple");
        return Found {
            called: name
                .as_deref()
                .filter(|_| is_apples)
                .and_then(|family| apple(text, family)),
            name,
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
        ..Found::default()
    }
}

/// What people call one of Apple's devices, if the string has its identifier, as those of apps do:
/// `iPhone12,1`.
fn apple(text: &str, family: &str) -> Option<&'static str> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b',';
    let words = text.match_indices(family).map(|(start, _)| {
        let word = &text[start..];
        let end = word.bytes().position(|byte| !is_part(byte));
        &word[..end.unwrap_or(word.len())]
    });
    let mut identifiers = words.filter(|word| word.contains(','));
    identifiers
        .find_map(|word| known::model(word.trim_end_matches(',')))?
        .name()
}
