//! What kind of machine or program sent a string.

/// The kind of machine or program that sent a string.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Category {
    /// A computer with a keyboard.
    Desktop,
    /// A phone, or a program on one.
    Mobile,
    /// A tablet.
    Tablet,
    /// A program that runs without a person: a crawler, a link preview, a monitor.
    Bot,
    /// A command-line program or a library for HTTP.
    Tool,
    /// A television or a set-top box.
    Tv,
    /// A game console.
    Console,
    /// Any other device, or an unknown one.
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
