//! Which device a string tells of.

use std::borrow::Cow;
use std::ops::Range;

use crate::rules::{MODELS, MODELS_BEGIN, Model, NO_MODEL};
use crate::scan::Match;
use crate::text::{find_word, is_mozilla, remark};
use crate::{Category, system};

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

    fn model(name: &'a str, model: Option<&'static Model>) -> Self {
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
    // An iPad in disguise has nothing of an iPad in its string but its system.
    if system.is(&["iPadOS"]) {
        return Found::family("iPad", Some("Apple"));
    }
    if let Some(found) = found {
        return Found {
            // A rule may name nothing but what follows, and nothing may follow.
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
        return model(text);
    }
    match system.name.as_deref() {
        Some("Windows Phone") => windows_phone(text),
        Some("macOS") => Found::family("Mac", Some("Apple")),
        Some("ChromeOS") => Found::family("Chromebook", None),
        _ => Found::default(),
    }
}

/// Whether a word is or ends in 'TV': `SMART-TV`, `GoogleTV`, `Android TV`.
pub(crate) fn is_tv(text: &str) -> bool {
    text.split(|character: char| !character.is_ascii_alphanumeric())
        .any(|word| word.ends_with("TV") || word == "SmartTv")
}

/// Whether a tablet says so.
pub(crate) fn is_tablet(text: &str) -> bool {
    find_word(text, "Tablet").is_some()
}

/// The model: in the first remark, behind the system. Apps put it elsewhere; there it is taken for
/// one if its maker is known.
fn model(text: &str) -> Found<'_> {
    const SYSTEMS: &[&str] = &[
        "Android",
        "Andr0id",
        "HarmonyOS",
        "Adr ",
        "Tizen ",
        "Mobile",
    ];
    let remark = remark(text);
    let mut behind = remark.split(';').map(str::trim);
    let has_system = behind.any(|part| SYSTEMS.iter().any(|system| part.starts_with(system)));
    if has_system && let Some(name) = behind.find_map(model_name) {
        return Found::model(name, model_of(name));
    }
    let mut parts = remark.split(';').map(str::trim).filter_map(model_name);
    if let Some((name, model)) = parts.find_map(|name| Some((name, model_of(name)?))) {
        return Found::model(name, Some(model));
    }
    // `Android (33/13; 420dpi; 1080x2110; maker; model; …)`
    match remark.split(';').nth(4) {
        Some(name) if !is_mozilla(text) && text.contains("Android (") => {
            model_name(name.trim()).map_or_else(Found::default, |name| Found::model(name, None))
        }
        _ => Found::default(),
    }
}

/// Where a browser on Android names the model. What stands there is no program, whatever it is called: there are telephones
/// by the name of Dolphin.
pub(crate) fn model_place(text: &str) -> Range<usize> {
    if !text.starts_with("Mozilla/5.0 (Linux; ") {
        return 0..0;
    }
    let remark = remark(text);
    let mut start = text.len() - text.split_once('(').map_or("", |(_, rest)| rest).len();
    let mut is_behind = false;
    for part in remark.split(';') {
        let place = start..start + part.len();
        start = place.end + 1;
        if is_behind && model_name(part.trim()).is_some() {
            return place;
        }
        is_behind |= part.trim_start().starts_with("Android ");
    }
    0..0
}

fn model_name(part: &str) -> Option<&str> {
    let name = part.split("Build/").next().unwrap_or_default();
    let name = name.trim();
    // Samsung's browser puts the maker before the model.
    let name = match name.strip_prefix("SAMSUNG ") {
        Some(model) if model_of(model).is_some() => model,
        _ => name,
    };
    // `SM-S928B/DS` takes two SIM cards.
    let name = match name.split_once('/') {
        Some((model, _)) if model_of(model).is_some() => model,
        _ => name,
    };
    let is_other = NO_MODEL.iter().any(|other| match other.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name.eq_ignore_ascii_case(other),
    });
    // What holds a slash is a program, and a name of that length is none.
    let is_name = !is_other
        && !is_locale(name)
        && !name.contains(['/', '#', '='])
        && name.len() <= 60
        && name.bytes().any(|byte| byte.is_ascii_alphanumeric());
    is_name.then_some(name)
}

/// `en-us`, `zh_CN`, `zh-Hans-CN`.
fn is_locale(name: &str) -> bool {
    let mut parts = name.split(['-', '_']);
    let language = parts.next().unwrap_or_default();
    language.len() == 2
        && language.bytes().all(|byte| byte.is_ascii_lowercase())
        && parts.all(|part| part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_alphabetic()))
}

/// What the beginning of a model's name tells.
fn model_of(name: &str) -> Option<&'static Model> {
    let first = usize::from(*name.as_bytes().first()?);
    let (begin, end) = (MODELS_BEGIN.get(first)?, MODELS_BEGIN.get(first + 1)?);
    let models = &MODELS[usize::from(*begin)..usize::from(*end)];
    models.iter().find(|model| begins(name, model.pattern))
}

fn begins(name: &str, pattern: &str) -> bool {
    let mut bytes = name.bytes();
    pattern.bytes().all(|wanted| match wanted {
        b'#' => bytes.next().is_some_and(|byte| byte.is_ascii_digit()),
        b'@' => bytes.next().is_some_and(|byte| byte.is_ascii_uppercase()),
        b'$' => bytes.next().is_none(),
        _ => bytes.next() == Some(wanted),
    })
}

/// `… IEMobile/10.0; ARM; Touch; NOKIA; Lumia 920`: the model comes last, and its maker before it.
fn windows_phone(text: &str) -> Found<'_> {
    let mut parts = remark(text).rsplit(';').map(str::trim);
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
