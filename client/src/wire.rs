//! How values cross the wire where tokio-postgres has no type for them.

use std::error::Error as StdError;
use std::time::{Duration, SystemTime};

use bytes::{BufMut, BytesMut};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, Json, ToSql, Type, to_sql_checked};

use crate::error::Error;
use crate::json::json;

/// Data that a builder has taken. A setter cannot fail, so the error waits for the call.
#[derive(Debug, Default)]
pub(crate) struct Data(Option<Result<Json<Box<RawValue>>, serde_json::Error>>);

impl Data {
    pub(crate) fn new(data: impl Serialize) -> Self {
        Self(Some(json(data)))
    }

    pub(crate) fn into_json(self) -> Result<Option<Json<Box<RawValue>>>, Error> {
        Ok(self.0.transpose()?)
    }
}

/// A duration as PostgreSQL's `interval`. It has microseconds only, because a day of the calendar
/// can have 23 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    microseconds: i64,
}

/// The longest duration is 292,271 years. A longer one is an error, because it would wrap around.
pub(crate) fn interval(
    argument: &str,
    duration: Option<Duration>,
) -> Result<Option<Interval>, Error> {
    duration
        .map(|duration| match i64::try_from(duration.as_micros()) {
            Ok(microseconds) => Ok(Interval { microseconds }),
            Err(_) => Err(Error::invalid_argument(format!(
                "{argument} is longer than an interval of PostgreSQL can be"
            ))),
        })
        .transpose()
}

impl ToSql for Interval {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        let (days, months) = (0, 0);
        out.put_i64(self.microseconds);
        out.put_i32(days);
        out.put_i32(months);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::INTERVAL
    }

    to_sql_checked!();
}

/// A number as PostgreSQL's `integer`.
pub(crate) fn integer(argument: &str, number: Option<u32>) -> Result<Option<i32>, Error> {
    number
        .map(|number| {
            i32::try_from(number).map_err(|_| {
                Error::invalid_argument(format!("{argument} is larger than {}", i32::MAX))
            })
        })
        .transpose()
}

/// An instant that a session may or may not reach: `infinity` is `None`.
///
/// `-infinity` reads as the Unix epoch, which every library of dates can hold. So does an instant
/// that the clock of this system cannot hold: Windows counts from 1601, PostgreSQL from 4713 BC.
pub(crate) fn instant(row: &Row, column: usize) -> Result<Option<SystemTime>, Error> {
    let instant = row.try_get::<_, Option<Instant>>(column)?;
    Ok(instant.and_then(finite))
}

/// An instant in the past. The owner of the table may have written `infinity` there: it reads as
/// the Unix epoch too, so that the row stays readable.
pub(crate) fn past_instant(row: &Row, column: usize) -> Result<SystemTime, Error> {
    instant(row, column).map(|instant| instant.unwrap_or(SystemTime::UNIX_EPOCH))
}

/// Microseconds since 2000.
struct Instant(i64);

impl<'a> FromSql<'a> for Instant {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?)))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}

fn finite(Instant(micros): Instant) -> Option<SystemTime> {
    const YEAR_2000: Duration = Duration::from_secs(946_684_800);
    let distance = Duration::from_micros(micros.unsigned_abs());
    let instant = match micros {
        i64::MAX => return None,
        i64::MIN => None,
        0.. => (SystemTime::UNIX_EPOCH + YEAR_2000).checked_add(distance),
        _ => (SystemTime::UNIX_EPOCH + YEAR_2000).checked_sub(distance),
    };
    Some(instant.unwrap_or(SystemTime::UNIX_EPOCH))
}

/// A count or a size. PostgreSQL sends it as a bigint that is not negative.
pub(crate) fn count(row: &Row, column: usize) -> Result<u64, Error> {
    Ok(row.try_get::<_, i64>(column)?.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(duration: Duration) -> Vec<u8> {
        let mut out = BytesMut::new();
        let interval = interval("ttl", Some(duration)).unwrap().unwrap();
        interval.to_sql(&Type::INTERVAL, &mut out).unwrap();
        out.to_vec()
    }

    #[test]
    fn a_duration_is_sent_to_the_microsecond() {
        let mut expected = 1_500_001_i64.to_be_bytes().to_vec();
        expected.extend([0; 8]);
        assert_eq!(encoded(Duration::from_micros(1_500_001)), expected);
        assert_eq!(encoded(Duration::ZERO), [0; 16]);
    }

    #[test]
    fn the_longest_interval_fits_and_one_microsecond_more_is_an_error() {
        let longest = Duration::from_micros(i64::MAX as u64);
        assert_eq!(encoded(longest)[..8], i64::MAX.to_be_bytes());
        for duration in [longest + Duration::from_micros(1), Duration::MAX] {
            let error = interval("max_age", Some(duration)).unwrap_err();
            assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
            assert!(error.to_string().contains("max_age"), "{error}");
        }
    }

    #[test]
    fn the_largest_integer_fits_and_one_more_is_an_error() {
        let largest = i32::MAX as u32;
        assert_eq!(integer("max_rows", Some(largest)).unwrap(), Some(i32::MAX));
        let error = integer("max_rows", Some(largest + 1)).unwrap_err();
        assert!(error.to_string().contains("max_rows"), "{error}");
    }

    #[test]
    fn infinity_is_no_instant() {
        assert_eq!(finite(Instant(i64::MAX)), None);
        assert_eq!(finite(Instant(i64::MIN)), Some(SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn an_instant_is_read_to_the_microsecond() {
        let year_2000 = SystemTime::UNIX_EPOCH + Duration::from_secs(946_684_800);
        let micros = Duration::from_micros(1_500_001);
        for (sent, read) in [
            (0, year_2000),
            (1_500_001, year_2000 + micros),
            (-1_500_001, year_2000 - micros),
        ] {
            assert_eq!(finite(Instant(sent)), Some(read));
        }
    }
}
