//! What a User-Agent string says about the browser, the system and the device behind it.
//!
//! [`parse`] gives the parts, [`device_line`] one line for a person. Both take any text, look at
//! no more than its first [`MAX_LENGTH`] bytes, and never fail: what the string doesn't tell is
//! `None`.
#![forbid(unsafe_code)]

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
    let _ = cut(user_agent);
    UserAgent {
        browser: None,
        browser_version: None,
        os: None,
        os_version: None,
        device: None,
        vendor: None,
        category: Category::Other,
        is_bot: false,
    }
}

/// One line for a person: `iPhone / iOS 17.1 / Safari 17.1`. Parts unknown are `Other`; an
/// empty string gives an empty line.
pub fn device_line(user_agent: &str) -> String {
    if user_agent.is_empty() {
        String::new()
    } else {
        "Other / Other / Other".to_owned()
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_LENGTH)]
}
