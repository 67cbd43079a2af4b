//! How values cross the wire where tokio-postgres has no type for them.

use std::error::Error as StdError;
use std::time::{Duration, SystemTime};

use bytes::{BufMut, BytesMut};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::{IsNull, Json, Timestamp, ToSql, Type, to_sql_checked};

use crate::Error;

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

/// Data as the JSON text that PostgreSQL will read, so that it is serialised once, and errors
/// surface before a connection is taken.
pub(crate) fn json(data: impl Serialize) -> Result<Json<Box<RawValue>>, serde_json::Error> {
    serde_json::value::to_raw_value(&data).map(Json)
}

/// An instant that a session may or may not reach: `infinity` is `None`.
///
/// `-infinity` is long ago, and reads as the Unix epoch: every library of dates can hold that.
pub(crate) fn instant(row: &Row, column: usize) -> Result<Option<SystemTime>, Error> {
    row.try_get::<_, Option<Timestamp<SystemTime>>>(column)
        .map(|instant| instant.and_then(finite))
        .map_err(Error::from)
}

/// An instant in the past. Nothing stops the owner of the table from writing `infinity` there: it
/// reads as the Unix epoch too, rather than make the whole row unreadable.
pub(crate) fn past_instant(row: &Row, column: usize) -> Result<SystemTime, Error> {
    instant(row, column).map(|instant| instant.unwrap_or(SystemTime::UNIX_EPOCH))
}

fn finite(instant: Timestamp<SystemTime>) -> Option<SystemTime> {
    match instant {
        Timestamp::PosInfinity => None,
        Timestamp::NegInfinity => Some(SystemTime::UNIX_EPOCH),
        Timestamp::Value(instant) => Some(instant),
    }
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
        let now = SystemTime::now();
        assert_eq!(finite(Timestamp::PosInfinity), None);
        assert_eq!(finite(Timestamp::NegInfinity), Some(SystemTime::UNIX_EPOCH));
        assert_eq!(finite(Timestamp::Value(now)), Some(now));
    }

    #[test]
    fn data_that_json_cannot_hold_is_an_error_and_not_a_panic() {
        let map = std::collections::HashMap::from([((1, 2), 3)]);
        assert!(json(map).is_err());
    }
}
