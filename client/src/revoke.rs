//! How sessions are ended by other than their own key.

use std::time::SystemTime;

use ipnet::IpNet;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::call::sent_when_awaited;
use crate::database::{Executor, Parameter};
use crate::error::Error;
use crate::key::Key;
use crate::store::Store;
use crate::user_id::UserId;
use crate::wire::integer;

/// The arguments of [`Store::revoke_user_sessions`]. Awaiting it sends the call.
#[must_use = "a call is sent when it is awaited"]
pub struct RevokeUserSessions<'a, E> {
    store: &'a Store<E>,
    user_id: UserId,
    except: Option<&'a Key>,
}

/// The arguments of [`Store::revoke_sessions`]. Awaiting it sends the calls.
#[must_use = "a call is sent when it is awaited"]
pub struct RevokeSessions<'a, E> {
    store: &'a Store<E>,
    user_id: Option<UserId>,
    network: Option<IpNet>,
    created_before: Option<SystemTime>,
    last_seen_before: Option<SystemTime>,
    user_agent: Option<&'a str>,
    batch_size: u32,
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

    /// Ends all sessions that fit every filter given, and returns how many: for administrators,
    /// after a leak of cookies or a flood of bots.
    ///
    /// It ends them in batches, so that requests of other sessions do not wait. On a pool, each
    /// batch is committed, and a call that fails has ended those before.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if there is no filter, the batch size is zero, or the column
    /// cannot hold the user id.
    ///
    /// ```
    /// use std::time::SystemTime;
    ///
    /// # async fn example(store: qsessions::Store, leaked_at: SystemTime) -> Result<(), Box<dyn std::error::Error>> {
    /// let network: ipnet::IpNet = "192.0.2.0/24".parse()?;
    /// let bots = store.revoke_sessions().network(network).user_agent("%python-requests%").await?;
    /// let before_the_leak = store.revoke_sessions().created_before(leaked_at).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn revoke_sessions(&self) -> RevokeSessions<'_, E> {
        RevokeSessions {
            store: self,
            user_id: None,
            network: None,
            created_before: None,
            last_seen_before: None,
            user_agent: None,
            batch_size: 1000,
        }
    }
}

impl<'a, E> RevokeSessions<'a, E> {
    /// Only sessions of this user.
    pub fn user(mut self, user_id: impl Into<UserId>) -> Self {
        self.user_id = Some(user_id.into());
        self
    }

    /// Only sessions that were last seen from this address or network.
    pub fn network(mut self, network: impl Into<IpNet>) -> Self {
        self.network = Some(network.into());
        self
    }

    /// Only sessions that were created before this instant.
    pub fn created_before(mut self, instant: impl Into<Option<SystemTime>>) -> Self {
        self.created_before = instant.into();
        self
    }

    /// Only sessions that were last seen before this instant.
    pub fn last_seen_before(mut self, instant: impl Into<Option<SystemTime>>) -> Self {
        self.last_seen_before = instant.into();
        self
    }

    /// Only sessions whose `User-Agent` is like this pattern of SQL's LIKE.
    pub fn user_agent(mut self, pattern: impl Into<Option<&'a str>>) -> Self {
        self.user_agent = pattern.into();
        self
    }

    /// How many sessions to end in one statement: by default 1,000.
    pub fn batch_size(mut self, batch_size: u32) -> Self {
        self.batch_size = batch_size;
        self
    }
}

impl<E: Executor> RevokeSessions<'_, E> {
    async fn send(self) -> Result<u64, Error> {
        let ended = self.revoke_batches().await;
        // Only the notifications name the sessions that were revoked.
        self.store.hear_of_changes().await;
        ended
    }

    async fn revoke_batches(&self) -> Result<u64, Error> {
        let user_id = self.user_id.as_ref().map(UserId::as_str);
        let network = self.network.map(|network| network.to_string());
        let max_rows = integer("batch_size", Some(self.batch_size))?;
        let parameters: &[Parameter<'_>] = &[
            (&user_id, Type::TEXT),
            (&network, Type::TEXT),
            (&self.created_before, Type::TIMESTAMPTZ),
            (&self.last_seen_before, Type::TIMESTAMPTZ),
            (&self.user_agent, Type::TEXT),
            (&max_rows, Type::INT4),
        ];
        let mut ended = 0;
        loop {
            // A batch passes over sessions that are locked, so only an empty one is the last.
            let batch = self
                .store
                .database
                .count(
                    "SELECT qsessions.revoke_sessions(user_id => $1::text, ip => $2::text::inet, \
                     created_before => $3::timestamptz, last_seen_before => $4::timestamptz, \
                     user_agent => $5::text, max_rows => $6::integer)",
                    parameters,
                )
                .await?;
            if batch == 0 {
                return Ok(ended);
            }
            ended += batch;
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
sent_when_awaited!(RevokeSessions -> u64);
