//! The cookie that holds the key.

use std::mem::replace;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use axum::http::header::{COOKIE, HeaderMap, HeaderValue};
use cookie::Cookie;
use cookie::time::Duration as Span;
use memchr::memchr_iter;
use qsessions::Key;

use crate::error::BuildError;

/// How many characters a key has.
const KEY_CHARS: RangeInclusive<usize> = 8..=512;

/// Which requests from other sites bring the cookie along.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SameSite {
    /// None. A visitor who follows a link from another site is not signed in there.
    Strict,
    /// Navigations: links, not forms or images.
    #[default]
    Lax,
    /// All. The cookie must be secure.
    None,
}

impl From<SameSite> for cookie::SameSite {
    fn from(same_site: SameSite) -> Self {
        match same_site {
            SameSite::Strict => Self::Strict,
            SameSite::Lax => Self::Lax,
            SameSite::None => Self::None,
        }
    }
}

/// The attributes of the cookies of a layer.
#[derive(Debug, Clone)]
pub(crate) struct CookieSettings {
    pub(crate) name: Option<String>,
    pub(crate) path: String,
    pub(crate) domain: Option<String>,
    pub(crate) secure: bool,
    pub(crate) http_only: bool,
    pub(crate) same_site: SameSite,
}

impl Default for CookieSettings {
    fn default() -> Self {
        Self {
            name: None,
            path: "/".to_owned(),
            domain: None,
            secure: true,
            http_only: true,
            same_site: SameSite::default(),
        }
    }
}

/// Checked settings, with the names that follow from them.
#[derive(Debug)]
pub(crate) struct Cookies {
    settings: CookieSettings,
    session: String,
    csrf: String,
}

impl Cookies {
    pub(crate) fn new(settings: CookieSettings) -> Result<Self, BuildError> {
        let fail = |message: String| Err(BuildError::new(message));
        let is_bound_to_host = settings.secure && settings.path == "/" && settings.domain.is_none();
        let prefix = if is_bound_to_host { "__Host-" } else { "" };
        let session = settings.name.clone();
        let session = session.unwrap_or_else(|| format!("{prefix}session"));
        if session.is_empty() || !session.bytes().all(is_token) {
            return fail(format!("the name of a cookie cannot be {session:?}"));
        }
        // Browsers compare the prefixes without regard to case.
        let has_prefix = |prefix: &str| {
            let start = session.get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        if has_prefix("__Host-") && !is_bound_to_host {
            return fail(format!(
                "the cookie {session:?} must be secure, have the path \"/\" and no domain: \
                 browsers refuse it otherwise because of its prefix"
            ));
        }
        if has_prefix("__Secure-") && !settings.secure {
            return fail(format!(
                "the cookie {session:?} must be secure: browsers refuse it otherwise because of \
                 its prefix"
            ));
        }
        if settings.same_site == SameSite::None && !settings.secure {
            return fail(
                "a cookie with SameSite=None must be secure: browsers refuse it otherwise"
                    .to_owned(),
            );
        }
        if !settings.path.starts_with('/') || !settings.path.bytes().all(is_attribute) {
            return fail(format!("a cookie cannot have the path {:?}", settings.path));
        }
        if let Some(domain) = &settings.domain
            && (domain.is_empty() || !domain.bytes().all(is_attribute))
        {
            return fail(format!("a cookie cannot have the domain {domain:?}"));
        }
        let csrf = format!("{prefix}csrf");
        if csrf == session {
            return fail(format!("the name {session:?} is that of the CSRF cookie"));
        }
        Ok(Self {
            settings,
            session,
            csrf,
        })
    }

    /// The key that the browser has sent, if a session can have it.
    pub(crate) fn key(&self, headers: &HeaderMap) -> Option<Key> {
        let key = find(headers, &self.session)?;
        // A header holds no NUL, so that nothing else is wrong with a key.
        let chars = match key.is_ascii() {
            true => key.len(),
            false => key.chars().take(KEY_CHARS.end() + 1).count(),
        };
        KEY_CHARS.contains(&chars).then(|| Key::from(key))
    }

    /// The secret of a browser that has no session.
    pub(crate) fn csrf_secret<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        find(headers, &self.csrf)
    }

