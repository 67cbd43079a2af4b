//! Models of Android devices and their like: where a string names them, and who makes them.

use std::ops::Range;

use crate::category::Category;
use crate::known;
use crate::rules::{MODELS, MODELS_BEGIN, ModelRule, NOT_MODELS};
use crate::text::{comment, is_mozilla, words};

/// How many parts of a comment are read.
const MAX_PARTS: usize = 40;

/// A model that a string or a client hint names.
#[derive(Debug)]
pub(crate) struct Model<'a> {
    /// As it stands there.
    pub(crate) text: &'a str,
    /// What people call it, without its maker, where that is not the text itself.
    pub(crate) called: Option<&'static str>,
    pub(crate) vendor: Option<&'static str>,
    /// The kind of device, where the model tells it.
    pub(crate) category: Option<Category>,
}

impl<'a> Model<'a> {
    /// By the list of models, then by its beginning, then by a maker whose name it begins with, and
    /// then by the models in the list that begin alike.
    fn new(text: &'a str) -> Self {
        let rule = rule(text);
        let Some(known) = known::model(text) else {
            return Self {
                text,
                called: None,
                vendor: rule
                    .map(|rule| rule.vendor)
                    .or_else(|| known::maker_in(text))
                    .or_else(|| known::family(text)),
                category: rule.and_then(|rule| rule.category).or(tablet(text)),
            };
        };
        let maker = known.maker();
        let by_rule = rule
            .filter(|rule| rule.vendor == maker)
            .and_then(|rule| rule.category);
        Self {
            text,
            called: known.name(),
            vendor: Some(maker),
            category: known.category.or(by_rule).or(tablet(text)),
        }
    }
}

/// A model with the word for a tablet in its name, as `Armor Pad 4` and `Tab_8_4G`.
fn tablet(name: &str) -> Option<Category> {
    let mut words = name.split(|letter: char| !letter.is_ascii_alphanumeric());
    let is_tablet = |word: &str| {
        matches!(word, "Tab" | "TAB" | "tab" | "Tablet" | "TABLET" | "PAD") || word.ends_with("Pad")
    };
    words.any(is_tablet).then_some(Category::Tablet)
}

impl Model<'_> {
    /// Honor's models have codes like Huawei's, and some the same. The number of the build tells
    /// which: `NTH-AN00 Build/HONORNTH-AN00`.
    fn of_build(mut self, text: &str) -> Self {
        if matches!(self.vendor, None | Some("Huawei")) && text.contains("Build/HONOR") {
            self.vendor = Some("Honor");
            self.called = None;
        }
        self
    }
}

/// The model.
///
/// It stands in the first comment, behind the system. Apps name it elsewhere; there, a name counts
/// only if its maker is known by a rule.
pub(crate) fn model(text: &str) -> Option<Model<'_>> {
    const SYSTEMS: &[&str] = &[
        "Android",
        "Andr0id",
        "HarmonyOS",
        "Adr ",
        "Tizen ",
        "Mobile",
    ];
    let comment = comment(text);
    let mut behind = parts(comment).map(str::trim);
    let has_system = behind.any(|part| SYSTEMS.iter().any(|system| part.starts_with(system)));
    if has_system && let Some(name) = behind.find_map(name) {
        return Some(Model::new(name).of_build(text));
    }
    let mut parts = parts(comment).map(str::trim).filter_map(name);
    if let Some(name) = parts.find(|name| rule(name).is_some()) {
        return Some(Model::new(name));
    }
    if is_mozilla(text) {
        return None;
    }
    // `Android (33/13; 420dpi; 1080x2110; maker; model; …)`
    if text.contains("Android (")
        && let Some(part) = comment.split(';').nth(4)
    {
        return name(part.trim()).map(Model::new);
    }
    // `Example/6.7 Android 13/samsung SM-A235F`
    let is_known = |word: &&str| rule(word).is_some() && known::model(word).is_some();
    words(text).find(is_known).map(Model::new)
}

/// The same for a text that is the name of a model.
pub(crate) fn named(text: &str) -> Option<Model<'_>> {
    name(text).map(Model::new)
}

/// Where a browser on Android names the model. A word there is not a program, even if a program has
/// that name: there is a phone called Dolphin.
pub(crate) fn range(text: &str) -> Range<usize> {
    if !text.starts_with("Mozilla/5.0 (Linux; ") {
        return 0..0;
    }
    let comment = comment(text);
    let mut start = text.len() - text.split_once('(').map_or("", |(_, rest)| rest).len();
    let mut is_behind = false;
    for part in parts(comment) {
        let range = start..start + part.len();
        start = range.end + 1;
        if is_behind && name(part.trim()).is_some() {
            return range;
        }
        is_behind |= part.trim_start().starts_with("Android ");
    }
    0..0
}

/// The parts of a comment: `Linux`, `Android 12` and `moto g(60)`. Real strings have a dozen, made-up
/// ones hundreds, each of which would be compared with the rules.
fn parts(comment: &str) -> impl Iterator<Item = &str> {
    comment.split(';').take(MAX_PARTS)
}

fn name(part: &str) -> Option<&str> {
    let name = part.split("Build/").next().unwrap_or_default();
    let name = name.trim();
    let name = name.strip_prefix("Model: ").unwrap_or(name);
    // Samsung's browser puts the maker before the model.
    let name = match name.strip_prefix("SAMSUNG ") {
        Some(model) if rule(model).is_some() => model,
        _ => name,
    };
    // `SM-S928B/DS` takes two SIM cards.
    let name = match name.split_once('/') {
        Some((model, _)) if rule(model).is_some() => model,
        _ => name,
    };
    let is_other = NOT_MODELS
        .iter()
        .any(|other| match other.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name.eq_ignore_ascii_case(other),
        });
    // A part with a slash is a program.
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

/// The rule that a name begins with.
fn rule(name: &str) -> Option<&'static ModelRule> {
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
