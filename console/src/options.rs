//! Options of the console.

use std::time::Duration;

/// How [`router`](crate::router) behaves. The default suits a console that is mounted into an
/// application that is served with TLS.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    pub(crate) statement_timeout: Duration,
    pub(crate) secure_cookie: bool,
    pub(crate) secret: Option<[u8; 32]>,
    pub(crate) sign_out: Option<String>,
    pub(crate) sample: u32,
    pub(crate) page_size: u32,
    pub(crate) live_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            statement_timeout: Duration::from_secs(5),
            secure_cookie: true,
            secret: None,
            sign_out: None,
            sample: 20_000,
            page_size: 50,
            live_interval: Duration::from_secs(5),
        }
    }
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a statement that a page needs may take: by default five seconds. Statements that
    /// end sessions may take six times as long.
    #[must_use]
    pub fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout = timeout;
        self
    }

    /// Whether the cookie against forged forms has the attribute `Secure`: by default true. Set it
    /// to false for an application without TLS.
    #[must_use]
    pub fn secure_cookie(mut self, secure: bool) -> Self {
        self.secure_cookie = secure;
        self
    }

    /// The secret with which tokens against forged forms are made. By default each router has a
    /// random one. Several processes that serve one application need the same one.
    #[must_use]
    pub fn secret(mut self, secret: [u8; 32]) -> Self {
        self.secret = Some(secret);
        self
    }

    /// A path to which a button "Sign out" posts, with the field `csrf` of the console.
    #[must_use]
    pub fn sign_out(mut self, path: impl Into<String>) -> Self {
        self.sign_out = Some(path.into());
        self
    }

    /// About how many sessions are read for the numbers of devices and countries: by default 20,000.
    #[must_use]
    pub fn sample(mut self, sessions: u32) -> Self {
        self.sample = sessions.max(1);
        self
    }

    /// The number of sessions on a page: by default 50.
    #[must_use]
    pub fn page_size(mut self, sessions: u32) -> Self {
        self.page_size = sessions.clamp(1, 1000);
        self
    }

    /// How often live counters are read: by default every five seconds.
    #[must_use]
    pub fn live_interval(mut self, interval: Duration) -> Self {
        self.live_interval = interval.max(Duration::from_millis(100));
        self
    }
}
