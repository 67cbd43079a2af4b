//! Numbers, sizes and times as people read them.

use std::time::{Duration, SystemTime};

/// A moment, for a `time` element.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    /// As in RFC 3339.
    pub(crate) machine: String,
    /// Date and time in UTC.
    pub(crate) exact: String,
    /// How long ago it was, or how long it is until then.
    pub(crate) words: String,
}

impl Moment {
    pub(crate) fn new(at: SystemTime, now: SystemTime) -> Self {
        let machine = rfc3339(at);
        let exact = match (machine.get(..10), machine.get(11..16)) {
            (Some(day), Some(time)) => format!("{day} {time} UTC"),
            _ => machine.clone(),
        };
        let words = match now.duration_since(at) {
            Ok(age) if age < Duration::from_secs(60) => "just now".to_owned(),
            Ok(age) => format!("{} ago", span(age)),
            Err(ahead) => format!("in {}", span(ahead.duration())),
        };
        Self {
            machine,
            exact,
            words,
        }
    }
}

/// To the second; empty for a time that a date of four digits cannot show.
pub(crate) fn rfc3339(at: SystemTime) -> String {
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    if at < SystemTime::UNIX_EPOCH || at > last {
        return String::new();
    }
    humantime::format_rfc3339_seconds(at).to_string()
}

/// A duration in its largest unit.
pub(crate) fn span(duration: Duration) -> String {
    const UNITS: [(u64, &str); 5] = [
        (365 * 86_400, "year"),
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let seconds = duration.as_secs();
    let (unit, name) = UNITS
        .into_iter()
        .find(|(unit, _)| seconds >= *unit)
        .unwrap_or((1, "second"));
    counted(seconds / unit, name)
}

/// `1 session`, `1,234 sessions`.
pub(crate) fn counted(count: u64, name: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {name}{ending}", number(count))
}

/// With a comma before every three digits.
pub(crate) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `8 kB`, `12.5 MB`, with units of 1,024 as PostgreSQL has them.
pub(crate) fn bytes(value: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if value < 1024 {
        return counted(value, "byte");
    }
    let mut size = value as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(size < 100.0 && size.fract() >= 0.05);
    format!("{size:.digits$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_a_comma_before_every_three_digits() {
        for (value, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(counted(1, "session"), "1 session");
        assert_eq!(counted(1_000, "session"), "1,000 sessions");
    }

    #[test]
    fn sizes_have_the_largest_unit() {
        for (value, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (8_192, "8 kB"),
            (13_107_200, "12.5 MB"),
            (u64::MAX, "16777216 TB"),
        ] {
            assert_eq!(bytes(value), text);
        }
    }

    #[test]
    fn times_are_told_from_now() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_906_800);
        let words = |at| Moment::new(at, now).words;
        assert_eq!(words(now - Duration::from_secs(59)), "just now");
        assert_eq!(words(now - Duration::from_secs(60)), "1 minute ago");
        assert_eq!(words(now - Duration::from_secs(7_300)), "2 hours ago");
        assert_eq!(words(now + Duration::from_secs(3 * 86_400)), "in 3 days");
        let moment = Moment::new(now, now);
        assert_eq!(moment.machine, "2026-11-28T23:00:00Z");
        assert_eq!(moment.exact, "2026-11-28 23:00 UTC");
    }

    #[test]
    fn a_time_beyond_the_year_9999_has_words_only() {
        let now = SystemTime::UNIX_EPOCH;
        let moment = Moment::new(now + Duration::from_secs(400_000_000_000), now);
        assert_eq!(
            (moment.exact.as_str(), moment.words.as_str()),
            ("", "in 12,683 years")
        );
    }
}
