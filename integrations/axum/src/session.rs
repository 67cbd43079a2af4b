//! The extractor that a handler works with.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use qsessions::{Expiry, Session as Record, Uuid};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::calls;
use crate::error::Error;
use crate::login::Login;
use crate::shared::Shared;

/// The session of a request. All extractors of one request share it, and clones are cheap.
///
/// The first extractor of a request resumes the session. Reading and changing its data then needs
/// no `await`. When the head of the response is ready, the layer saves the members that have
/// changed, and only those: requests that run at the same time keep each other's changes.
///
/// A visitor without a session has one that is empty. It begins in the database when something is
/// put into it. Until then, nothing is stored and no cookie is set.
///
/// ```
/// use axum::response::{IntoResponse, Redirect};
/// use qsessions_axum::{Error, Session};
///
/// async fn add_to_cart(session: Session) -> Result<impl IntoResponse, Error> {
///     let mut cart: Vec<u64> = session.get("cart")?.unwrap_or_default();
///     cart.push(7);
///     session.insert("cart", cart)?;
///     Ok(Redirect::to("/cart"))
/// }
/// ```
///
/// # After the head of the response
///
/// A streaming body and a WebSocket run after the layer has saved the session. What they change is
/// saved by [`save`](Self::save) only. They cannot set a cookie any more: what would need a new one
/// is [`Error::HeadSent`], and does nothing.
#[derive(Clone)]
pub struct Session {
    pub(crate) shared: Arc<Shared>,
}

impl Session {
    /// The public id, safe in a URL or a log. `None`: the session has not begun.
    #[must_use]
    pub fn id(&self) -> Option<Uuid> {
        self.shared.state().id()
    }

    /// The id of the user who is signed in, as the database knows it.
    /// [`CurrentUser`](crate::CurrentUser) extracts it as a type of yours.
    #[must_use]
    pub fn user_id(&self) -> Option<String> {
        self.shared.state().user_id().map(str::to_owned)
    }

    /// The session as it was when the request began: its times, its address and its browser.
    #[must_use]
    pub fn record(&self) -> Option<Record> {
        self.shared.state().record().cloned()
    }

    /// A member of the data.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] if it is not of this type.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        // Code of the application must not run under the lock.
        let record = {
            let state = self.shared.state();
            match state.change(name).cloned() {
                Some(value) => {
                    drop(state);
                    return Ok(value.map(serde_json::from_value).transpose()?);
                }
                None => state.record().cloned(),
            }
        };
        let Some(record) = record else {
            return Ok(None);
        };
        record.member(name).map_err(|error| match error {
            qsessions::Error::Data(error) => Error::Data(error),
            error => Error::Store(error),
        })
    }

    /// Sets a member of the data.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] if it cannot be written as JSON.
    pub fn insert(&self, name: impl Into<String>, value: impl Serialize) -> Result<(), Error> {
        let value = serde_json::to_value(value)?;
        self.shared.state().set(name.into(), Some(value));
        Ok(())
    }

    /// Removes a member of the data, and returns what it was.
    pub fn remove(&self, name: &str) -> Option<Value> {
        let mut state = self.shared.state();
        let value = state.get(name).cloned();
        state.set(name.to_owned(), None);
        value
    }

    /// Removes all members of the data. The session stays, and its user signed in.
    pub fn clear(&self) {
        let mut state = self.shared.state();
        for name in state.names() {
            state.set(name, None);
        }
    }

    /// The names of the members of the data.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        self.shared.state().names()
    }

    /// Whether the data has no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names().is_empty()
    }

    /// Signs a user in, at once and always under a new key. Data that the visitor has gathered
    /// stays, unless another user was signed in: that session ends with its data.
    ///
    /// The response sets the new cookie even if the handler fails later.
    ///
    /// ```
    /// use qsessions_axum::{Error, Session};
    ///
    /// async fn sign_in(session: Session) -> Result<&'static str, Error> {
    ///     let login = session.login(42).max_sessions(5).await?;
    ///     Ok(match login.is_new_device {
    ///         Some(true) => "Welcome! We have sent you a mail about this new device.",
    ///         _ => "Welcome back!",
    ///     })
    /// }
    /// ```
    pub fn login(&self, user_id: impl Into<qsessions::UserId>) -> Login {
        Login::new(Arc::clone(&self.shared), user_id.into())
    }

    /// Ends the session at once, and removes the cookie. Does nothing if there is none. The session
    /// of a user ends also if another request has just given it a new key.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]. The session then goes on.
    pub async fn logout(&self) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        calls::to_its_end(async move { calls::logout(&shared).await }).await
    }

    /// Gives the session a new key at once, as after a change of password. Does nothing if the
    /// session has not begun.
    ///
    /// The response sets the new cookie even if the handler fails later. If another request has
    /// just rotated the key, and the key of this request is in its
    /// [grace](crate::SessionLayerBuilder::grace), the session goes on, and the response to the
    /// other request sets the cookie.
    ///
    /// # Errors
    ///
    /// [`Error::Interrupted`] if the session has ended; [`Error::HeadSent`]; [`Error::Store`].
    pub async fn rotate(&self) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        calls::to_its_end(async move { calls::rotate(&shared).await }).await
    }

    /// Gives the session another expiry at once, counted from now. Does nothing if the session has
    /// not begun.
    ///
    /// # Errors
    ///
    /// [`Error::Interrupted`] if the session has ended; [`Error::HeadSent`]; [`Error::Store`].
    pub async fn set_expiry(&self, expiry: Expiry) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        calls::to_its_end(async move { calls::set_expiry(&shared, expiry).await }).await
    }

    /// Saves what has changed at once. The layer does so when the head of the response is ready;
    /// call this in a streaming body or a WebSocket, or to handle an error yourself.
    ///
    /// # Errors
    ///
    /// [`Error::Interrupted`] if the session has ended: the changes are dropped.
    /// [`Error::HeadSent`] if the session has not begun, and it is too late for a cookie.
    /// [`Error::Store`], after which it can be called again.
    pub async fn save(&self) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        calls::to_its_end(async move { calls::save(&shared).await }).await
    }
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let shared = Shared::of(parts)?;
        shared.load().await?;
        Ok(Self { shared })
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// The address of the client: that of the connection, unless a
/// [trusted proxy](crate::SessionLayerBuilder::trusted_proxies) says otherwise. It does not resume
/// the session.
///
/// `None` if the server does not tell the address of the connection. With axum, serve the
/// application by `into_make_service_with_connect_info::<SocketAddr>()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub Option<std::net::IpAddr>);

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Ok(Self(Shared::of(parts)?.visitor().ip))
    }
}
