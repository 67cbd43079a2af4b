//! What the page shows.

use std::sync::Arc;
use std::time::SystemTime;

use askama::Template;
use qsessions::{Category, SessionInfo, UserEvent, Uuid};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::devices::texts::Texts;

/// What the page shows, for a template.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Page {
    /// The words in the language of the visitor.
    pub texts: Arc<Texts>,
    /// The address of the stylesheet.
    pub stylesheet: String,
    /// The hidden field that each form must have, in HTML.
    pub csrf_field: String,
    /// The address to which a form with the field `id` of a [`Device`] is posted.
    pub sign_out: String,
    /// The address to which the form that signs out on all other devices is posted.
    pub sign_out_others: String,
    /// What the visitor has just done.
    pub done: Option<Done>,
    /// The device that shows the page.
    pub this_device: Option<Device>,
    /// The other devices, last seen first.
    pub other_devices: Vec<Device>,
    /// The last sign-ins, latest first.
    pub sign_ins: Vec<SignIn>,
}

impl Page {
    /// All devices, this one first.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.this_device.iter().chain(&self.other_devices)
    }
}

/// What the visitor has just done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Done {
    /// Signed out on one device.
    SignedOut,
    /// Signed out on all other devices.
    SignedOutOthers,
}

impl Done {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::SignedOut => "signed-out",
            Self::SignedOutOthers => "signed-out-others",
        }
    }

    pub(crate) fn from_query(query: Option<&str>) -> Option<Self> {
        let known = [Self::SignedOut, Self::SignedOutOthers];
        known.into_iter().find(|done| query == Some(done.as_str()))
    }
}

/// A device on which the user is signed in.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Device {
    /// The public id of the session.
    pub id: Uuid,
    /// The kind of device.
    pub kind: Category,
    /// The kind of device, in words.
    pub kind_name: String,
    /// What people call the device, such as `iPhone`.
    pub name: String,
    /// System and browser, such as `iOS 17.1, Safari 17.1`.
    pub details: String,
    /// The location of the address.
    pub location: Option<String>,
    /// The address.
    pub ip: Option<String>,
    /// When the device was last seen.
    pub last_active: Moment,
    /// When the user signed in.
    pub since: Moment,
}

/// A login of the past.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SignIn {
    /// When it was.
    pub at: Moment,
    /// What people call the device.
    pub name: String,
    /// System and browser.
    pub details: String,
    /// The location of the address.
    pub location: Option<String>,
    /// The address.
    pub ip: Option<String>,
    /// Whether the device was new then.
    pub is_new_device: bool,
    /// Whether the city or country was new then.
    pub is_new_place: bool,
}

/// An instant, in words and for programs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moment {
    /// In words, such as `5 minutes ago` or `29 November 2026`.
    pub words: String,
    /// In full, such as `29 November 2026, 23:33 UTC`.
    pub full: String,
    /// As in RFC 3339, for the attribute `datetime`.
    pub machine: String,
}

impl Moment {
    fn new(instant: SystemTime, words: String, texts: &Texts) -> Self {
        let machine = OffsetDateTime::from(instant).replace_nanosecond(0);
        let machine = machine.map(|instant| instant.format(&Rfc3339));
        Self {
            words,
            full: (texts.moment)(instant),
            machine: machine.ok().and_then(Result::ok).unwrap_or_default(),
        }
    }

    fn ago(instant: SystemTime, texts: &Texts) -> Self {
        // The clock of the database may be ahead.
        let time = SystemTime::now().duration_since(instant);
        Self::new(instant, (texts.ago)(time.unwrap_or_default()), texts)
    }

    fn day(instant: SystemTime, texts: &Texts) -> Self {
        Self::new(instant, (texts.day)(instant), texts)
    }
}

impl Device {
    pub(crate) fn new(session: SessionInfo, kind: Category, texts: &Texts) -> Self {
        let (name, details) = describe(session.device.as_deref(), texts);
        let since = session.authenticated_at.unwrap_or(session.created_at);
        Self {
            id: session.id,
            kind,
            kind_name: (texts.kind)(kind).into_owned(),
            name,
            details,
            location: session.location,
            ip: session.ip.map(|ip| ip.to_string()),
            last_active: Moment::ago(session.last_seen_at, texts),
            since: Moment::day(since, texts),
        }
    }
}

impl SignIn {
    pub(crate) fn new(event: UserEvent, texts: &Texts) -> Self {
        let (name, details) = describe(event.device.as_deref(), texts);
        Self {
            at: Moment::ago(event.at, texts),
            name,
            details,
            location: event.location,
            ip: event.ip.map(|ip| ip.to_string()),
            is_new_device: event.is_new_device == Some(true),
            is_new_place: event.is_new_place == Some(true),
        }
    }
}

/// A device as the database names it, `iPhone / iOS 17.1 / Safari 17.1`, as a name and details.
/// Parts that are unknown are left out.
fn describe(device: Option<&str>, texts: &Texts) -> (String, String) {
    let parts = device.unwrap_or_default().split(" / ");
    let mut parts = parts.filter(|part| !matches!(*part, "" | "Other"));
    let name = parts.next().unwrap_or(&texts.unknown_device).to_owned();
    (name, parts.collect::<Vec<_>>().join(", "))
}

/// The template of this crate.
#[derive(Template)]
#[template(path = "devices.html")]
pub(crate) struct DefaultTemplate<'a> {
    page: &'a Page,
    texts: &'a Texts,
}

impl<'a> DefaultTemplate<'a> {
    pub(crate) fn render(page: &'a Page) -> Result<String, askama::Error> {
        let texts = &page.texts;
        Template::render(&DefaultTemplate { page, texts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_described_by_what_is_known_of_it() {
        let texts = Texts::default();
        for (device, name, details) in [
            (
                Some("iPhone / iOS 17.1 / Safari 17.1"),
                "iPhone",
                "iOS 17.1, Safari 17.1",
            ),
            (
                Some("Other / Android 14 / Chrome 130"),
                "Android 14",
                "Chrome 130",
            ),
            (Some("Other / Other / curl 8.5.0"), "curl 8.5.0", ""),
            (Some("Other / Other / Other"), "Unknown device", ""),
            (Some(""), "Unknown device", ""),
            (None, "Unknown device", ""),
        ] {
            let described = describe(device, &texts);
            assert_eq!(
                described,
                (name.to_owned(), details.to_owned()),
                "{device:?}"
            );
        }
    }

    #[test]
    fn what_was_done_is_known_by_its_name() {
        for done in [Done::SignedOut, Done::SignedOutOthers] {
            assert_eq!(Done::from_query(Some(done.as_str())), Some(done));
        }
        assert_eq!(Done::from_query(Some("<script>")), None);
        assert_eq!(Done::from_query(None), None);
    }
}
