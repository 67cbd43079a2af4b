//! The words of the page.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::macros::format_description;

use qsessions::Category;

type Text = Cow<'static, str>;

/// The words of the page. Those of [`Texts::default`] are English; replace each for another
/// language.
///
/// ```
/// use qsessions_axum::devices::Texts;
///
/// let french = Texts {
///     language: "fr".into(),
///     title: "Vos appareils".into(),
///     this_device: "Cet appareil".into(),
///     ago: |time| format!("il y a {} minutes", time.as_secs() / 60),
///     ..Texts::default()
/// };
/// ```
#[derive(Debug, Clone)]
pub struct Texts {
    /// The code of the language, such as `en`.
    pub language: Text,
    /// The direction of the script: `ltr` or `rtl`.
    pub direction: Text,
    /// The title of the page.
    pub title: Text,
    /// What the page is for.
    pub introduction: Text,
    /// Marks the device that shows the page.
    pub this_device: Text,
    /// The heading of the devices other than this one.
    pub other_devices: Text,
    /// In place of other devices, where there are none.
    pub no_other_devices: Text,
    /// The button that signs out on one device. The name of the device follows it for screen
    /// readers.
    pub sign_out: Text,
    /// The button that signs out on all other devices.
    pub sign_out_others: Text,
    /// Says that the user was signed out on a device.
    pub signed_out: Text,
    /// Says that the user was signed out on all other devices.
    pub signed_out_others: Text,
    /// Before the time at which a device was last seen.
    pub last_active: Text,
    /// Before the day on which the user signed in.
    pub since: Text,
    /// Before the address and the location of a device.
    pub place: Text,
    /// The heading of the last sign-ins.
    pub recent_sign_ins: Text,
    /// Marks a sign-in on a device that was new then.
    pub new_device: Text,
    /// Marks a sign-in at a place that was new then.
    pub new_place: Text,
    /// What to do about a sign-in that the user does not recognize.
    pub advice: Text,
    /// A device of which nothing is known.
    pub unknown_device: Text,
    /// A location of which nothing is known.
    pub unknown_place: Text,
    /// The name of each kind of device.
    pub kind: fn(Category) -> Text,
    /// How long ago something was.
    pub ago: fn(Duration) -> String,
    /// A day, in universal time.
    pub day: fn(SystemTime) -> String,
    /// A day and a time, in universal time.
    pub moment: fn(SystemTime) -> String,
}

impl Default for Texts {
    fn default() -> Self {
        Self {
            language: "en".into(),
            direction: "ltr".into(),
            title: "Your devices".into(),
            introduction: "You are signed in on these devices. Sign out on a device that you do \
                           not recognize or no longer use."
                .into(),
            this_device: "This device".into(),
            other_devices: "Other devices".into(),
            no_other_devices: "You are signed in nowhere else.".into(),
            sign_out: "Sign out".into(),
            sign_out_others: "Sign out on all other devices".into(),
            signed_out: "You are signed out on that device.".into(),
            signed_out_others: "You are signed out on all other devices.".into(),
            last_active: "Last active".into(),
            since: "Signed in since".into(),
            place: "Place".into(),
            recent_sign_ins: "Recent sign-ins".into(),
            new_device: "New device".into(),
            new_place: "New place".into(),
            advice: "If you do not recognize a sign-in, sign out on all other devices and change \
                     your password."
                .into(),
            unknown_device: "Unknown device".into(),
            unknown_place: "Unknown place".into(),
            kind: kind_in_english,
            ago: ago_in_english,
            day: day_in_english,
            moment: moment_in_english,
        }
    }
}

fn kind_in_english(kind: Category) -> Text {
    match kind {
        Category::Desktop => "Computer",
        Category::Mobile => "Phone",
        Category::Tablet => "Tablet",
        Category::Bot => "Bot",
        Category::Tool => "Program",
        Category::Tv => "Television",
        Category::Console => "Game console",
        _ => "Device",
    }
    .into()
}

fn ago_in_english(time: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let (number, unit) = match time.as_secs() {
        ..MINUTE => return "just now".to_owned(),
        seconds @ ..HOUR => (seconds / MINUTE, "minute"),
        seconds @ ..DAY => (seconds / HOUR, "hour"),
        seconds if seconds < 30 * DAY => (seconds / DAY, "day"),
        seconds if seconds < 365 * DAY => (seconds / (30 * DAY), "month"),
        seconds => (seconds / (365 * DAY), "year"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural} ago")
}

fn day_in_english(instant: SystemTime) -> String {
    let format = format_description!("[day padding:none] [month repr:long] [year]");
    let day = OffsetDateTime::from(instant).format(format);
    day.unwrap_or_default()
}

fn moment_in_english(instant: SystemTime) -> String {
    let format = format_description!(
        "[day padding:none] [month repr:long] [year], [hour padding:none]:[minute] UTC"
    );
    let moment = OffsetDateTime::from(instant).format(format);
    moment.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_words() {
        for (seconds, words) in [
            (0, "just now"),
            (59, "just now"),
            (60, "1 minute ago"),
            (3599, "59 minutes ago"),
            (3600, "1 hour ago"),
            (2 * 86_400 - 1, "1 day ago"),
            (29 * 86_400, "29 days ago"),
            (30 * 86_400, "1 month ago"),
            (364 * 86_400, "12 months ago"),
            (730 * 86_400, "2 years ago"),
        ] {
            assert_eq!(ago_in_english(Duration::from_secs(seconds)), words);
        }
        let instant = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_995_180);
        assert_eq!(day_in_english(instant), "29 November 2026");
        assert_eq!(moment_in_english(instant), "29 November 2026, 23:33 UTC");
    }
}
