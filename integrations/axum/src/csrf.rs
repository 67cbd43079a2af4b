//! Tokens that show that a form or a script of this site sends a request.
//!
//! The token of a session is a MAC under its key, so nothing is stored for it, and it changes when
//! the key does, above all at a login. A browser without a session gets a cookie with a random
//! secret in place of the key. The token is masked anew for each page, because a response that is
//! compressed would otherwise let an attacker guess it byte by byte.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use axum::Form;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FormRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::de::DeserializeOwned;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::error::Error;
use crate::shared::Shared;

/// The field of a form that holds the token.
const FIELD: &str = "csrf_token";
/// The header that holds the token.
const HEADER: &str = "x-csrf-token";

const BYTES: usize = 16;
type Token = [u8; BYTES];

/// The token for the forms of a page, and for requests of its scripts.
///
/// It belongs to the session, and ends with it and with a login. A visitor without a session gets a
/// token too, for the sign-in form: its secret is in a cookie of its own, and no session begins.
///
/// Send it back as the field `csrf_token` of a form, which [`field`](Self::field) writes, or as the
/// header `X-CSRF-Token`. [`CsrfForm`] and [`CsrfHeader`] check it.
#[derive(Clone)]
pub struct CsrfToken {
    shared: Arc<Shared>,
    of_browser: Option<Token>,
}

impl CsrfToken {
    /// The token, masked anew at each call: letters, digits, `-` and `_`.
    #[must_use]
    pub fn token(&self) -> String {
        let mask: Token = random();
        let mut masked = [0; 2 * BYTES];
        for (n, byte) in self.unmasked().iter().enumerate() {
            masked[n] = mask[n];
            masked[BYTES + n] = mask[n] ^ byte;
        }
        URL_SAFE_NO_PAD.encode(masked)
    }

    /// The token as a hidden field of a form, in HTML. A template must not escape it.
    #[must_use]
    pub fn field(&self) -> String {
        format!(
            r#"<input type="hidden" name="{FIELD}" value="{}">"#,
            self.token()
        )
    }

    /// The token of the key that the session has now, which a login of this request has changed.
    fn unmasked(&self) -> Token {
        match (self.shared.key(), self.of_browser) {
            (Some(key), _) => mac(key.expose()),
            (None, Some(token)) => token,
            (None, None) => {
                let mut state = self.shared.state();
                let new = || URL_SAFE_NO_PAD.encode(random::<BYTES>());
                mac(state.new_csrf_secret.get_or_insert_with(new))
            }
        }
    }

    /// Whether a token that was sent back is one of this session or browser, for requests that
    /// [`CsrfForm`] and [`CsrfHeader`] do not fit, such as multipart forms. The comparison takes the
    /// same time wherever the tokens differ.
    #[must_use]
    pub fn verify(&self, token: &str) -> bool {
        verify(&self.shared, self.of_browser, token)
    }
}

impl<S: Sync> FromRequestParts<S> for CsrfToken {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let shared = Shared::of(parts)?;
        shared.load().await?;
        let of_browser = of_browser(&shared, &parts.headers);
        let token = Self { shared, of_browser };
        // A page may be written after the head of the response, which sets the cookie.
        token.unmasked();
        Ok(token)
    }
}

impl fmt::Debug for CsrfToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CsrfToken").finish_non_exhaustive()
    }
}

/// A form with the right token: in the field `csrf_token`, or in the header `X-CSRF-Token`.
///
/// It reads forms that are sent by POST and URL-encoded, as [`Form`] does. A form that has only a
/// button is a `CsrfForm<IgnoredAny>`, with [`serde::de::IgnoredAny`].
#[derive(Debug, Clone, Copy)]
pub struct CsrfForm<T>(pub T);

impl<T> Deref for CsrfForm<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for CsrfForm<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for CsrfForm<T> {
    type Rejection = CsrfRejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, CsrfRejection> {
        let (parts, body) = request.into_parts();
        let shared = Shared::of(&parts)?;
        shared.load().await?;
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = parts.method.clone();
        head.headers = parts.headers.clone();
        // They have the limit of the body.
        head.extensions = parts.extensions.clone();
        let bytes = Bytes::from_request(Request::from_parts(parts, body), state).await?;
        let field = || {
            let mut fields = form_urlencoded::parse(&bytes);
            fields.find_map(|(name, value)| (name == FIELD).then_some(value))
        };
        let of_browser = of_browser(&shared, &head.headers);
        let is_right = match header(&head.headers) {
            Some(token) => verify(&shared, of_browser, token),
            None if is_form(&head.headers) => {
                field().is_some_and(|token| verify(&shared, of_browser, &token))
            }
            None => false,
        };
        if !is_right {
            return Err(CsrfRejection::Token);
        }
        let request = Request::from_parts(head, bytes.into());
        let Form(form) = Form::from_request(request, state).await?;
        Ok(Self(form))
    }
}

