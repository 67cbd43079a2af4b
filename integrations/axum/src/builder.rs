//! The settings of a layer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use ipnet::IpNet;
use qsessions::Expiry;

use crate::cookies::{CookieSettings, Cookies, SameSite};
use crate::error::{BuildError, Error};
use crate::next::safe_path;
use crate::store::SessionStore;
use crate::visitor::{Proxies, ProxyHeader};

type Answer = Arc<dyn Fn() -> Response + Send + Sync>;

/// Checked settings, shared by all requests.
pub(crate) struct Config {
    pub(crate) store: SessionStore,
    pub(crate) cookies: Cookies,
    pub(crate) proxies: Proxies,
    pub(crate) expiry: Expiry,
    pub(crate) is_persistent: bool,
    pub(crate) prolongs_cookies: bool,
    pub(crate) grace: Option<Duration>,
    pub(crate) max_sessions: Option<u32>,
    pub(crate) sign_in_page: Option<String>,
    pub(crate) saves_on_server_errors: bool,
    pub(crate) asks_for_client_hints: bool,
    pub(crate) when_interrupted: Answer,
}

/// Builds a [`SessionLayer`](crate::SessionLayer).
///
/// ```
/// use std::time::Duration;
///
/// use qsessions::Expiry;
/// use qsessions_axum::{SameSite, SessionLayer};
///
/// # fn example(store: qsessions::Store) -> Result<(), qsessions_axum::BuildError> {
/// const DAY: Duration = Duration::from_secs(24 * 3600);
///
/// let sessions = SessionLayer::builder(store)
///     .expiry(Expiry::idle_timeout(7 * DAY).max_age(90 * DAY))
///     .same_site(SameSite::Strict)
///     .max_sessions(10)
///     .sign_in_page("/sign-in")
///     .trusted_proxies(["10.0.0.0/8".parse().unwrap()])
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct SessionLayerBuilder {
    store: SessionStore,
    cookie: CookieSettings,
    proxies: Vec<IpNet>,
    proxy_header: ProxyHeader,
    expiry: Expiry,
    is_persistent: bool,
    prolongs_cookies: Option<bool>,
    grace: Option<Duration>,
    max_sessions: Option<u32>,
    sign_in_page: Option<String>,
    saves_on_server_errors: bool,
    asks_for_client_hints: bool,
    when_interrupted: Answer,
}

impl SessionLayerBuilder {
    pub(crate) fn new(store: SessionStore) -> Self {
        Self {
            store,
            cookie: CookieSettings::default(),
            proxies: Vec::new(),
            proxy_header: ProxyHeader::default(),
            expiry: Expiry::default(),
            is_persistent: true,
            prolongs_cookies: None,
            grace: None,
            max_sessions: None,
            sign_in_page: None,
            saves_on_server_errors: false,
            asks_for_client_hints: true,
            when_interrupted: Arc::new(|| Error::Interrupted.into_response()),
        }
    }

    /// The name of the cookie. By default it is `__Host-session`, with which browsers accept the
    /// cookie only from this host and only over HTTPS, or `session` if the other settings do not
    /// fit the prefix.
    pub fn cookie_name(mut self, name: impl Into<String>) -> Self {
        self.cookie.name = Some(name.into());
        self
    }

    /// The path below which the browser sends the cookie: by default `/`.
    pub fn cookie_path(mut self, path: impl Into<String>) -> Self {
        self.cookie.path = path.into();
        self
    }

    /// A domain whose hosts all get the cookie. By default only this host gets it, which is safer:
    /// each host of the domain can also set the cookie, and so sign a visitor in as another user.
    pub fn cookie_domain(mut self, domain: impl Into<String>) -> Self {
        self.cookie.domain = Some(domain.into());
        self
    }

    /// Whether the browser sends the cookie over HTTPS only, which is the default. Browsers treat
    /// `http://localhost` like HTTPS, with the exception of Safari.
    pub fn secure(mut self, secure: bool) -> Self {
        self.cookie.secure = secure;
        self
    }

    /// Whether scripts cannot read the cookie, which is the default.
    pub fn http_only(mut self, http_only: bool) -> Self {
        self.cookie.http_only = http_only;
        self
    }

