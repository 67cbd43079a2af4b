//! The calls that change a session. In one request, they follow one another.

use std::future::{Future, pending};
use std::panic::resume_unwind;
use std::time::SystemTime;

use qsessions::{Error as StoreError, Executor, Expiry, Key, NewSession, Store};

use crate::error::Error;
use crate::shared::Shared;
use crate::state::{Changes, CookieChange, State, split};
use crate::store::on_store;
use crate::visitor::Visitor;

/// Runs a call to its end, although the handler may give it up: a timeout inside of the layer must
/// not lose the key that the database has just made. The layer waits for its turn.
pub(crate) async fn to_its_end<T: Send + 'static>(
    call: impl Future<Output = T> + Send + 'static,
) -> T {
    match tokio::spawn(call).await {
        Ok(output) => output,
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        // The runtime shuts down, and this task with it.
        Err(_) => pending().await,
    }
}

/// Saves what has changed: the session begins, or its changed members are patched.
pub(crate) async fn save(shared: &Shared) -> Result<(), Error> {
    // Most requests change nothing, and none of their calls is under way.
    if shared.calls.try_lock().is_ok() && !shared.state().has_changes() {
        return Ok(());
    }
    // In a box, so that the future of each request is small.
    Box::pin(save_changes(shared)).await
}

async fn save_changes(shared: &Shared) -> Result<(), Error> {
    let _turn = shared.calls.lock().await;
    let (key, changes) = {
        let mut state = shared.state();
        if !state.has_changes() {
            return Ok(());
        }
        if state.key.is_none() && state.is_head_sent {
            return Err(Error::HeadSent);
        }
        (state.key.clone(), state.take_changes())
    };
    let config = shared.config();
    let saved = match &key {
        Some(key) => on_store!(config.store, store => patch(store, key, &changes).await),
        None => {
            let visitor = shared.visitor();
            let begun = on_store!(config.store, store => {
                begin(store, visitor, &changes, &config.expiry).await
            });
            begun.map(|session| shared.state().open(session))
        }
    };
    match saved {
        Ok(()) => {
            shared.state().changes_are_saved(changes);
            Ok(())
        }
        Err(StoreError::SessionNotFound) => Err(interrupted(shared).await),
        Err(error) => {
            shared.state().restore_changes(changes);
            Err(error.into())
        }
    }
}

async fn patch<E: Executor>(
    store: &Store<E>,
    key: &Key,
    changes: &Changes,
) -> Result<(), StoreError> {
    let (set, removed) = split(changes);
    store.patch(key, set).remove(&removed).await.map(drop)
}

async fn begin<E: Executor>(
    store: &Store<E>,
    visitor: &Visitor,
    changes: &Changes,
    expiry: &Expiry,
) -> Result<NewSession, StoreError> {
    let call = store.create().data(split(changes).0);
    let call = call.ip(visitor.ip).user_agent(visitor.user_agent());
    let call = call.client_hints(&visitor.client_hints);
    call.expiry(expiry.clone()).await
}

pub(crate) async fn logout(shared: &Shared) -> Result<(), Error> {
    let _turn = shared.calls.lock().await;
    let Some(key) = shared.key() else {
        return Ok(());
    };
    let (id, user) = {
        let state = shared.state();
        (state.id(), state.user_id().map(str::to_owned))
    };
    on_store!(shared.config().store, store => {
        let has_ended = store.logout(&key).await?;
        // Another request may have given the session a new key, under which it must not go on.
        if !has_ended && let (Some(id), Some(user)) = (id, user) {
            store.revoke_for_user(id, user).await?;
        }
    });
    shared.state().close(CookieChange::Remove);
    Ok(())
}

pub(crate) async fn rotate(shared: &Shared) -> Result<(), Error> {
    let _turn = shared.calls.lock().await;
    shared.check_head()?;
    let Some(key) = shared.key() else {
        return Ok(());
    };
    let config = shared.config();
    match on_store!(config.store, store => store.rotate_key(&key).grace(config.grace).await) {
        Ok(new) => {
            let mut state = shared.state();
            state.key = Some(new);
            state.cookie = CookieChange::Set;
            Ok(())
        }
        Err(StoreError::SessionNotFound) => {
            let session = on_store!(config.store, store => store.load(&key).await)?;
            match session {
                Some(_) => Ok(()),
                None => Err(interrupted(shared).await),
            }
        }
        Err(error) => Err(error.into()),
    }
}

pub(crate) async fn set_expiry(shared: &Shared, expiry: Expiry) -> Result<(), Error> {
    let _turn = shared.calls.lock().await;
    shared.check_head()?;
    let Some(key) = shared.key() else {
        return Ok(());
    };
    match on_store!(shared.config().store, store => store.set_expiry(&key, expiry).await) {
        Ok(expires_at) => {
            let mut state = shared.state();
            state.set_expires_at(expires_at);
            if state.cookie == CookieChange::None {
                state.cookie = CookieChange::Prolong;
            }
            Ok(())
        }
        Err(StoreError::SessionNotFound) => Err(interrupted(shared).await),
        Err(error) => Err(error.into()),
    }
}

/// The key of this request no longer opens the session. If another request has given the session a
/// new key, it has set the cookie too, and removing the cookie would sign the visitor out.
async fn interrupted(shared: &Shared) -> Error {
    let id = shared.state().id();
    let record = match id {
        None => None,
        Some(id) => on_store!(shared.config().store, store => store.get_session(id).await)
            .ok()
            .flatten(),
    };
    let goes_on = record.is_some_and(|record| {
        let end = record.expires_at;
        end.is_none_or(|end| end > SystemTime::now())
    });
    shared.state().close(match goes_on {
        true => CookieChange::None,
        false => CookieChange::Remove,
    });
    Error::Interrupted
}

/// Whether the cookie outlives the browser's session: a login decides, or else the layer does.
pub(crate) fn is_persistent(state: &State, by_default: bool) -> bool {
    let decided = state.get(PERSISTENT).and_then(serde_json::Value::as_bool);
    decided.unwrap_or(by_default)
}

/// The member of the data that keeps what a login has decided about the cookie.
pub(crate) const PERSISTENT: &str = "_persistent";
