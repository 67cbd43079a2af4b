//! Client hints: what a browser says of itself beside its string.
//!
//! Browsers made of Chromium have frozen most of the string, and send the rest in the headers
//! `Sec-CH-UA-*`. The hints complete the string: they count only if they do not contradict it.

mod brands;
mod structured;

use std::borrow::Cow;

use crate::category::Category;
use crate::device::Found as Device;
use crate::program::Found as Program;
use crate::system::{self, Found as System};
use brands::Brand;
use structured::{Item, is_true, items, text};

/// How many bytes a hint may have. A longer one is ignored, so that a hostile one costs nothing.
pub const MAX_HINT_LENGTH: usize = 512;

/// The headers, in lower case.
const HEADERS: [&str; 11] = [
    "sec-ch-ua",
    "sec-ch-ua-arch",
    "sec-ch-ua-bitness",
    "sec-ch-ua-form-factors",
    "sec-ch-ua-full-version",
    "sec-ch-ua-full-version-list",
    "sec-ch-ua-mobile",
    "sec-ch-ua-model",
    "sec-ch-ua-platform",
    "sec-ch-ua-platform-version",
    "sec-ch-ua-wow64",
];

const BRANDS: usize = 0;
const FORM_FACTORS: usize = 3;
const FULL_VERSION: usize = 4;
const FULL_VERSION_LIST: usize = 5;
const MOBILE: usize = 6;
const MODEL: usize = 7;
const PLATFORM: usize = 8;
const PLATFORM_VERSION: usize = 9;

/// The headers `Sec-CH-UA-*` of a request.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ClientHints<'a> {
    values: [Option<&'a str>; HEADERS.len()],
}

impl<'a> ClientHints<'a> {
    /// Adds a header. Any name and value may be given: what is not a client hint is ignored.
    ///
    /// The name may be in upper or lower case, or in the form of CGI: `HTTP_SEC_CH_UA_MODEL`.
    pub fn add(&mut self, name: &str, value: &'a str) {
        let is_value =
            (1..=MAX_HINT_LENGTH).contains(&value.len()) && !value.contains(char::is_control);
        if let Some(index) = header(name).filter(|_| is_value) {
            self.values[index] = Some(value);
        }
    }

    /// The headers that there are, by their names in lower case.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'a str)> {
        let pairs = HEADERS.into_iter().zip(self.values);
        pairs.filter_map(|(name, value)| Some((name, value?)))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.iter().all(Option::is_none)
    }

    /// What the hints add to a string. It is nothing if they contradict it, or if no browser made
    /// of Chromium has sent it: no other sends hints.
    pub(crate) fn told(
        &self,
        text: &str,
        program: &Program<'_>,
        system: &System<'_>,
    ) -> Option<Told<'a>> {
        let counts = !self.is_empty()
            && program.is_person()
            && text.contains("Chrome/")
            && self.text(PLATFORM).is_none_or(|name| fits(name, system));
        counts.then(|| Told {
            brand: self.brand(),
            system_version: self
                .text(PLATFORM_VERSION)
                .and_then(|version| system::told_version(system, version)),
            model: self.text(MODEL),
            category: self.category(),
            is_mobile: self.values[MOBILE].is_some_and(is_true),
        })
    }

    fn text(&self, index: usize) -> Option<&'a str> {
        text(self.values[index]?)
    }

    fn items(&self, index: usize) -> Option<Vec<Item<'a>>> {
        items(self.values[index]?)
    }

    /// The name and the version of the browser. The list of full versions has both; some browsers
    /// send only the short one.
    fn brand(&self) -> Option<Brand<'a>> {
        let full = self.items(FULL_VERSION_LIST).and_then(brands::browser);
        let short = self.items(BRANDS).and_then(brands::browser);
        if full.is_some() && (short.is_none() || full.map(|a| a.name) == short.map(|b| b.name)) {
            return full;
        }
        let version = self.text(FULL_VERSION).and_then(crate::text::version);
        let short = short?;
        Some(Brand {
            version: version.or(short.version),
            is_short: version.is_none(),
            ..short
        })
    }

    fn category(&self) -> Option<Category> {
        let factors = self.items(FORM_FACTORS)?;
        // A headset may be a computer or a tablet as well. The rarest kind says most.
        const CATEGORIES: [(&str, Category); 7] = [
            ("TV", Category::Tv),
            ("Watch", Category::Other),
            ("XR", Category::Other),
            ("Automotive", Category::Other),
            ("Tablet", Category::Tablet),
            ("Mobile", Category::Mobile),
            ("Desktop", Category::Desktop),
        ];
        let is_told = |name: &str| factors.iter().any(|factor| factor.name == Some(name));
        let found = CATEGORIES.into_iter().find(|(name, _)| is_told(name));
        found.map(|(_, category)| category)
    }
}