    /// The header that gives the browser a key. Without a time it ends with the browser's session.
    pub(crate) fn set(&self, key: &Key, expires_at: Option<Option<SystemTime>>) -> HeaderValue {
        let mut cookie = self.cookie(&self.session, key.expose());
        match expires_at {
            None => {}
            Some(Some(instant)) => {
                let left = instant.duration_since(SystemTime::now());
                cookie.set_max_age(span(left.unwrap_or_default()));
            }
            // Browsers keep no cookie for longer than 400 days.
            Some(None) => cookie.set_max_age(Span::days(400)),
        }
        header(&cookie)
    }

    /// The header that takes the key from the browser.
    pub(crate) fn remove(&self) -> HeaderValue {
        let mut cookie = self.cookie(&self.session, "");
        cookie.make_removal();
        header(&cookie)
    }

    /// The header that gives a browser without a session the secret for its forms.
    pub(crate) fn set_csrf(&self, secret: &str) -> HeaderValue {
        header(&self.cookie(&self.csrf, secret))
    }

    fn cookie<'a>(&'a self, name: &'a str, value: &'a str) -> Cookie<'a> {
        let settings = &self.settings;
        let mut cookie = Cookie::new(name, value);
        cookie.set_path(&settings.path);
        cookie.set_secure(settings.secure);
        cookie.set_http_only(settings.http_only);
        cookie.set_same_site(cookie::SameSite::from(settings.same_site));
        if let Some(domain) = &settings.domain {
            cookie.set_domain(domain);
        }
        cookie
    }
}

/// The first cookie of this name. HTTP/2 may split cookies into several headers. A cookie of
/// another application that is no text does not hide the others.
fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut headers = headers.get_all(COOKIE).into_iter();
    headers.find_map(|header| find_in(header.as_bytes(), name.as_bytes()))
}

fn find_in<'a>(header: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let mut start = 0;
    let ends = memchr_iter(b';', header).chain([header.len()]);
    let mut cookies = ends.map(|end| &header[replace(&mut start, end + 1)..end]);
    cookies.find_map(|cookie| {
        let value = cookie.trim_ascii().strip_prefix(name)?;
        let value = value.trim_ascii_start().strip_prefix(b"=")?;
        std::str::from_utf8(value.trim_ascii()).ok()
    })
}

/// Rounded up, because a cookie that is gone before its session signs the visitor out too early.
fn span(duration: Duration) -> Span {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    Span::seconds(i64::try_from(seconds).unwrap_or(i64::MAX))
}

fn header(cookie: &Cookie<'_>) -> HeaderValue {
    let text = cookie.to_string();
    HeaderValue::try_from(text).expect("names, values and attributes of cookies were checked")
}

/// RFC 9110, a token.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_attribute(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b';'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(cookies: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, HeaderValue::from_bytes(cookie.as_bytes()).unwrap());
        }
        let cookies = Cookies::new(CookieSettings::default()).unwrap();
        let key = cookies.key(&headers);
        key.map(|key| key.expose().to_owned())
    }

    #[test]
    fn the_key_is_found_among_other_cookies_and_in_several_headers() {
        let found = Some("a-long-key".to_owned());
        for cookies in [
            &["__Host-session=a-long-key"][..],
            &["a=b; __Host-session=a-long-key; c=d"],
            &["a=b;__Host-session=a-long-key"],
            &["a=b", "__Host-session=a-long-key"],
            &["nonsense; =; __Host-session=a-long-key"],
            &["__Host-session=a-long-key; __Host-session=another-key"],
            &["\u{e4}=\u{e4}; __Host-session=a-long-key"],
        ] {
            assert_eq!(key(cookies), found, "{cookies:?}");
        }
    }

    #[test]
    fn a_cookie_that_is_no_text_does_not_hide_the_key() {
        let bytes = b"a=\xe4; __Host-session=a-long-key";
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_bytes(bytes).unwrap());
        assert_eq!(find(&headers, "__Host-session"), Some("a-long-key"));
    }

    #[test]
    fn what_no_session_can_have_as_a_key_is_none() {
        let long = format!("__Host-session={}", "k".repeat(513));
        for cookie in [
            "",
            "session=a-long-key",
            "__Host-session=",
            "__Host-session=short",
            &long,
        ] {
            assert_eq!(key(&[cookie]), None, "{cookie:?}");
        }
    }

    #[test]
    fn an_age_is_rounded_up() {
        for (millis, seconds) in [(0, 0), (1, 1), (1000, 1), (1001, 2)] {
            assert_eq!(span(Duration::from_millis(millis)), Span::seconds(seconds));
        }
    }
}
