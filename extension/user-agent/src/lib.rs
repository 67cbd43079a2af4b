//! What a User-Agent string says about the browser, the system and the device behind it.
//!
//! [`parse`] gives the parts, [`device_line`] one line for a person. Both take any text, look at
//! no more than its first [`MAX_LENGTH`] bytes, and never fail: what the string doesn't tell is
//! `None`.
#![forbid(unsafe_code)]

mod device;
mod fallback;
mod program;
mod rules;
mod system;
mod table;
mod text;

use std::borrow::Cow;

/// How many bytes of a string are looked at. The rest is ignored, so that a hostile text of any
/// size costs no more than this.
pub const MAX_LENGTH: usize = 2048;

/// What kind of machine or program sent the string.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Category {
    /// A computer with a keyboard.
    Desktop,
    /// A phone, or a program on one.
    Mobile,
    /// A tablet.
    Tablet,
    /// A crawler, a link preview, a monitor: nobody is looking.
    Bot,
    /// A command-line program or a library for HTTP.
    Tool,
    /// A television, or a box beside one.
    Tv,
    /// A game console.
    Console,
    /// Anything else, and nothing to tell by.
    Other,
}

impl Category {
    /// The name in lower case, as the SQL function returns it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Desktop => "desktop",
            Self::Mobile => "mobile",
            Self::Tablet => "tablet",
            Self::Bot => "bot",
            Self::Tool => "tool",
            Self::Tv => "tv",
            Self::Console => "console",
            Self::Other => "other",
        }
    }
}

/// What a string says. `None` where it says nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UserAgent<'a> {
    /// Name of the browser, app, bot or tool: `Chrome`, `Samsung Internet`, `curl`.
    pub browser: Option<Cow<'a, str>>,
    /// Its version, all numbers that are there: `70.0.3538.102`.
    pub browser_version: Option<Cow<'a, str>>,
    /// Name of the operating system: `Windows`, `macOS`, `iOS`, `Android`.
    pub os: Option<Cow<'a, str>>,
    /// Its version, as people call it: `7` for Windows NT 6.1, `17.1` for iOS.
    pub os_version: Option<Cow<'a, str>>,
    /// Model (`Pixel 8`) or family (`iPhone`, `Mac`, `PC`) of the device.
    pub device: Option<Cow<'a, str>>,
    /// Who makes the device, where model or family tell.
    pub vendor: Option<Cow<'a, str>>,
    /// What kind of machine or program it is.
    pub category: Category,
    /// Whether it calls itself a bot, or is known as one.
    pub is_bot: bool,
}

/// Takes a string apart.
pub fn parse(user_agent: &str) -> UserAgent<'_> {
    let text = cut(user_agent);
    let mut program = program::program(text);
    let mut system = system::system(text);
    fallback::fill(text, &mut program, &mut system);
    let is_person = !matches!(program.category, Some(Category::Bot | Category::Tool));
    // What a bot says of a device is not where it runs.
    let device = if is_person {
        device::device(text, system.name)
    } else {
        device::Found::default()
    };
    let category = category(text, &program, &system, &device);
    let is_computer = is_person && category == Category::Desktop;

    UserAgent {
        browser: program.name.map(Cow::Borrowed),
        browser_version: program.version.map(Cow::Borrowed),
        os: system.name.map(Cow::Borrowed),
        os_version: system.version,
        device: device
            .name
            .or(is_computer.then_some("PC"))
            .map(Cow::Borrowed),
        vendor: device.vendor.map(Cow::Borrowed),
        category,
        is_bot: category == Category::Bot,
    }
}

/// One line for a person: `iPhone / iOS 17.1 / Safari 17.1`. Parts unknown are `Other`; an
/// empty string gives an empty line.
pub fn device_line(user_agent: &str) -> String {
    let text = cut(user_agent);
    if text.is_empty() {
        return String::new();
    }
    let mut parsed = parse(text);
    // The number that every Android gives here would be read as this one's.
    if system::is_reduced_android(text) {
        parsed.os_version = None;
    }
    let part = |name: Option<Cow<'_, str>>, version: Option<Cow<'_, str>>| match (name, version) {
        (Some(name), Some(version)) => format!("{name} {version}"),
        (Some(name), None) => name.into_owned(),
        (None, _) => "Other".to_owned(),
    };
    format!(
        "{} / {} / {}",
        part(parsed.device, None),
        part(parsed.os, parsed.os_version),
        part(parsed.browser, parsed.browser_version)
    )
}

fn category(
    text: &str,
    program: &program::Found<'_>,
    system: &system::Found<'_>,
    device: &device::Found<'_>,
) -> Category {
    use Category::{Console, Mobile, Other, Tablet, Tool, Tv};

    if let Some(category) = program.category {
        return category;
    }
    match system.category {
        Some(Console | Tv) => {}
        _ if device::is_tv(text) => return Tv,
        Some(Mobile) => {
            if let Some(category) = device.category {
                return category;
            }
            // A browser on an Android phone says 'Mobile'; an app need not.
            let is_phone = !program::is_mozilla(text) || text.contains("Mobile");
            if device::is_tablet(text) || (system.name == Some("Android") && !is_phone) {
                return Tablet;
            }
        }
        Some(_) => {}
        // A program that names itself and no system it runs on is seldom a person's browser.
        None if program.name.is_some() && !program::is_mozilla(text) => return Tool,
        None => {}
    }
    system.category.unwrap_or(Other)
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_LENGTH)]
}
