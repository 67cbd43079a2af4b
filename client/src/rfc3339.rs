//! Instants as RFC 3339 writes them, for results that an application serializes.

use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

const SECONDS_OF_A_DAY: i64 = 86_400;

pub(crate) fn serialize<S: Serializer>(
    instant: &SystemTime,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&text(*instant))
}

/// The same for an instant that there may be none of.
pub(crate) mod option {
    use super::{Serialize, Serializer, SystemTime, text};

    pub(crate) fn serialize<S: Serializer>(
        instant: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        instant.map(text).serialize(serializer)
    }
}

/// In UTC, to the microsecond. A year above 9999 has a sign and more digits, as in ISO 8601.
fn text(instant: SystemTime) -> String {
    let micros = match instant.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => whole_micros(after),
        Err(before) => -whole_micros(before.duration()),
    };
    let (seconds, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (year, month, day) = date(seconds.div_euclid(SECONDS_OF_A_DAY));
    let second_of_day = seconds.rem_euclid(SECONDS_OF_A_DAY);
    let (hour, minute) = (second_of_day / 3600, second_of_day / 60 % 60);
    let second = second_of_day % 60;
    let year = match year {
        0..=9999 => format!("{year:04}"),
        _ => format!("{year:+07}"),
    };
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

fn whole_micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// The date of the proleptic Gregorian calendar, so many days after 1970-01-01.
///
/// Years are counted from March, so that the day of a leap year is their last one.
fn date(days: i64) -> (i64, i64, i64) {
    const DAYS_TO_1970: i64 = 719_468;
    const DAYS_OF_400_YEARS: i64 = 146_097;
    let days = days + DAYS_TO_1970;
    let (era, day) = (
        days.div_euclid(DAYS_OF_400_YEARS),
        days.rem_euclid(DAYS_OF_400_YEARS),
    );
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, micros: u64) -> String {
        let distance = Duration::from_secs(seconds.unsigned_abs());
        let whole = match seconds {
            0.. => SystemTime::UNIX_EPOCH + distance,
            _ => SystemTime::UNIX_EPOCH - distance,
        };
        text(whole + Duration::from_micros(micros))
    }

    #[test]
    fn instants_are_written_as_rfc_3339_has_them() {
        for (seconds, micros, expected) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400, 1, "2000-02-29T00:00:00.000001Z"),
            (951_868_799, 999_999, "2000-02-29T23:59:59.999999Z"),
            (951_868_800, 0, "2000-03-01T00:00:00.000000Z"),
            (4_107_542_399, 0, "2100-02-28T23:59:59.000000Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000Z"),
            (-1, 500_000, "1969-12-31T23:59:59.500000Z"),
            (-2_208_988_800, 0, "1900-01-01T00:00:00.000000Z"),
            (253_402_300_800, 0, "+010000-01-01T00:00:00.000000Z"),
        ] {
            assert_eq!(at(seconds, micros), expected);
        }
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut last = date(-1);
        for day in 0..146_097 {
            let (year, month, day) = date(day);
            let (last_year, last_month, last_day) = last;
            let is_next_day = (year, month, day) == (last_year, last_month, last_day + 1);
            let is_next_month = day == 1 && (year, month) == (last_year, last_month + 1);
            let is_next_year = (year, month, day) == (last_year + 1, 1, 1) && last_month == 12;
            assert!(
                is_next_day || is_next_month || is_next_year,
                "{year}-{month}-{day}"
            );
            last = (year, month, day);
        }
        assert_eq!(last, (2369, 12, 31));
    }
}
