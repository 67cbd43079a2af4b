//! Which device a string tells of.

use crate::Category;
use crate::rules::{DEVICES, MODELS};
use crate::text::find;

/// What is known of the device.
#[derive(Debug, Default)]
pub(crate) struct Found<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) vendor: Option<&'static str>,
    pub(crate) category: Option<Category>,
}

pub(crate) fn device<'a>(text: &'a str, system: Option<&str>) -> Found<'a> {
    let family = |name, vendor| Found {
        name: Some(name),
        vendor,
        category: None,
    };
    if let Some((rule, _)) = DEVICES.first(text) {
        // An iPad in disguise has nothing of an iPad in its string but its system.
        let is_disguised = system == Some("iPadOS") && rule.name == "Mac";
        return family(
            if is_disguised { "iPad" } else { rule.name },
            Some(rule.vendor),
        );
    }
    match system {
        Some("Android" | "HarmonyOS") => model(text),
        Some("iPadOS") => family("iPad", Some("Apple")),
        Some("macOS") => family("Mac", Some("Apple")),
        Some("ChromeOS") => family("Chromebook", None),
        _ => Found::default(),
    }
}

/// Whether a word is or ends in 'TV': `SMART-TV`, `GoogleTV`, `Apple TV`.
pub(crate) fn is_tv(text: &str) -> bool {
    text.split(|character: char| !character.is_ascii_alphanumeric())
        .any(|word| word.ends_with("TV") || word == "SmartTv")
}

/// Whether a tablet says so.
pub(crate) fn is_tablet(text: &str) -> bool {
    find(text, "Tablet").is_some()
}

/// The model of an Android device: in the first remark, behind the system.
fn model(text: &str) -> Found<'_> {
    let mut parts = remark(text).split(';').map(str::trim);
    parts.find(|part| part.starts_with("Android") || part.starts_with("HarmonyOS"));
    let Some(name) = parts.filter_map(model_name).next() else {
        return Found::default();
    };
    let rule = MODELS.iter().find(|rule| name.starts_with(rule.prefix));
    Found {
        name: Some(name),
        vendor: rule.map(|rule| rule.vendor),
        category: rule.and_then(|rule| rule.category),
    }
}

/// The text in the first brackets, with those that are in it: `Android 12; moto g(60)`.
fn remark(text: &str) -> &str {
    let rest = text.split_once('(').map_or("", |(_, rest)| rest);
    let mut depth = 0_usize;
    for (index, byte) in rest.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' if depth == 0 => return &rest[..index],
            b')' => depth -= 1,
            _ => {}
        }
    }
    rest
}

fn model_name(part: &str) -> Option<&str> {
    let name = part.split("Build/").next().unwrap_or_default().trim();
    let is_other = matches!(
        name,
        "" | "K" | "U" | "wv" | "Mobile" | "Tablet" | "TV" | "HarmonyOS"
    ) || is_locale(name)
        || ["rv:", "HMSCore", "arm_64", "arm64"]
            .iter()
            .any(|start| name.starts_with(start));
    // What holds a slash is a program, and a name of that length is none.
    (!is_other && !name.contains('/') && name.len() <= 60).then_some(name)
}

/// `en`, `en-us`, `zh_CN`, `zh-Hans-CN`.
fn is_locale(name: &str) -> bool {
    let mut parts = name.split(['-', '_']);
    let language = parts.next().unwrap_or_default();
    language.len() == 2
        && language.bytes().all(|byte| byte.is_ascii_lowercase())
        && parts.all(|part| part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_alphabetic()))
}
