//! How values cross the wire where tokio-postgres has no type for them.

mod json;

use std::error::Error as StdError;
use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::{BufMut, BytesMut};
use tokio_postgres::Row;
use tokio_postgres::types::{Format, FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::Error;

pub(crate) use json::{Jsonb, json};

/// A duration as PostgreSQL's `interval`: microseconds only, because a day of the calendar can have
/// 23 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    microseconds: i64,
}

/// An `interval` holds 292,271 years; more would wrap around, so it stops here.
pub(crate) fn interval(
    argument: &str,
    duration: Option<Duration>,
) -> Result<Option<Interval>, Error> {
    duration
        .map(|duration| match i64::try_from(duration.as_micros()) {
            Ok(microseconds) => Ok(Interval { microseconds }),
            Err(_) => Err(Error::InvalidArgument {
                message: format!("{argument} is longer than an interval of PostgreSQL can be"),
                hint: None,
            }),
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

/// A parameter that does not print. tokio-postgres logs parameters at the level `debug`, and each of them may be a key, a
/// user's data or a user's address.
#[derive(Clone, Copy)]
pub(crate) struct Hidden<'a>(pub(crate) &'a (dyn ToSql + Sync));

impl fmt::Debug for Hidden<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl ToSql for Hidden<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        self.0.to_sql_checked(ty, out)
    }

    /// What is within says it when it is checked.
    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        self.0.to_sql_checked(ty, out)
    }

    fn encode_format(&self, ty: &Type) -> Format {
        self.0.encode_format(ty)
    }
}

/// An instant that a session may or may not reach: `infinity` is `None`.
///
/// `-infinity` is long ago, and reads as the Unix epoch: every library of dates can hold that. So does what this system's
/// clock cannot hold: Windows counts from 1601, and PostgreSQL from 4713 BC.
pub(crate) fn instant(row: &Row, column: usize) -> Result<Option<SystemTime>, Error> {
    let instant = row.try_get::<_, Option<Instant>>(column)?;
    Ok(instant.and_then(finite))
}

/// An instant in the past. Nothing stops the owner of the table from writing `infinity` there: it
/// reads as the Unix epoch too, rather than make the whole row unreadable.
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

/// A count or a size, which PostgreSQL gives as a bigint and never as a negative one.
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
