use std::fmt;

use uuid::Uuid;

/// The secret of a session: what the cookie holds, and the database never sees again after a hash.
///
/// Whoever has the key has the session, so a `Key` doesn't print: its `Debug` shows `Key(…)`, it
/// has no `Display` and doesn't serialise. [`expose`](Key::expose) is the one way out, for the line
/// that writes the cookie.
///
/// Any text makes a `Key`, because a cookie can hold any text. The database judges it: a key of
/// less than 8 or more than 512 characters is [`Error::InvalidKey`](crate::Error::InvalidKey) where
/// a session would be made with it.
///
/// ```
/// use qsessions::Key;
///
/// let cookie = "a key that a browser sent";
/// let key = Key::from(cookie);
/// assert_eq!(key.expose(), cookie);
/// assert_eq!(format!("{key:?}"), "Key(…)");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key(String);

impl Key {
    /// A key from the text of a cookie.
    ///
    /// ```
    /// let key = qsessions::Key::new("a key that a browser sent");
    /// ```
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// The key as text, for the cookie. Keep it out of logs, URLs and error messages.
    ///
    /// ```
    /// # use qsessions::CreatedSession;
    /// fn set_cookie(session: &CreatedSession) -> String {
    ///     format!("id={}; Path=/; Secure; HttpOnly; SameSite=Lax", session.key.expose())
    /// }
    /// ```
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The public id and the SHA-256 of the key, if any session can have it.
    pub(crate) fn identify(&self) -> Option<(Uuid, [u8; 32])> {
        qsessions_key::identify(&self.0).ok()
    }

    /// The key as an argument of a SQL function. PostgreSQL has no text with a NUL in it, and a
    /// cookie may try: the empty text is as much of a key as that, so that it finds nothing and is
    /// no error.
    pub(crate) fn argument(&self) -> &str {
        if self.0.contains('\0') { "" } else { &self.0 }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl From<String> for Key {
    fn from(key: String) -> Self {
        Self(key)
    }
}

impl From<&str> for Key {
    fn from(key: &str) -> Self {
        Self(key.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CreatedSession, Login, NewSession};

    const SECRET: &str = "very-secret-key";

    #[test]
    fn debug_shows_nothing_of_the_key() {
        assert_eq!(format!("{:?}", Key::from(SECRET)), "Key(…)");
        assert_eq!(format!("{:#?}", Key::from(SECRET)), "Key(…)");
    }

    #[test]
    fn a_key_that_text_cannot_hold_goes_as_one_that_no_session_has() {
        assert_eq!(Key::from(SECRET).argument(), SECRET);
        assert_eq!(Key::from("very\0secret").argument(), "");
    }

    #[test]
    fn debug_of_what_holds_a_key_shows_nothing_either() {
        let created = CreatedSession {
            key: Key::from(SECRET),
            id: uuid::Uuid::nil(),
            expires_at: None,
        };
        let holders = [
            format!("{created:?}"),
            format!("{:?}", NewSession::new().key(SECRET)),
            format!("{:?}", Login::user(1).key(SECRET)),
        ];
        for holder in holders {
            assert!(!holder.contains(SECRET), "{holder}");
        }
    }
}
