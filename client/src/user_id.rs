//! The id of a user.

use std::fmt;

use uuid::Uuid;

/// The id of a user, as text.
///
/// The column in the database has the type of the application's own key (bigint, integer, uuid or
/// text), and the database converts the text. Methods take `impl Into<UserId>`, so that an integer,
/// a `Uuid` or a string can be passed as it is.
///
/// ```
/// use qsessions::UserId;
///
/// assert_eq!(UserId::from(42_i64).as_str(), "42");
/// assert_eq!(UserId::from("ada").as_str(), "ada");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UserId(String);

impl UserId {
    /// The id as the database gets it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for UserId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

macro_rules! from_display {
    ($($id:ty),+) => {$(
        impl From<$id> for UserId {
            fn from(id: $id) -> Self {
                Self(id.to_string())
            }
        }
    )+};
}

from_display!(&str, &String, i16, i32, i64, u16, u32, u64, Uuid);

impl From<&UserId> for UserId {
    fn from(id: &UserId) -> Self {
        id.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_becomes_the_text_that_postgresql_reads_back() {
        let uuid = Uuid::from_u128(0x0197_0000_0000_7000_8000_0000_0000_0001);
        for (id, text) in [
            (UserId::from(i64::MIN), "-9223372036854775808"),
            (UserId::from(u64::MAX), "18446744073709551615"),
            (UserId::from(-1_i32), "-1"),
            (UserId::from(uuid), "01970000-0000-7000-8000-000000000001"),
            (UserId::from("O'Brien"), "O'Brien"),
            (UserId::from(String::new()), ""),
        ] {
            assert_eq!(id.as_str(), text);
        }
    }
}
