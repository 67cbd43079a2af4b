//! What a User-Agent string says about the browser, the system and the device behind it.
//!
//! [`parse`] returns the parts, [`device_line`] one line that a person can read. Both take any
//! text, read no more than its first [`MAX_LENGTH`] bytes, and never fail. A part that the string
//! does not tell is `None`. [`parse_with_hints`] and [`device_line_with_hints`] take the client
//! hints that the browser has sent with the string.
//!
//! | module | subject |
//! | --- | --- |
//! | `rules` | the tables that `build.rs` makes of `rules/user-agents.rules` |
//! | `text` | words, comments and versions in a string |
//! | `scan` | the pass that finds the rules that match |
//! | `program` | browsers, apps, bots and tools |
//! | `system` | operating systems |
//! | `device`, `model` | devices, and models of Android devices |
//! | `device_name` | the name of a device as a person reads it |
//! | `known` | what people call the models, from the files in `data` |
//! | `hints` | client hints, which complete a string |
//! | `fallback` | what woothee knows and the rules do not |
#![forbid(unsafe_code)]

mod bucket;
mod category;
mod device;
mod device_name;
mod fallback;
mod hints;
mod known;
mod model;
mod model_key;
mod program;
mod rules;
mod scan;
mod system;
mod text;

use std::borrow::Cow;

pub use category::Category;
pub use hints::{ClientHints, MAX_HINT_LENGTH};
pub use rules::{RuleCounts, rule_counts};

/// How many bytes of a string are read. The rest is ignored, so that a hostile text of any size
/// costs no more than this.
pub const MAX_LENGTH: usize = 2048;

/// The parts of a string. `None` stands for a part that the string does not tell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UserAgent<'a> {
    /// Name of the browser, app, bot or tool: `Chrome`, `Samsung Internet`, `curl`.
    pub browser: Option<Cow<'a, str>>,
    /// Its version, with all its numbers: `70.0.3538.102`.
    pub browser_version: Option<Cow<'a, str>>,
    /// Name of the operating system: `Windows`, `macOS`, `iOS`, `Android`.
    pub os: Option<Cow<'a, str>>,
    /// Its version, as people call it: `7` for Windows NT 6.1, `17.1` for iOS.
    pub os_version: Option<Cow<'a, str>>,
    /// Model (`Pixel 8`) or family (`iPhone`, `Mac`, `PC`) of the device.
    pub device: Option<Cow<'a, str>>,
    /// What people call the model, without its maker, where that is not `device` itself: `Edge 30`.
    pub model_name: Option<&'static str>,
    /// The maker of the device, where model or family tell it; the operator of a bot, where known.
    pub vendor: Option<Cow<'a, str>>,
    /// The kind of machine or program.
    pub category: Category,
    /// Whether it calls itself a bot, or is known as one.
    pub is_bot: bool,
}

impl UserAgent<'_> {
    /// What people call the device, with its maker where the name does not tell it: `Galaxy S24`,
    /// `Motorola Edge 30`. A model that is in no list is shown after its maker: `Samsung SM-S999Z`.
    #[must_use]
    pub fn device_name(&self) -> Option<Cow<'_, str>> {
        let name = self.model_name.or(self.device.as_deref())?;
        Some(device_name::with_maker(name, self.vendor.as_deref()))
    }
}

/// Takes a string apart.
#[must_use]
pub fn parse(user_agent: &str) -> UserAgent<'_> {
    parse_with_hints(user_agent, &ClientHints::default())
}

/// Takes a string apart, and completes it by client hints that do not contradict it.
#[must_use]
pub fn parse_with_hints<'a>(user_agent: &'a str, hints: &ClientHints<'a>) -> UserAgent<'a> {
    parts(cut(user_agent), hints).0
}

/// One line that a person can read: `Galaxy S24 / Android 14 / Chrome 126.0.0.0`. An unknown part is
/// `Other`, an unknown phone `Phone`; an empty string gives an empty line.
#[must_use]
pub fn device_line(user_agent: &str) -> String {
    device_line_with_hints(user_agent, &ClientHints::default())
}

/// The line for a string and client hints, as [`device_line`].
#[must_use]
pub fn device_line_with_hints(user_agent: &str, hints: &ClientHints<'_>) -> String {
    let text = cut(user_agent);
    if text.is_empty() {
        return String::new();
    }
    let (mut parsed, is_version_told) = parts(text, hints);
    // Every browser sends the same number here, whatever the version. A person would believe it.
    let chrome_os = |version: &Cow<'_, str>| system::is_reduced_chrome_os(version);
    if !is_version_told
        && (system::is_reduced_android(text) || parsed.os_version.as_ref().is_some_and(chrome_os))
    {
        parsed.os_version = None;
    }
    let mut line = String::with_capacity(64);
    let kind = match parsed.category {
        Category::Mobile => "Phone",
        Category::Tablet => "Tablet",
        Category::Tv => "TV",
        _ => "Other",
    };
    line.push_str(parsed.device_name().as_deref().unwrap_or(kind));
    line.push_str(" / ");
    push(
        &mut line,
        parsed.os.as_deref(),
        parsed.os_version.as_deref(),
    );
    line.push_str(" / ");
    push(
        &mut line,
        parsed.browser.as_deref(),
        parsed.browser_version.as_deref(),
    );
    line
}

