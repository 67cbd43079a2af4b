//! Login and logout, and what else makes a key die.

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{Source, Store};
use crate::{CreatedSession, Error, Key, Login, UserId};

impl<S: Source> Store<S> {
    /// Makes a session the user's, always under a new key, so that a key which somebody planted in
    /// the visitor's browser beforehand is worth nothing.
    ///
    /// An anonymous session keeps its id and data; another user's is dropped with its data, and a
    /// new one begins, as it does without a key or with a dead one.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if `max_sessions` is less than one, the durations make no expiry,
    /// or the id is none that the table of users can have; [`Error::DataTooLarge`]. A user whom the table of users doesn't
    /// have is [`Error::Database`], with the SQLSTATE of a foreign key.
    ///
    /// ```
    /// use std::net::IpAddr;
    /// use qsessions::{CreatedSession, Error, Key, Login, Store};
    ///
    /// async fn log_in(
    ///     store: &Store,
    ///     user: i64,
    ///     cookie: Option<Key>,
    ///     peer: IpAddr,
    /// ) -> Result<CreatedSession, Error> {
    ///     let mut login = Login::user(user).ip(peer).max_sessions(10);
    ///     if let Some(key) = cookie {
    ///         login = login.key(key);
    ///     }
    ///     store.login(login).await
    /// }
    /// ```
    pub async fn login(&self, mut login: Login) -> Result<CreatedSession, Error> {
        let key = login.key.as_ref().map(Key::argument);
        let data = login.data.take()?;
        let [ttl, idle_timeout, max_age] = login.expiry.intervals()?;
        let _change = login
            .key
            .as_ref()
            .and_then(|key| self.changes_session_of(key));
        let created = self
            .row(
                "SELECT key, id, expires_at FROM qsessions.login(key => $1::text, user_id => $2::text, \
                 ip => $3::inet, user_agent => $4::text, data => $5::jsonb, \
                 max_sessions => $6::integer, ttl => $7::interval, idle_timeout => $8::interval, \
                 max_age => $9::interval)",
                &[
                    (&key, Type::TEXT),
                    (&login.user_id.as_str(), Type::TEXT),
                    (&login.ip, Type::INET),
                    (&login.user_agent, Type::TEXT),
                    (&data, Type::JSONB),
                    (&login.max_sessions, Type::INT4),
                    (&ttl, Type::INTERVAL),
                    (&idle_timeout, Type::INTERVAL),
                    (&max_age, Type::INTERVAL),
                ],
            )
            .await;
        if login.max_sessions.is_some() {
            // Which ones it has revoked only the announcement says.
            self.catch_up().await;
        }
        created
    }

    /// Gives a session a new key and returns it; id, data and user stay. The old key is dead from
    /// the commit.
    ///
    /// For whenever a visitor's rights grow, other than by [`login`](Self::login), which does it by
    /// itself.
    ///
    /// # Errors
    ///
    /// [`Error::SessionNotFound`].
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, key: qsessions::Key) -> Result<(), qsessions::Error> {
    /// let key = store.rotate_key(&key).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn rotate_key(&self, key: &Key) -> Result<Key, Error> {
        let _change = self.changes_session_of(key);
        self.value::<String>(
            "SELECT qsessions.rotate_key(key => $1::text)",
            &[(&key.argument(), Type::TEXT)],
        )
        .await
        .map(Key::new)
    }

    /// Ends the session of a key. `false` where there was none, which is no error.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, key: qsessions::Key) -> Result<(), qsessions::Error> {
    /// store.logout(&key).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn logout(&self, key: &Key) -> Result<bool, Error> {
        let _change = self.changes_session_of(key);
        self.value(
            "SELECT qsessions.logout(key => $1::text)",
            &[(&key.argument(), Type::TEXT)],
        )
        .await
    }

    /// Ends a session by its public id, whosever it is: for administrators. Whether there was one.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, id: uuid::Uuid) -> Result<(), qsessions::Error> {
    /// if store.revoke(id).await? {
    ///     println!("session {id} is over");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn revoke(&self, id: Uuid) -> Result<bool, Error> {
        let _change = self.changes(Some(id));
        self.value(
            "SELECT qsessions.revoke_session(id => $1::uuid)",
            &[(&id, Type::UUID)],
        )
        .await
    }

    /// Ends a session by its public id if it is this user's: for the page where people see their
    /// own devices, whatever id the request holds. Whether there was one.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, id: uuid::Uuid) -> Result<(), qsessions::Error> {
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
        self.value(
            "SELECT qsessions.revoke_session(id => $1::uuid, user_id => $2::text)",
            &[(&id, Type::UUID), (&user_id.into().as_str(), Type::TEXT)],
        )
        .await
    }

    /// Ends all sessions of a user, except that of a key: 'log out everywhere else'. How many
    /// ended.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, key: qsessions::Key) -> Result<(), qsessions::Error> {
    /// let everywhere_else = store.revoke_user_sessions(42, Some(&key)).await?;
    /// let everywhere = store.revoke_user_sessions(42, None).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn revoke_user_sessions(
        &self,
        user_id: impl Into<UserId>,
        except: Option<&Key>,
    ) -> Result<u64, Error> {
        let ended = self.count(
            "SELECT qsessions.revoke_user_sessions(user_id => $1::text, except_key => $2::text)",
            &[
                (&user_id.into().as_str(), Type::TEXT),
                (&except.map(Key::argument), Type::TEXT),
            ],
        )
        .await;
        // Which ones they were only the announcement says.
        self.catch_up().await;
        ended
    }
}
