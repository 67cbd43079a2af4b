//! What the layer does with a response: it saves the session, and sets headers and cookies.

use std::sync::MutexGuard;

use axum::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, Entry, HeaderMap, HeaderName, HeaderValue, SET_COOKIE, VARY,
};
use axum::response::{IntoResponse, Response};

use crate::builder::Config;
use crate::calls::{self, is_persistent};
use crate::error::{Error, Interrupted};
use crate::shared::Shared;
use crate::state::{CookieChange, State};
use crate::store::on_store;

/// Finishes the response to a request that has nothing to wait for, which most requests are, and
/// returns whether it did. Otherwise [`finish`] has to.
pub(crate) fn finish_at_once(shared: &Shared, response: &mut Response) -> bool {
    let config = shared.config();
    let mut state = shared.state();
    drop_changes_of_failures(config, &mut state, response);
    let waits = state.has_changes()
        || must_ask(config, &mut state)
        // A call that the handler has given up is still under way.
        || shared.calls.try_lock().is_err();
    if waits {
        return false;
    }
    set_headers(config, response.headers_mut());
    set_cookies(shared, state, response.headers_mut());
    true
}

/// Saves the session, and sets headers and cookies.
pub(crate) async fn finish(shared: &Shared, mut response: Response) -> Response {
    let config = shared.config();
    drop_changes_of_failures(config, &mut shared.state(), &response);
    match calls::save(shared).await {
        Ok(()) => {}
        Err(Error::Interrupted) => {
            response = (config.when_interrupted)();
            response.extensions_mut().insert(Interrupted);
        }
        Err(error) => response = error.into_response(),
    }
    ask_for_present_key(shared).await;
    set_headers(config, response.headers_mut());
    set_cookies(shared, shared.state(), response.headers_mut());
    response
}

fn drop_changes_of_failures(config: &Config, state: &mut State, response: &Response) {
    if response.status().is_server_error() && !config.saves_on_server_errors {
        state.take_changes();
    }
}

/// Whether the database has to say if the cookie can be prolonged.
fn must_ask(config: &Config, state: &mut State) -> bool {
    // The data is looked at only if the cookie may be set: reading a session is the most frequent
    // request.
    if state.cookie == CookieChange::Prolong && !is_persistent(state, config.is_persistent) {
        state.cookie = CookieChange::None;
    }
    state.cookie == CookieChange::Prolong
}

/// Another request may have rotated the key, and set the cookie, while this one ran.
async fn ask_for_present_key(shared: &Shared) {
    let config = shared.config();
    let key = {
        let mut state = shared.state();
        match must_ask(config, &mut state) {
            true => state.key.clone(),
            false => return,
        }
    };
    let Some(key) = key else { return };
    let asked = on_store!(config.store, store => store.is_present_key(&key).await);
    if !matches!(asked, Ok(true)) {
        shared.state().cookie = CookieChange::None;
    }
}

/// The headers that do not depend on the session.
fn set_headers(config: &Config, headers: &mut HeaderMap) {
    if config.asks_for_client_hints && is_page(headers) {
        headers.entry(ACCEPT_CH).or_insert(HINTS);
    }
    add_vary(headers);
}

/// Sets or removes cookies. No other can follow.
fn set_cookies(shared: &Shared, mut state: MutexGuard<'_, State>, headers: &mut HeaderMap) {
    let config = shared.config();
    state.is_head_sent = true;
    let session = match (state.cookie, &state.key) {
        (CookieChange::Set | CookieChange::Prolong, Some(key)) => {
            let is_persistent = is_persistent(&state, config.is_persistent);
            let expires_at = is_persistent.then(|| state.expires_at());
            if let Some(id) = state.id() {
                shared.layer.told.note(id, state.expires_at());
            }
            Some(config.cookies.set(key, expires_at))
        }
        (CookieChange::Remove, _) => Some(config.cookies.remove()),
        _ => None,
    };
    let csrf = state.new_csrf_secret.take();
    drop(state);
    if session.is_none() && csrf.is_none() {
        return;
    }
    if !is_private(headers) {
        headers.append(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
    let csrf = csrf.map(|secret| config.cookies.set_csrf(&secret));
    for cookie in session.into_iter().chain(csrf) {
        headers.append(SET_COOKIE, cookie);
    }
}

const ACCEPT_CH: HeaderName = HeaderName::from_static("accept-ch");
/// Those that browsers do not send unasked, and that tell a device.
const HINTS: HeaderValue = HeaderValue::from_static(
    "Sec-CH-UA-Full-Version-List, Sec-CH-UA-Model, Sec-CH-UA-Platform-Version",
);

fn is_page(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/html"))
}

/// Says that the response depends on the cookie, unless it does already.
fn add_vary(headers: &mut HeaderMap) {
    const COOKIE: HeaderValue = HeaderValue::from_static("Cookie");
    match headers.entry(VARY) {
        Entry::Vacant(entry) => {
            entry.insert(COOKIE);
        }
        Entry::Occupied(mut entry) => {
            if !has_one_of(entry.iter(), &["*", "cookie"]) {
                entry.append(COOKIE);
            }
        }
    }
}

/// Whether no cache that visitors share keeps the response. `private` wins over `public`.
fn is_private(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CACHE_CONTROL);
    has_one_of(values.iter(), &["private", "no-store"])
}

/// Whether the list in a header has one of these members.
fn has_one_of<'a>(values: impl Iterator<Item = &'a HeaderValue>, members: &[&str]) -> bool {
    let mut found = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    found.any(|found| {
        let found = found.trim();
        members
            .iter()
            .any(|member| found.eq_ignore_ascii_case(member))
    })
}
