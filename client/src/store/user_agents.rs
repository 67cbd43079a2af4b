//! What a `User-Agent` header says.

use tokio_postgres::types::Type;

use super::{Source, Store};
use crate::user_agent::user_agent_columns;
use crate::{Error, UserAgent};

impl<S: Source> Store<S> {
    /// What a `User-Agent` header says.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// if store.parse_user_agent("Googlebot/2.1").await?.is_bot {
    ///     println!("nobody is there");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn parse_user_agent(&self, user_agent: &str) -> Result<UserAgent, Error> {
        self.row(
            concat!(
                "SELECT ",
                user_agent_columns!(),
                " FROM qsessions.parse_user_agent(user_agent => $1::text)"
            ),
            &[(&user_agent, Type::TEXT)],
        )
        .await
    }

    /// The device in one line for a person, such as `iPhone / iOS 17.1 / Safari 17.1`. Unknown
    /// parts are `Other`; an empty header gives an empty line.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, header: &str) -> Result<(), qsessions::Error> {
    /// println!("A login from {}. Was it you?", store.device(header).await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn device(&self, user_agent: &str) -> Result<String, Error> {
        self.value(
            "SELECT qsessions.device(user_agent => $1::text)",
            &[(&user_agent, Type::TEXT)],
        )
        .await
    }
}
