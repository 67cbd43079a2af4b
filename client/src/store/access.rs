//! Who may use the sessions.

use tokio_postgres::types::Type;

use super::{Source, Store};
use crate::Error;

impl<S: Source> Store<S> {
    /// Gives an application's role what it needs, no more. The role is a name as SQL would have it:
    /// `app`, or `"App"` where capitals matter.
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
        self.run(
            "SELECT qsessions.grant_access(role => $1::text::regrole)",
            &[(&role, Type::TEXT)],
        )
        .await
    }

    /// Takes back what [`grant_access`](Self::grant_access) gave.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// store.revoke_access("app").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn revoke_access(&self, role: &str) -> Result<(), Error> {
        self.run(
            "SELECT qsessions.revoke_access(role => $1::text::regrole)",
            &[(&role, Type::TEXT)],
        )
        .await
    }
}