/// A request with the right token in the header `X-CSRF-Token`, as a script sends it. It can stand
/// before an extractor that reads the body.
///
/// ```
/// use axum::Json;
/// use qsessions_axum::{CsrfHeader, Error, Session};
///
/// async fn set_theme(_: CsrfHeader, session: Session, Json(theme): Json<String>) -> Result<(), Error> {
///     session.insert("theme", theme)
/// }
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct CsrfHeader;

impl<S: Sync> FromRequestParts<S> for CsrfHeader {
    type Rejection = CsrfRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, CsrfRejection> {
        let shared = Shared::of(parts)?;
        shared.load().await?;
        let of_browser = of_browser(&shared, &parts.headers);
        match header(&parts.headers) {
            Some(token) if verify(&shared, of_browser, token) => Ok(Self),
            _ => Err(CsrfRejection::Token),
        }
    }
}

/// Why a request was refused.
#[derive(Debug)]
#[non_exhaustive]
pub enum CsrfRejection {
    /// There is no token, or it is not one of this session: 403.
    Token,
    /// The body cannot be read.
    Body(BytesRejection),
    /// The form is not of the type asked for.
    Form(FormRejection),
    /// The session cannot be loaded.
    Session(Error),
}

impl IntoResponse for CsrfRejection {
    fn into_response(self) -> Response {
        match self {
            Self::Token => {
                let text =
                    "This form is out of date. Please go back, reload the page and try again.";
                (StatusCode::FORBIDDEN, text).into_response()
            }
            Self::Body(rejection) => rejection.into_response(),
            Self::Form(rejection) => rejection.into_response(),
            Self::Session(error) => error.into_response(),
        }
    }
}

impl From<BytesRejection> for CsrfRejection {
    fn from(rejection: BytesRejection) -> Self {
        Self::Body(rejection)
    }
}

impl From<FormRejection> for CsrfRejection {
    fn from(rejection: FormRejection) -> Self {
        Self::Form(rejection)
    }
}

impl From<Error> for CsrfRejection {
    fn from(error: Error) -> Self {
        Self::Session(error)
    }
}

fn header(headers: &HeaderMap) -> Option<&str> {
    headers.get(HEADER)?.to_str().ok()
}

fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE);
    content_type.is_some_and(|value| {
        value
            .as_bytes()
            .starts_with(b"application/x-www-form-urlencoded")
    })
}

/// The token of a browser that has got a secret in place of a session.
fn of_browser(shared: &Shared, headers: &HeaderMap) -> Option<Token> {
    shared.config().cookies.csrf_secret(headers).map(mac)
}

/// The token of the session counts. For a visitor who is not signed in, so does that of the
/// browser: the form may have been shown before the session began.
fn verify(shared: &Shared, of_browser: Option<Token>, token: &str) -> bool {
    let Some(token) = unmask(token) else {
        return false;
    };
    let state = shared.state();
    let of_session = state.key.as_ref().map(|key| mac(key.expose()));
    let of_browser = of_browser.filter(|_| state.user_id().is_none());
    let known = [of_session, of_browser];
    known
        .iter()
        .flatten()
        .any(|known| known.ct_eq(&token).into())
}

fn unmask(token: &str) -> Option<Token> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (mask, masked) = bytes.split_at_checked(BYTES)?;
    let mut token: Token = masked.try_into().ok()?;
    for (byte, mask) in token.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    Some(token)
}

/// Half of the MAC, which is long enough not to be guessed.
fn mac(secret: &str) -> Token {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
    let mut mac = mac.expect("a MAC takes a key of any length");
    mac.update(b"qsessions csrf");
    let mut token = Token::default();
    token.copy_from_slice(&mac.finalize().into_bytes()[..BYTES]);
    token
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(token: Token, mask: u8) -> String {
        let masked = token.iter().map(|byte| byte ^ mask);
        let bytes: Vec<u8> = std::iter::repeat_n(mask, BYTES).chain(masked).collect();
        URL_SAFE_NO_PAD.encode(bytes)
    }

    #[test]
    fn a_token_is_read_through_any_mask() {
        let token = mac("a secret");
        for mask in [0, 7, 255] {
            assert_eq!(unmask(&masked(token, mask)), Some(token));
        }
        assert_ne!(token, mac("another secret"));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let token = masked(mac("a secret"), 7);
        for text in [
            "",
            "a",
            "ä",
            &token[1..],
            &format!("{token}A"),
            &format!("{token}="),
        ] {
            assert_eq!(unmask(text), None, "{text:?}");
        }
    }
}
