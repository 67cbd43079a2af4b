use std::time::Duration;

/// What else [`Store::save_with`](crate::Store::save_with) does when it saves.
///
/// ```
/// use std::time::Duration;
/// use qsessions::Save;
///
/// let save = Save::new().expected_version(7).ttl(Duration::from_secs(3600));
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Save {
    pub(crate) expected_version: Option<i64>,
    pub(crate) ttl: Option<Duration>,
}

impl Save {
    /// A save whatever the version, which leaves the expiry alone.
    ///
    /// ```
    /// let save = qsessions::Save::new();
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Save only if nobody has saved since the session had this version; otherwise it is
    /// [`Error::VersionConflict`](crate::Error::VersionConflict).
    ///
    /// ```
    /// # fn example(session: qsessions::Session) {
    /// let save = qsessions::Save::new().expected_version(session.version);
    /// # }
    /// ```
    pub fn expected_version(mut self, version: i64) -> Self {
        self.expected_version = Some(version);
        self
    }

    /// Let the session end this long from now: an expiry that slides with each save.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let save = qsessions::Save::new().ttl(Duration::from_secs(3600));
    /// ```
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }
}
