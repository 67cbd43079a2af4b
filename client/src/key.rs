//! The secret of a session.

use std::fmt;
use std::hash::{Hash, Hasher};

use subtle::ConstantTimeEq;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The secret of a session: the cookie holds it, and the table keeps only its SHA-256.
///
/// Anyone who has the key has the session. So a `Key` does not print: its `Debug` shows `Key(…)`,
/// and it implements neither `Display` nor `Serialize`. [`expose`](Key::expose) gives the text, for
/// the line that writes the cookie. Two keys are compared in a time that does not depend on where
/// they differ, and the text is wiped from memory when the key is dropped. Copies that the driver
/// makes to send the key are not wiped.
///
/// Any text makes a `Key`, because a cookie can hold any text. A text with fewer than 8 or more
/// than 512 characters opens no session, and creating a session with it is
/// [`Error::InvalidKey`](crate::Error::InvalidKey).
///
/// ```
/// use qsessions::Key;
///
/// let cookie = "a key that a browser sent";
/// let key = Key::from(cookie);
/// assert_eq!(key.expose(), cookie);
/// assert_eq!(format!("{key:?}"), "Key(…)");
/// ```
#[derive(Clone)]
pub struct Key(Zeroizing<String>);

impl Key {
    /// A key from the text of a cookie.
    pub fn new(key: impl Into<String>) -> Self {
        Self(Zeroizing::new(key.into()))
    }

    /// The key as text, for the cookie. Keep it out of logs, URLs and error messages.
    ///
    /// ```
    /// # use qsessions::NewSession;
    /// fn set_cookie(session: &NewSession) -> String {
    ///     format!("id={}; Path=/; Secure; HttpOnly; SameSite=Lax", session.key.expose())
    /// }
    /// ```
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The public id of the session that this key opens, computed from the key. `None` if no
    /// session can have this key.
    ///
    /// An id does not mean that the session exists. It is safe in a URL or a log.
    ///
    /// ```
    /// use qsessions::Key;
    ///
    /// let key = Key::from("a key of another framework");
    /// assert_eq!(key.id().unwrap().to_string(), "4564755b-1ec3-8b1d-a14a-91fac14bf206");
    /// assert_eq!(Key::from("short").id(), None);
    /// ```
    #[must_use]
    pub fn id(&self) -> Option<Uuid> {
        qsessions_key::session_id(&self.0).ok()
    }

    /// The public id and the SHA-256 of the key, if a session can have it.
    pub(crate) fn identify(&self) -> Option<(Uuid, [u8; 32])> {
        qsessions_key::identify(&self.0).ok()
    }

    /// The key as an argument of an SQL function. A cookie can hold a NUL, and text of PostgreSQL
    /// cannot. The empty text stands for such a key: no session has it either.
    pub(crate) fn argument(&self) -> &str {
        if self.0.contains('\0') { "" } else { &self.0 }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl From<String> for Key {
    fn from(key: String) -> Self {
        Self::new(key)
    }
}

impl From<&str> for Key {
    fn from(key: &str) -> Self {
        Self::new(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "very-secret-key";

    #[test]
    fn debug_shows_nothing_of_the_key() {
        assert_eq!(format!("{:?}", Key::from(SECRET)), "Key(…)");
        assert_eq!(format!("{:#?}", Key::from(SECRET)), "Key(…)");
    }

    #[test]
    fn a_key_with_a_nul_is_sent_as_one_that_no_session_has() {
        assert_eq!(Key::from(SECRET).argument(), SECRET);
        assert_eq!(Key::from("very\0secret").argument(), "");
    }

    #[test]
    fn keys_are_equal_if_their_texts_are() {
        assert_eq!(Key::from(SECRET), Key::from(SECRET.to_owned()));
        assert_ne!(Key::from(SECRET), Key::from("very-secret-kez"));
        assert_ne!(Key::from(SECRET), Key::from("very-secret-ke"));
    }
}
