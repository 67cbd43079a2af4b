//! Where to go after a login.

/// The path if it leads to a page of this site, and not to another site or out of the header.
///
/// Browsers read `//host` and `/\host` as another site, remove tabs and line breaks before they
/// look, and follow `javascript:`. So a safe path begins with one slash, is no longer than 2,048
/// bytes, and has only visible ASCII characters without a backslash. Its first segment is also not
/// empty when it is decoded, because proxies and applications may do that before they redirect.
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
    let rest = path.strip_prefix('/')?;
    let is_clean = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    let leads_away = |rest: &str| {
        let start = rest.get(..3).unwrap_or_default().to_ascii_lowercase();
        rest.starts_with('/') || start == "%2f" || start == "%5c"
    };
    let is_safe = path.len() <= MAX_BYTES && path.bytes().all(is_clean) && !leads_away(rest);
    is_safe.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_this_site_is_safe() {
        for path in ["/", "/orders", "/a/b?c=%2F%2Fd&e=f#g", "/%20", "/?next=//evil.example"] {
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
            "%2f%2fevil.example",
            "https://evil.example",
            "https:/evil.example",
            "javascript:alert(1)",
            " /orders",
            "/ orders",
            "/\u{e4}",
            "/\0",
            &long,
        ] {
            assert_eq!(safe_path(path), None, "{path:?}");
        }
    }
}