    /// Which requests from other sites bring the cookie along: by default [`SameSite::Lax`].
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.cookie.same_site = same_site;
        self
    }

    /// Whether the browser keeps the cookie until the session expires, which is the default.
    /// Otherwise it drops the cookie when it is closed. A login can
    /// [decide otherwise](crate::Login::persistent).
    pub fn persistent(mut self, persistent: bool) -> Self {
        self.is_persistent = persistent;
        self
    }

    /// When sessions expire. By default, they expire after the time in the setting
    /// `qsessions.default_ttl` of the database.
    pub fn expiry(mut self, expiry: Expiry) -> Self {
        self.expiry = expiry;
        self
    }

    /// Whether the cookie is set again when a visit has moved the expiry of the session. By
    /// default, it is if [`expiry`](Self::expiry) has an idle timeout. Enable it if only some
    /// logins have one.
    pub fn prolong_cookies(mut self, prolong: bool) -> Self {
        self.prolongs_cookies = Some(prolong);
        self
    }

    /// How long the former key still opens the session after [`rotate`](crate::Session::rotate),
    /// so that requests that are under way are not signed out: at most a minute, by default not at
    /// all. A login never leaves a grace.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// How many sessions a user may have. A login ends those beyond this number that were not seen
    /// for the longest time.
    pub fn max_sessions(mut self, max_sessions: u32) -> Self {
        self.max_sessions = Some(max_sessions);
        self
    }

    /// The path of the page to which [`RequireLogin`](crate::RequireLogin) and
    /// [`CurrentUser`](crate::CurrentUser) redirect visitors who are not signed in. Without it,
    /// they answer 401.
    pub fn sign_in_page(mut self, path: impl Into<String>) -> Self {
        self.sign_in_page = Some(path.into());
        self
    }

    /// The proxies whose header tells the address of the client. There are none by default, and
    /// such headers are then ignored, because anyone can send them.
    pub fn trusted_proxies(mut self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        self.proxies = networks.into_iter().collect();
        self
    }

    /// The header that the trusted proxies write: by default `X-Forwarded-For`.
    pub fn proxy_header(mut self, header: ProxyHeader) -> Self {
        self.proxy_header = header;
        self
    }

    /// Saves the session also if the response has a status from 500 to 599. By default, the
    /// changes of such a request are dropped.
    pub fn save_on_server_errors(mut self, save: bool) -> Self {
        self.saves_on_server_errors = save;
        self
    }

    /// Whether pages ask browsers for client hints, which tell the model of a phone and the
    /// versions of systems: by default they do.
    pub fn ask_for_client_hints(mut self, ask: bool) -> Self {
        self.asks_for_client_hints = ask;
        self
    }

    /// The response for a request whose session has ended while it ran, so that its changes could
    /// not be saved. By default, it is a short text with the status 401. The response gets the
    /// extension [`Interrupted`](crate::Interrupted).
    pub fn when_interrupted<R: IntoResponse>(
        mut self,
        answer: impl Fn() -> R + Send + Sync + 'static,
    ) -> Self {
        self.when_interrupted = Arc::new(move || answer().into_response());
        self
    }

    pub(crate) fn into_config(self) -> Result<Config, BuildError> {
        const MINUTE: Duration = Duration::from_secs(60);
        let fail = |message: &str| Err(BuildError::new(message.to_owned()));
        if self
            .grace
            .is_some_and(|grace| grace.is_zero() || grace > MINUTE)
        {
            return fail("the grace must be longer than nothing and at most a minute");
        }
        if self.max_sessions == Some(0) {
            return fail("a user must be allowed to have at least one session");
        }
        if let Some(path) = &self.sign_in_page
            && (safe_path(path).is_none() || path.contains(['?', '#']))
        {
            return fail("the sign-in page must be a path, without a query");
        }
        Ok(Config {
            cookies: Cookies::new(self.cookie)?,
            proxies: Proxies::new(&self.proxies, self.proxy_header),
            prolongs_cookies: self
                .prolongs_cookies
                .unwrap_or_else(|| self.expiry.is_sliding()),
            store: self.store,
            expiry: self.expiry,
            is_persistent: self.is_persistent,
            grace: self.grace,
            max_sessions: self.max_sessions,
            sign_in_page: self.sign_in_page,
            saves_on_server_errors: self.saves_on_server_errors,
            asks_for_client_hints: self.asks_for_client_hints,
            when_interrupted: self.when_interrupted,
        })
    }
}

impl fmt::Debug for SessionLayerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayerBuilder")
            .field("cookie", &self.cookie)
            .field("expiry", &self.expiry)
            .finish_non_exhaustive()
    }
}
