//! How a user signs in.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use qsessions::{Error as StoreError, Executor, Expiry, Key, NewLogin, Store, UserId, Uuid};
use serde_json::Value;

use crate::calls::{self, PERSISTENT};
use crate::error::Error;
use crate::shared::Shared;
use crate::state::{Changes, split};
use crate::store::on_store;
use crate::visitor::Visitor;

/// The arguments of [`Session::login`](crate::Session::login). Awaiting it signs the user in.
#[must_use = "a login is sent when it is awaited"]
pub struct Login {
    shared: Arc<Shared>,
    user_id: UserId,
    expiry: Option<Expiry>,
    max_sessions: Option<u32>,
    is_persistent: Option<bool>,
}

/// What a login has done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedIn {
    /// The public id of the session.
    pub id: Uuid,
    /// When the session expires if nothing moves its expiry. `None`: never.
    pub expires_at: Option<SystemTime>,
    /// Whether the user has never logged in from such a device before. `None`: there is no table of
    /// events, which would tell.
    pub is_new_device: Option<bool>,
    /// Whether the user has never logged in from this city or country before. `None`: there is no
    /// table of events, or the location is unknown.
    pub is_new_place: Option<bool>,
}

impl Login {
    pub(crate) fn new(shared: Arc<Shared>, user_id: UserId) -> Self {
        Self {
            max_sessions: shared.config().max_sessions,
            shared,
            user_id,
            expiry: None,
            is_persistent: None,
        }
    }

    /// When this session expires, in place of the expiry of the layer.
    pub fn expiry(mut self, expiry: Expiry) -> Self {
        self.expiry = Some(expiry);
        self
    }

    /// How many sessions the user may have, this one included. Those beyond this number that were
    /// not seen for the longest time are ended.
    pub fn max_sessions(mut self, max_sessions: u32) -> Self {
        self.max_sessions = Some(max_sessions);
        self
    }

    /// Whether the browser keeps the cookie when it is closed: "remember me". The member
    /// `_persistent` of the data keeps this choice.
    pub fn persistent(mut self, persistent: bool) -> Self {
        self.is_persistent = Some(persistent);
        self
    }

    async fn send(self) -> Result<LoggedIn, Error> {
        let login = self.log_in().await?;
        if let Some(is_persistent) = self.is_persistent {
            let mark = Some(Value::Bool(is_persistent));
            self.shared.state().set(PERSISTENT.to_owned(), mark);
            calls::save(&self.shared).await?;
        }
        Ok(login)
    }

    async fn log_in(&self) -> Result<LoggedIn, Error> {
        let shared = &*self.shared;
        let _turn = shared.calls.lock().await;
        shared.check_head()?;
        let (key, changes) = {
            let mut state = shared.state();
            let begins = state.key.is_none() && state.has_changes();
            (state.key.clone(), begins.then(|| state.take_changes()))
        };
        let login = on_store!(shared.config().store, store => {
            self.call(store, key.as_ref(), changes.as_ref(), shared.visitor()).await
        });
        let login = match login {
            Ok(login) => login,
            Err(error) => {
                shared.state().restore_changes(changes.unwrap_or_default());
                return Err(error.into());
            }
        };
        let logged_in = LoggedIn {
            id: login.id,
            expires_at: login.expires_at,
            is_new_device: login.is_new_device,
            is_new_place: login.is_new_place,
        };
        let mut state = shared.state();
        state.open_for(self.user_id.as_str(), login.into());
        state.changes_are_saved(changes.unwrap_or_default());
        Ok(logged_in)
    }

    async fn call<E: Executor>(
        &self,
        store: &Store<E>,
        key: Option<&Key>,
        changes: Option<&Changes>,
        visitor: &Visitor,
    ) -> Result<NewLogin, StoreError> {
        let expiry = self.expiry.as_ref();
        let expiry = expiry.unwrap_or(&self.shared.config().expiry).clone();
        let call = store.login(self.user_id.clone()).key(key).expiry(expiry);
        let call = call.ip(visitor.ip).user_agent(visitor.user_agent());
        let mut call = call.client_hints(&visitor.client_hints);
        if let Some(max_sessions) = self.max_sessions {
            call = call.max_sessions(max_sessions);
        }
        if let Some(changes) = changes {
            call = call.data(split(changes).0);
        }
        call.await
    }
}

impl IntoFuture for Login {
    type Output = Result<LoggedIn, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(calls::to_its_end(self.send()))
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}
