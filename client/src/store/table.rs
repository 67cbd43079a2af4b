//! The table that the sessions are in, and the users it belongs to.

use tokio_postgres::types::Type;

use super::{Source, Store};
use crate::Error;

impl<S: Source> Store<S> {
    /// Creates the table of sessions, once, in a migration. With a table of users, `user_id` gets
    /// the type of its key and a foreign key, so that a user's sessions go when the user goes;
    /// without, it is text.
    ///
    /// `users` is a name as SQL would have it, such as `users`, `shop.users` or `"Users"`;
    /// `user_key` is the column as it is called, by default the primary key.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if the table is there already, or the table of users isn't one or has no
    /// key that could be used.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// store.create_session_table(Some("users"), None).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn create_session_table(
        &self,
        users: Option<&str>,
        user_key: Option<&str>,
    ) -> Result<(), Error> {
        self.run(
            "SELECT qsessions.create_session_table(users => $1::text::regclass, \
             user_key => $2::text::name)",
            &[(&users, Type::TEXT), (&user_key, Type::TEXT)],
        )
        .await
    }

    /// Links the sessions to a table of users later, or to another, converting `user_id` to the
    /// type of its key. Names are as in [`create_session_table`](Self::create_session_table).
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if the table of users isn't one or has no key that could be used, or
    /// sessions are of users whom it doesn't have.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// store.link_users("shop.customers", Some("number")).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn link_users(&self, users: &str, user_key: Option<&str>) -> Result<(), Error> {
        self.run(
            "SELECT qsessions.link_users(users => $1::text::regclass, user_key => $2::text::name)",
            &[(&users, Type::TEXT), (&user_key, Type::TEXT)],
        )
        .await
    }
}
