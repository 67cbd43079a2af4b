//! Tokens against forged forms. A browser has a random cookie, and each form has a token that only
//! the console can make of it. So neither another site nor a program that can set cookies, such as
//! one on another port of the same host, can make a form.

use crate::random;
use axum::http::{HeaderMap, header};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

const COOKIE: &str = "qsessions-console-form";

pub(crate) struct Csrf {
    secret: [u8; 32],
    secure: bool,
}

/// The token for the forms of a page, and the cookie to set if the browser has none yet.
#[derive(Clone, Debug)]
pub(crate) struct FormToken {
    pub(crate) token: String,
    pub(crate) set_cookie: Option<String>,
}

impl Csrf {
    pub(crate) fn new(secret: Option<[u8; 32]>, secure: bool) -> Self {
        Self {
            secret: secret.unwrap_or_else(random::secret),
            secure,
        }
    }

    pub(crate) fn token(&self, headers: &HeaderMap) -> FormToken {
        if let Some(cookie) = cookie(headers, COOKIE) {
            return FormToken {
                token: random::as_text(&self.mac(cookie).finalize().into_bytes()),
                set_cookie: None,
            };
        }
        let cookie = random::as_text(&random::secret());
        let secure = if self.secure { "; Secure" } else { "" };
        FormToken {
            token: random::as_text(&self.mac(&cookie).finalize().into_bytes()),
            set_cookie: Some(format!(
                "{COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Strict{secure}"
            )),
        }
    }

    /// Whether a form was sent from a page of the console.
    pub(crate) fn accepts(&self, headers: &HeaderMap, token: &str) -> bool {
        let Some(cookie) = cookie(headers, COOKIE) else {
            return false;
        };
        let expected = random::as_text(&self.mac(cookie).finalize().into_bytes());
        is_same_origin(headers) && bool::from(expected.as_bytes().ct_eq(token.as_bytes()))
    }

    fn mac(&self, cookie: &str) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes keys of any length");
        mac.update(cookie.as_bytes());
        mac
    }
}

/// Whether the browser says that the request comes from a page of this origin. Old browsers, and
/// programs, say nothing.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    match (text("sec-fetch-site"), text("origin"), text("host")) {
        (Some(site), _, _) => site == "same-origin",
        (None, Some(origin), Some(host)) => origin
            .split_once("://")
            .is_some_and(|(_, from)| from == host),
        _ => true,
    }
}

/// The value of a cookie.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|header| header.as_bytes().split(|byte| *byte == b';'))
        // A cookie of another program on this host that is no text does not hide the others.
        .filter_map(|pair| std::str::from_utf8(pair).ok()?.trim().split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}
