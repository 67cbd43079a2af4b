//! Which roles may use the sessions.

use tokio_postgres::types::Type;

use crate::database::Executor;
use crate::error::Error;
use crate::store::Store;

impl<E: Executor> Store<E> {
    /// Gives the role of an application the privileges that it needs, and no others. The role is
    /// written as in SQL: `app`, or `"App"` if it has capitals.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if there is no such role, or the caller may not grant.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// store.grant_access("app").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn grant_access(&self, role: &str) -> Result<(), Error> {
        self.database
            .run(
                "SELECT qsessions.grant_access(role => $1::text::regrole)",
                &[(&role, Type::TEXT)],
            )
            .await
    }

    /// Revokes the privileges that [`grant_access`](Self::grant_access) gives.
    ///
    /// # Errors
    ///
    /// As for `grant_access`.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// store.revoke_access("app").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn revoke_access(&self, role: &str) -> Result<(), Error> {
        self.database
            .run(
                "SELECT qsessions.revoke_access(role => $1::text::regrole)",
                &[(&role, Type::TEXT)],
            )
            .await
    }
}
