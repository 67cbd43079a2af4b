//! Where to go after a login.

use std::convert::Infallible;
use std::fmt;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::{Deserialize, Deserializer};

/// The page to show after a login: the parameter `next` of the query, as
/// [`RequireLogin`](crate::RequireLogin) writes it, or a field of a form. It is kept only if it is a
/// [safe path](safe_path); otherwise it is `/`.
///
/// ```
/// use axum::response::{Html, Redirect};
/// use qsessions_axum::{CsrfForm, CsrfToken, Error, Next, Session};
///
/// #[derive(serde::Deserialize)]
/// struct SignIn {
///     #[serde(default)]
///     next: Next,
/// }
///
/// async fn form(csrf: CsrfToken, next: Next) -> Html<String> {
///     Html(format!(
///         r#"<form method="post">{}{}<button>Sign in</button></form>"#,
///         csrf.field(),
///         next.field(),
///     ))
/// }
///
/// async fn sign_in(session: Session, form: CsrfForm<SignIn>) -> Result<Redirect, Error> {
///     session.login(42).await?;
///     Ok(Redirect::to(form.next.as_str()))
/// }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Next(Option<String>);

impl Next {
    /// The path if it is [safe](safe_path), otherwise `/`.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self(safe_path(path).map(str::to_owned))
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or("/")
    }

    /// The path as a hidden field `next` of a form, in HTML. A template must not escape it.
    #[must_use]
    pub fn field(&self) -> String {
        // A safe path has no other character that means something in HTML.
        let value = self.as_str().replace('&', "&amp;");
        format!(r#"<input type="hidden" name="{NEXT}" value="{value}">"#)
    }

    /// The path, or another one if there was none that is safe.
    #[must_use]
    pub fn or<'a>(&'a self, path: &'a str) -> &'a str {
        self.0.as_deref().unwrap_or(path)
    }
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Next {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(&String::deserialize(deserializer)?))
    }
}

impl<S: Sync> FromRequestParts<S> for Next {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let query = parts.uri.query().unwrap_or_default();
        let next = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == NEXT);
        Ok(next.map_or_else(Self::default, |(_, path)| Self::new(&path)))
    }
}

/// The parameter of the query that holds the path.
pub(crate) const NEXT: &str = "next";

/// The path if it leads to a page of this site, and not to another site or out of the header.
///
/// Browsers read `//host` and `/\host` as another site, remove tabs and line breaks before they
/// look, and follow `javascript:`. So a safe path begins with one slash, is no longer than 2,048
/// bytes, and has only the characters that RFC 3986 allows. Its first segment is also not empty, and
/// begins with no tab or line break, when it is decoded, because proxies and applications may do
/// that before they redirect.
///
/// ```
/// use qsessions_axum::safe_path;
///
/// assert_eq!(safe_path("/orders?page=2"), Some("/orders?page=2"));
/// assert_eq!(safe_path("//evil.example"), None);
/// assert_eq!(safe_path("https://evil.example"), None);
/// ```
#[must_use]
pub fn safe_path(path: &str) -> Option<&str> {
    const MAX_BYTES: usize = 2048;
    const OTHERS: &[u8] = b"-._~:/?#[]@!$&'()*+,;=%";
    let rest = path.strip_prefix('/')?;
    let is_clean = |byte: u8| byte.is_ascii_alphanumeric() || OTHERS.contains(&byte);
    let leads_away = |rest: &str| {
        let start = rest.get(..3).unwrap_or_default().to_ascii_lowercase();
        let is_skipped = matches!(start.as_str(), "%09" | "%0a" | "%0d");
        rest.starts_with('/') || is_skipped || matches!(start.as_str(), "%2f" | "%5c")
    };
    let is_safe = path.len() <= MAX_BYTES && path.bytes().all(is_clean) && !leads_away(rest);
    is_safe.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    #[tokio::test]
    async fn the_next_page_is_the_parameter_of_the_query_if_it_is_safe() {
        for (query, next) in [
            ("/sign-in?next=%2Forders%3Fpage%3D2", "/orders?page=2"),
            ("/sign-in?a=b&next=/orders", "/orders"),
            ("/sign-in?next=//evil.example&next=/orders", "/"),
            ("/sign-in?next=https://evil.example", "/"),
            ("/sign-in?next=%2F%0A%2Fevil.example", "/"),
            ("/sign-in?next=", "/"),
            ("/sign-in", "/"),
        ] {
            let (mut parts, ()) = Request::get(query).body(()).unwrap().into_parts();
            let Ok(found) = Next::from_request_parts(&mut parts, &()).await;
            assert_eq!(found.as_str(), next, "{query}");
            let field = format!(r#"name="next" value="{next}""#);
            assert!(found.field().contains(&field), "{query}");
            assert_eq!(found.or("/home"), if next == "/" { "/home" } else { next });
        }
    }

    #[test]
    fn a_path_of_this_site_is_safe() {
        for path in [
            "/",
            "/orders",
            "/a/b?c=%2F%2Fd&e=f#g",
            "/%20",
            "/?next=//evil.example",
        ] {
            assert_eq!(safe_path(path), Some(path));
        }
    }

    #[test]
    fn what_may_lead_elsewhere_is_not_safe() {
        let long = format!("/{}", "a".repeat(2048));
        for path in [
            "",
            "orders",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "/a\r\nSet-Cookie: a=b",
            "/%2fevil.example",
            "/%2Fevil.example",
            "/%5cevil.example",
            "/%09/evil.example",
            "/%0A%0d/evil.example",
            "%2f%2fevil.example",
            "https://evil.example",
            "https:/evil.example",
            "javascript:alert(1)",
            " /orders",
            "/ orders",
            "/\u{e4}",
            "/\"><script>",
            "/\0",
            &long,
        ] {
            assert_eq!(safe_path(path), None, "{path:?}");
        }
    }
}