/// The parts, and whether the version of the system is one that the hints have told.
fn parts<'a>(text: &'a str, hints: &ClientHints<'a>) -> (UserAgent<'a>, bool) {
    let found = scan::matches(text);
    let mut program = program::program(text, &found);
    let mut system = system::system(text, found.system.as_ref());
    let feature_phone = match found.ask_woothee {
        true => fallback::fill(text, &mut program, &mut system),
        false => None,
    };
    let told = hints.told(text, &program, &system).unwrap_or_default();
    told.complete_program(&mut program);
    told.complete_system(&mut system);
    let is_person = program.is_person();
    // A bot names a device that it does not run on.
    let mut device = device::Found::default();
    if is_person {
        device = device::device(text, &system, found.device.as_ref());
        told.complete_device(&mut device);
    }
    let category = category(text, &program, &system, &device, &told);
    let is_computer = is_person
        && system.category == Some(Category::Desktop)
        && (category == Category::Desktop || told.category == Some(Category::Tablet));

    let browser = printable(program.name);
    let os = printable(system.name);
    let model = printable(device.name.or(feature_phone.map(Cow::Borrowed)))
        .or(is_computer.then_some("PC".into()));
    let vendor = printable(device.vendor);
    let parts = UserAgent {
        browser_version: program
            .version
            .map(Cow::Borrowed)
            .filter(|_| browser.is_some()),
        browser,
        os_version: system.version.filter(|_| os.is_some()),
        os,
        device: model,
        model_name: device.called,
        vendor: vendor.or(program.operator.map(Cow::Borrowed)),
        category,
        is_bot: category == Category::Bot,
    };
    (parts, told.has_system_version())
}

fn push(line: &mut String, name: Option<&str>, version: Option<&str>) {
    line.push_str(name.unwrap_or("Other"));
    if let (Some(_), Some(version)) = (name, version) {
        line.push(' ');
        line.push_str(version);
    }
}

fn category(
    text: &str,
    program: &program::Found<'_>,
    system: &system::Found<'_>,
    device: &device::Found<'_>,
    told: &hints::Told<'_>,
) -> Category {
    use Category::{Console, Mobile, Other, Tablet, Tool, Tv};

    if let Some(category) = program.category {
        let is_tablet = category == Mobile && system.category == Some(Tablet);
        return if is_tablet { Tablet } else { category };
    }
    if let Some(category) = told.category {
        return category;
    }
    match (system.category, device.category) {
        (Some(Console | Tv), _) => {}
        (_, Some(category)) => return category,
        _ if may_be_tv(system) && device::is_tv(text) => return Tv,
        (Some(Mobile), _) => {
            // A browser on an Android phone says 'Mobile'; an app need not.
            let is_phone = told.is_mobile
                || !text::is_mozilla(text)
                || text.contains("Mobile")
                || text::find_word(text, "Phone").is_some();
            let is_android = system.is(&["Android", "HarmonyOS"]);
            // Only a browser says 'Mobile', and a string of one names it.
            let is_browser = program.name.is_some();
            if device::is_tablet(text) || (is_android && is_browser && !is_phone) {
                return Tablet;
            }
        }
        (Some(_), _) => {}
        // A program that names itself but no system is seldom the browser of a person.
        (None, _) if program.name.is_some() && !text::is_mozilla(text) => return Tool,
        (None, _) => {}
    }
    system.category.unwrap_or(Other)
}

/// On these systems, a word that ends in 'TV' is part of an app's name.
fn may_be_tv(system: &system::Found<'_>) -> bool {
    !system.is(&["iOS", "iPadOS", "macOS", "Windows"])
}

/// No name may have characters that a person does not see and that a terminal or a page may act on:
/// control characters, and those that change the direction of a line.
fn printable(name: Option<Cow<'_, str>>) -> Option<Cow<'_, str>> {
    let is_invisible = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    name.filter(|name| !name.contains(is_invisible))
}

/// The part of a text that is read. It ends between two words: a word that is cut in half would be
/// another word.
fn cut(text: &str) -> &str {
    let start = &text[..text.floor_char_boundary(MAX_LENGTH)];
    if start.len() == text.len() {
        return text;
    }
    let end = start.rfind([' ', ';', ')']);
    end.map_or(start, |end| &start[..end])
}
