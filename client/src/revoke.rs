//! How sessions are ended by other than their own key.

use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::call::sent_when_awaited;
use crate::database::Executor;
use crate::error::Error;
use crate::key::Key;
use crate::store::Store;
use crate::user_id::UserId;

/// The arguments of [`Store::revoke_user_sessions`]. Awaiting it sends the call.
#[must_use = "a call is sent when it is awaited"]
pub struct RevokeUserSessions<'a, E> {
    store: &'a Store<E>,
    user_id: UserId,
    except: Option<&'a Key>,
}

impl<E: Executor> Store<E> {
    /// Ends a session by its public id, whichever user it belongs to: for administrators. Returns
    /// whether there was one.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, id: qsessions::Uuid) -> Result<(), qsessions::Error> {
    /// if store.revoke(id).await? {
    ///     println!("session {id} has ended");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn revoke(&self, id: Uuid) -> Result<bool, Error> {
        let _change = self.changes(Some(id));
        self.database
            .value(
                "SELECT qsessions.revoke_session(id => $1::uuid)",
                &[(&id, Type::UUID)],
            )
            .await
    }

    /// Ends a session by its public id if it belongs to this user: for the page where users see
    /// their own devices. The id may come from the request. Returns whether there was one.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, id: qsessions::Uuid) -> Result<(), qsessions::Error> {
    /// let user_of_this_request = 42;
    /// store.revoke_for_user(id, user_of_this_request).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn revoke_for_user(
        &self,
        id: Uuid,
        user_id: impl Into<UserId>,
    ) -> Result<bool, Error> {
        let _change = self.changes(Some(id));
        self.database
            .value(
                "SELECT qsessions.revoke_session(id => $1::uuid, user_id => $2::text)",
                &[(&id, Type::UUID), (&user_id.into().as_str(), Type::TEXT)],
            )
            .await
    }

    /// Ends all sessions of a user, and returns how many: "log out everywhere".
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, key: qsessions::Key) -> Result<(), qsessions::Error> {
    /// let everywhere_else = store.revoke_user_sessions(42).except(&key).await?;
    /// let everywhere = store.revoke_user_sessions(42).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn revoke_user_sessions(&self, user_id: impl Into<UserId>) -> RevokeUserSessions<'_, E> {
        RevokeUserSessions {
            store: self,
            user_id: user_id.into(),
            except: None,
        }
    }
}

impl<'a, E> RevokeUserSessions<'a, E> {
    /// Leaves the session of this key: "log out everywhere else".
    pub fn except(mut self, key: impl Into<Option<&'a Key>>) -> Self {
        self.except = key.into();
        self
    }
}

impl<E: Executor> RevokeUserSessions<'_, E> {
    async fn send(self) -> Result<u64, Error> {
        let ended = self
            .store
            .database
            .count(
                "SELECT qsessions.revoke_user_sessions(user_id => $1::text, \
                 except_key => $2::text)",
                &[
                    (&self.user_id.as_str(), Type::TEXT),
                    (&self.except.map(Key::argument), Type::TEXT),
                ],
            )
            .await;
        // Only the notification names the sessions that were revoked.
        self.store.hear_of_changes().await;
        ended
    }
}

sent_when_awaited!(RevokeUserSessions -> u64);