/// What the hints add to a string.
#[derive(Debug, Default)]
pub(crate) struct Told<'a> {
    brand: Option<Brand<'a>>,
    system_version: Option<Cow<'a, str>>,
    model: Option<&'a str>,
    /// The kind of device, if the browser has told it.
    pub(crate) category: Option<Category>,
    /// Whether it is a phone.
    pub(crate) is_mobile: bool,
}

impl<'a> Told<'a> {
    /// Whether the version of the system is told.
    pub(crate) fn has_system_version(&self) -> bool {
        self.system_version.is_some()
    }

    pub(crate) fn complete_program(&self, program: &mut Program<'a>) {
        let Some(brand) = self.brand else { return };
        let name = program.name.as_deref();
        let is_same = name == Some(brand.name);
        let is_edition = name.is_some_and(|name| {
            let rest = brand.name.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(' '))
        });
        if is_same || is_edition {
            // Opera has sent the version of its engine.
            let major = |version: Option<&str>| version.and_then(crate::text::major);
            if !brand.is_short && major(brand.version) == major(program.version) {
                program.version = brand.version;
            }
        } else if name.is_none_or(|name| matches!(name, "Chrome" | "Chromium")) {
            program.version = brand.version;
        } else {
            // An app that shows pages names itself only in the string, and its engine in the hints.
            return;
        }
        if !is_same {
            program.name = Some(brand.name.into());
            program.category = brands::category(brand.name);
        }
    }

    pub(crate) fn complete_system(&self, system: &mut System<'a>) {
        if let Some(version) = &self.system_version {
            system.version = Some(version.clone());
        }
    }

    pub(crate) fn complete_device(&self, device: &mut Device<'a>) {
        if device.name.is_none()
            && let Some(model) = self.model
        {
            *device = Device::named(model);
        }
    }
}

/// Which header a name is.
fn header(name: &str) -> Option<usize> {
    let bytes = name.as_bytes();
    let bytes = match bytes.get(..5) {
        Some(start) if start.eq_ignore_ascii_case(b"HTTP_") => &bytes[5..],
        _ => bytes,
    };
    HEADERS.iter().position(|header| {
        header.len() == bytes.len()
            && bytes.iter().zip(header.bytes()).all(|(&byte, wanted)| {
                byte.to_ascii_lowercase() == wanted || (byte == b'_' && wanted == b'-')
            })
    })
}

/// Whether the platform of the hints is the system of the string.
fn fits(platform: &str, system: &System<'_>) -> bool {
    match platform {
        "Unknown" => true,
        "macOS" | "Mac OS X" => system.is(&["macOS"]),
        "Chrome OS" | "Chromium OS" => system.is(&["ChromeOS"]),
        // Systems made of Android say that they are Android.
        "Android" => system.is(&["Android", "HarmonyOS", "Fire OS"]),
        // The string may name the distribution.
        "Linux" => {
            system.category == Some(Category::Desktop)
                && !system.is(&["Windows", "macOS", "ChromeOS"])
        }
        other => system.is(&[other]),
    }
}
