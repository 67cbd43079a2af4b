//! The table of sessions, and the users that they belong to.

use tokio_postgres::types::Type;

use crate::call::sent_when_awaited;
use crate::database::Executor;
use crate::error::Error;
use crate::store::Store;

/// The arguments of [`Store::create_session_table`]. Awaiting it sends the call.
#[must_use = "a call is sent when it is awaited"]
pub struct CreateSessionTable<'a, E> {
    store: &'a Store<E>,
    users: Option<&'a str>,
    user_key: Option<&'a str>,
}

/// The arguments of [`Store::link_users`]. Awaiting it sends the call.
#[must_use = "a call is sent when it is awaited"]
pub struct LinkUsers<'a, E> {
    store: &'a Store<E>,
    users: &'a str,
    user_key: Option<&'a str>,
}

impl<E: Executor> Store<E> {
    /// Creates the table of sessions. Call it once, in a migration.
    ///
    /// With a table of [`users`](CreateSessionTable::users), the column `user_id` gets the type of
    /// its key and a foreign key, so that the sessions of a user are deleted with the user. Without
    /// one, `user_id` is text.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if the table exists already, or if the table of users does not exist or
    /// has no key of a supported type.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// store.create_session_table().users("users").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn create_session_table(&self) -> CreateSessionTable<'_, E> {
        CreateSessionTable {
            store: self,
            users: None,
            user_key: None,
        }
    }

    /// Links the sessions to a table of users, or to another one than before, and converts
    /// `user_id` to the type of its key. The table is written as in SQL, such as `shop.users` or
    /// `"Users"`.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if the table of users does not exist or has no key of a supported type,
    /// or if there are sessions of users who are not in it.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// store.link_users("shop.customers").user_key("number").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn link_users<'a>(&'a self, users: &'a str) -> LinkUsers<'a, E> {
        LinkUsers {
            store: self,
            users,
            user_key: None,
        }
    }
}

impl<'a, E> CreateSessionTable<'a, E> {
    /// The table of users, as it is written in SQL: `users`, `shop.users` or `"Users"`.
    pub fn users(mut self, users: impl Into<Option<&'a str>>) -> Self {
        self.users = users.into();
        self
    }

    /// The column that identifies a user, without quotes: by default the primary key.
    pub fn user_key(mut self, column: impl Into<Option<&'a str>>) -> Self {
        self.user_key = column.into();
        self
    }
}

impl<'a, E> LinkUsers<'a, E> {
    /// The column that identifies a user, without quotes: by default the primary key.
    pub fn user_key(mut self, column: impl Into<Option<&'a str>>) -> Self {
        self.user_key = column.into();
        self
    }
}

impl<E: Executor> CreateSessionTable<'_, E> {
    async fn send(self) -> Result<(), Error> {
        self.store
            .database
            .run(
                "SELECT qsessions.create_session_table(users => $1::text::regclass, \
                 user_key => $2::text::name)",
                &[(&self.users, Type::TEXT), (&self.user_key, Type::TEXT)],
            )
            .await
    }
}

impl<E: Executor> LinkUsers<'_, E> {
    async fn send(self) -> Result<(), Error> {
        self.store
            .database
            .run(
                "SELECT qsessions.link_users(users => $1::text::regclass, \
                 user_key => $2::text::name)",
                &[(&self.users, Type::TEXT), (&self.user_key, Type::TEXT)],
            )
            .await
    }
}

sent_when_awaited!(CreateSessionTable -> ());
sent_when_awaited!(LinkUsers -> ());
