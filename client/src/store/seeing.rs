//! Sessions as people see them.

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{Parameter, Source, Store};
use crate::session::{session_columns, session_info_columns};
use crate::stats::stats_columns;
use crate::{Error, Key, Session, SessionFilter, SessionInfo, Stats, UserId};

impl<S: Source> Store<S> {
    /// The live sessions of a user, last seen first, for the page of their devices. That of the
    /// current key is marked.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, key: qsessions::Key) -> Result<(), qsessions::Error> {
    /// for session in store.user_sessions(42, Some(&key)).await? {
    ///     println!("{:?} in {:?}, revoke: {}", session.device, session.location, session.id);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn user_sessions(
        &self,
        user_id: impl Into<UserId>,
        current: Option<&Key>,
    ) -> Result<Vec<SessionInfo>, Error> {
        self.rows(
            concat!(
                "SELECT ",
                session_info_columns!(),
                " FROM qsessions.user_sessions(user_id => $1::text, current_key => $2::text)"
            ),
            &[
                (&user_id.into().as_str(), Type::TEXT),
                (&current.map(Key::argument), Type::TEXT),
            ],
        )
        .await
    }

    /// A page of sessions for administrators, newest first.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if the network is none, or the page is to have less than one row.
    ///
    /// ```
    /// use qsessions::SessionFilter;
    ///
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// let filter = SessionFilter::new().active(true).network("192.0.2.0/24");
    /// let mut page = store.list_sessions(&filter).await?;
    /// while let Some(last) = page.last() {
    ///     let next = filter.clone().after(last.id);
    ///     page = store.list_sessions(&next).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn list_sessions(&self, filter: &SessionFilter) -> Result<Vec<SessionInfo>, Error> {
        // A null would mean all rows, and not the default of the function.
        const DEFAULT_PAGE: &str = concat!(
            "SELECT ",
            session_info_columns!(),
            " FROM qsessions.list_sessions(user_id => $1::text, active => $2::boolean, \
             ip => $3::text::inet, after => $4::uuid)"
        );
        const PAGE: &str = concat!(
            "SELECT ",
            session_info_columns!(),
            " FROM qsessions.list_sessions(user_id => $1::text, active => $2::boolean, \
             ip => $3::text::inet, after => $4::uuid, max_rows => $5::integer)"
        );
        let user_id = filter.user_id.as_ref().map(UserId::as_str);
        let mut parameters: Vec<Parameter<'_>> = vec![
            (&user_id, Type::TEXT),
            (&filter.active, Type::BOOL),
            (&filter.network, Type::TEXT),
            (&filter.after, Type::UUID),
        ];
        match &filter.max_rows {
            None => self.rows(DEFAULT_PAGE, &parameters).await,
            Some(rows) => {
                parameters.push((rows, Type::INT4));
                self.rows(PAGE, &parameters).await
            }
        }
    }

    /// A session by its public id, dead or alive, or `None`: for administrators.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, id: uuid::Uuid) -> Result<(), qsessions::Error> {
    /// if let Some(session) = store.get_session(id).await? {
    ///     println!("{}", session.data);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_session(&self, id: Uuid) -> Result<Option<Session>, Error> {
        self.optional_row(
            concat!(
                "SELECT ",
                session_columns!(),
                " FROM qsessions.get_session(id => $1::uuid)"
            ),
            &[(&id, Type::UUID)],
        )
        .await
    }

    /// The table in numbers. Reads all of it.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// println!("{} sessions are alive", store.stats().await?.active);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn stats(&self) -> Result<Stats, Error> {
        self.row(
            concat!("SELECT ", stats_columns!(), " FROM qsessions.stats()"),
            &[],
        )
        .await
    }
}
