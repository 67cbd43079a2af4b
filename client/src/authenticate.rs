//! Who is asking, for the rest of a transaction.

use std::net::IpAddr;

use uuid::Uuid;

use crate::call::{Call, debug_without_fields};
use crate::client_hints::ClientHints;
use crate::database::InTransaction;
use crate::error::Error;
use crate::hooks::Visitor;
use crate::key::Key;
use crate::load::{visit, visitor_setters};
use crate::session::{Session, session_columns};
use crate::store::Store;

/// The arguments of [`Store::authenticate`]. Awaiting it sends the call.
#[must_use = "a call is sent when it is awaited"]
pub struct Authenticate<'a, E> {
    store: &'a Store<E>,
    key: &'a Key,
    visitor: Visitor<'a>,
}

/// These calls are about one transaction, so only a store [on](Store::on) a transaction has them.
impl<E: InTransaction> Store<E> {
    /// Does the same as [`resume`](Store::resume), and makes the session the current one for the
    /// rest of the transaction. Policies of row-level security can then refer to it by
    /// `qsessions.current_user_id()` and `qsessions.current_session_id()`.
    ///
    /// `None`: the key opens no session. There is no current session then, even if there was one
    /// before in this transaction.
    ///
    /// ```
    /// use qsessions::{Error, Key, Store, deadpool_postgres::Pool};
    ///
    /// /// A policy of the table: USING (owner = qsessions.current_user_id()::bigint)
    /// async fn titles(
    ///     pool: &Pool,
    ///     store: &Store,
    ///     key: &Key,
    /// ) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    ///     let mut connection = pool.get().await?;
    ///     let transaction = connection.transaction().await?;
    ///     store.on(&transaction).authenticate(key).await?.ok_or(Error::SessionNotFound)?;
    ///     let rows = transaction.query("SELECT title FROM documents", &[]).await?;
    ///     transaction.commit().await?;
    ///     Ok(rows.iter().map(|row| row.get(0)).collect())
    /// }
    /// ```
    ///
    /// Without a transaction, the session would be the current one for a single statement. This
    /// does not compile:
    ///
    /// ```compile_fail
    /// # async fn example(store: qsessions::Store, key: qsessions::Key) -> Result<(), qsessions::Error> {
    /// store.authenticate(&key).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn authenticate<'a>(&'a self, key: &'a Key) -> Authenticate<'a, E> {
        Authenticate {
            store: self,
            key,
            visitor: Visitor::default(),
        }
    }

    /// The user of the current session of this transaction. `None`: there is no current session, or
    /// it is anonymous.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, transaction: qsessions::deadpool_postgres::Transaction<'_>) -> Result<(), qsessions::Error> {
    /// let user_id = store.on(&transaction).current_user_id().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn current_user_id(&self) -> Result<Option<String>, Error> {
        self.database
            .value("SELECT qsessions.current_user_id()", &[])
            .await
    }

    /// The public id of the current session of this transaction.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, transaction: qsessions::deadpool_postgres::Transaction<'_>) -> Result<(), qsessions::Error> {
    /// let id = store.on(&transaction).current_session_id().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn current_session_id(&self) -> Result<Option<Uuid>, Error> {
        self.database
            .value("SELECT qsessions.current_session_id()", &[])
            .await
    }
}

visitor_setters!(Authenticate);

impl<E: InTransaction> Authenticate<'_, E> {
    async fn send(self) -> Result<Option<Session>, Error> {
        const AUTHENTICATE: &str = concat!(
            "SELECT ",
            session_columns!(),
            " FROM qsessions.authenticate(key => $1::text, ip => $2::inet, \
             user_agent => $3::text, client_hints => $4::jsonb)"
        );
        let database = &self.store.database;
        visit(
            database,
            AUTHENTICATE,
            self.key,
            self.visitor,
            Session::from_row,
        )
        .await
    }
}

debug_without_fields!(Authenticate<'_, E>);

impl<'a, E: InTransaction> IntoFuture for Authenticate<'a, E> {
    type Output = Result<Option<Session>, Error>;
    type IntoFuture = Call<'a, Option<Session>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
