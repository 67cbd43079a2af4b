//! A session from its beginning to its end, except for login.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{Source, Store};
use crate::session::session_columns;
use crate::{CreatedSession, Error, Expiry, Key, NewSession, Save, Session, UserId, wire};

impl<S: Source> Store<S> {
    /// A fresh key, to be used with [`NewSession::key`] where an application needs to know it
    /// beforehand.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// let key = store.generate_key().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn generate_key(&self) -> Result<Key, Error> {
        self.value::<String>("SELECT qsessions.generate_key()", &[])
            .await
            .map(Key::new)
    }

    /// The public id that belongs to a key, whether there is a session or not.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if no session can have such a key.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, key: qsessions::Key) -> Result<(), qsessions::Error> {
    /// println!("request of session {}", store.session_id(&key).await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn session_id(&self, key: &Key) -> Result<Uuid, Error> {
        self.value(
            "SELECT qsessions.session_id(key => $1::text)",
            &[(&key.argument(), Type::TEXT)],
        )
        .await
    }

    /// Begins a session.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] for durations that make no expiry, [`Error::DataTooLarge`],
    /// [`Error::InvalidKey`], and [`Error::KeyExists`] if the key that was given is taken. A user
    /// whom the table of users doesn't have is [`Error::Database`], with the SQLSTATE of a foreign
    /// key.
    ///
    /// ```
    /// use std::time::Duration;
    /// use qsessions::NewSession;
    ///
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// let session = store
    ///     .create(NewSession::new().user("42").idle_timeout(Duration::from_secs(1800)))
    ///     .await?;
    /// let cookie = session.key.expose();
    /// # Ok(())
    /// # }
    /// ```
    pub async fn create(&self, mut session: NewSession) -> Result<CreatedSession, Error> {
        let _begins = session.key.as_ref().and_then(|key| self.begins(key));
        let user_id = session.user_id.as_ref().map(UserId::as_str);
        let key = session.key.as_ref().map(Key::argument);
        let data = session.data.take()?;
        let [ttl, idle_timeout, max_age] = session.expiry.intervals()?;
        self.row(
            // In FROM, the row would be put into a store of tuples first, for a few per cent of the time.
            "SELECT (made).key, (made).id, (made).expires_at FROM (SELECT \
             qsessions.create_session(user_id => $1::text, data => $2::jsonb, ip => $3::inet, \
             user_agent => $4::text, ttl => $5::interval, idle_timeout => $6::interval, \
             max_age => $7::interval, key => $8::text) AS made) AS call",
            &[
                (&user_id, Type::TEXT),
                (&data, Type::JSONB),
                (&session.ip, Type::INET),
                (&session.user_agent, Type::TEXT),
                (&ttl, Type::INTERVAL),
                (&idle_timeout, Type::INTERVAL),
                (&max_age, Type::INTERVAL),
                (&key, Type::TEXT),
            ],
        )
        .await
    }

    /// The live session of a key, or `None`. Reads only, also on a standby: nothing records the
    /// visit.
    ///
    /// With a [cache](crate::StoreBuilder::cache) it usually doesn't leave the process.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, key: qsessions::Key) -> Result<(), qsessions::Error> {
    /// if let Some(session) = store.load(&key).await? {
    ///     println!("theme: {}", session.data["theme"]);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn load(&self, key: &Key) -> Result<Option<Arc<Session>>, Error> {
        match &self.cache {
            Some(cache) => cache.load(key).await,
            None => self.load_uncached(key).await,
        }
    }

    async fn load_uncached(&self, key: &Key) -> Result<Option<Arc<Session>>, Error> {
        self.optional_row(
            concat!(
                "SELECT ",
                session_columns!(),
                " FROM qsessions.load_session(key => $1::text)"
            ),
            &[(&key.argument(), Type::TEXT)],
        )
        .await
        .map(|session| session.map(Arc::new))
    }

    /// The live session of a key, or `None`; and records the visit, which moves a sliding expiry.
    ///
    /// The database writes only when the address or the `User-Agent` has changed, or the setting
    /// `qsessions.touch_interval` has passed since the last write. `None` leaves what is known of
    /// either.
    ///
    /// ```
    /// use std::net::IpAddr;
    /// use std::sync::Arc;
    /// use qsessions::{Error, Key, Session, Store};
    ///
    /// async fn visitor(
    ///     store: &Store,
    ///     cookie: &str,
    ///     peer: IpAddr,
    ///     user_agent: Option<&str>,
    /// ) -> Result<Option<Arc<Session>>, Error> {
    ///     store.resume(&Key::from(cookie), Some(peer), user_agent).await
    /// }
    /// ```
    pub async fn resume(
        &self,
        key: &Key,
        ip: Option<IpAddr>,
        user_agent: Option<&str>,
    ) -> Result<Option<Arc<Session>>, Error> {
        match &self.cache {
            Some(cache) => cache.resume(key, ip, user_agent).await,
            None => self.resume_uncached(key, ip, user_agent).await,
        }
    }

    pub(crate) async fn resume_uncached(
        &self,
        key: &Key,
        ip: Option<IpAddr>,
        user_agent: Option<&str>,
    ) -> Result<Option<Arc<Session>>, Error> {
        self.optional_row(
            concat!(
                "SELECT ",
                session_columns!(),
                " FROM qsessions.resume_session(key => $1::text, ip => $2::inet, \
                 user_agent => $3::text)"
            ),
            &[
                (&key.argument(), Type::TEXT),
                (&ip, Type::INET),
                (&user_agent, Type::TEXT),
            ],
        )
        .await
        .map(|session| session.map(Arc::new))
    }

    /// Whether there is a live session under this key.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, key: qsessions::Key) -> Result<(), qsessions::Error> {
    /// if !store.exists(&key).await? {
    ///     println!("log in, please");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn exists(&self, key: &Key) -> Result<bool, Error> {
        if let Some(cache) = &self.cache {
            match cache.load(key).await {
                // It exists, if its data can be read or not.
                Err(Error::Data(_)) => {}
                session => return Ok(session?.is_some()),
            }
        }
        self.value(
            "SELECT qsessions.session_exists(key => $1::text)",
            &[(&key.argument(), Type::TEXT)],
        )
        .await
    }

    /// Replaces the data of a session, and returns its new version.
    ///
    /// Whoever saves last wins: [`save_with`](Self::save_with) an expected version notices, and
    /// [`patch`](Self::patch) leaves alone what it doesn't name.
    ///
    /// # Errors
    ///
    /// [`Error::SessionNotFound`], because a save must never bring back what a logout has ended;
    /// [`Error::DataTooLarge`]; [`Error::Data`] if the data can't be written as JSON, or is nested too deep to be loaded again.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, key: qsessions::Key) -> Result<(), qsessions::Error> {
    /// let version = store.save(&key, serde_json::json!({ "theme": "dark" })).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn save(&self, key: &Key, data: impl Serialize) -> Result<i64, Error> {
        self.save_with(key, data, Save::new()).await
    }

    /// Replaces the data of a session, if it still has the expected version, and moves its expiry
    /// if told so.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save), and [`Error::VersionConflict`].
    ///
    /// ```
    /// use qsessions::{Error, Key, Save, Store};
    ///
    /// async fn count(store: &Store, key: &Key) -> Result<(), Error> {
    ///     loop {
    ///         let session = store.load(key).await?.ok_or(Error::SessionNotFound)?;
    ///         let mut data = session.data.clone();
    ///         data["visits"] = (data["visits"].as_u64().unwrap_or(0) + 1).into();
    ///         let save = Save::new().expected_version(session.version);
    ///         match store.save_with(key, &data, save).await {
    ///             Err(Error::VersionConflict) => continue,
    ///             result => return result.map(drop),
    ///         }
    ///     }
    /// }
    /// ```
    pub async fn save_with(
        &self,
        key: &Key,
        data: impl Serialize,
        save: Save,
    ) -> Result<i64, Error> {
        let data = wire::json(data)?;
        let ttl = wire::interval("ttl", save.ttl)?;
        let _change = self.changes_session_of(key);
        self.value(
            "SELECT qsessions.save_session(key => $1::text, data => $2::jsonb, \
             expected_version => $3::bigint, ttl => $4::interval)",
            &[
                (&key.argument(), Type::TEXT),
                (&data, Type::JSONB),
                (&save.expected_version, Type::INT8),
                (&ttl, Type::INTERVAL),
            ],
        )
        .await
    }

    /// Sets and removes top-level members of the data, and returns the new version. Patches of
    /// different members all survive, however many run at once.
    ///
    /// # Errors
    ///
    /// [`Error::SessionNotFound`]; [`Error::DataTooLarge`]; [`Error::InvalidArgument`] if the
    /// changes or the data of the session are no object.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, key: qsessions::Key) -> Result<(), qsessions::Error> {
    /// use serde_json::json;
    ///
    /// store.patch(&key, json!({ "theme": "dark" }), &["cart", "coupon"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn patch(
        &self,
        key: &Key,
        changes: impl Serialize,
        remove: &[&str],
    ) -> Result<i64, Error> {
        let changes = wire::json(changes)?;
        let _change = self.changes_session_of(key);
        self.value(
            "SELECT qsessions.patch_session(key => $1::text, changes => $2::jsonb, \
             remove => $3::text[])",
            &[
                (&key.argument(), Type::TEXT),
                (&changes, Type::JSONB),
                (&remove, Type::TEXT_ARRAY),
            ],
        )
        .await
    }

    /// Gives a session another expiry, counted from now, and returns when it ends; `None`: never.
    ///
    /// # Errors
    ///
    /// [`Error::SessionNotFound`]; [`Error::InvalidArgument`] for durations that make no expiry.
    ///
    /// ```
    /// use std::time::Duration;
    /// use qsessions::Expiry;
    ///
    /// # async fn example(store: qsessions::Store, key: qsessions::Key) -> Result<(), qsessions::Error> {
    /// let remember_me = Expiry::ttl(Duration::from_secs(30 * 24 * 3600));
    /// let ends = store.set_expiry(&key, remember_me).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set_expiry(&self, key: &Key, expiry: Expiry) -> Result<Option<SystemTime>, Error> {
        let [ttl, idle_timeout, max_age] = expiry.intervals()?;
        let _change = self.changes_session_of(key);
        let Ends(instant) = self
            .row(
                "SELECT qsessions.set_expiry(key => $1::text, ttl => $2::interval, \
                 idle_timeout => $3::interval, max_age => $4::interval)",
                &[
                    (&key.argument(), Type::TEXT),
                    (&ttl, Type::INTERVAL),
                    (&idle_timeout, Type::INTERVAL),
                    (&max_age, Type::INTERVAL),
                ],
            )
            .await?;
        Ok(instant)
    }
}

/// The one value of `set_expiry`.
struct Ends(Option<SystemTime>);

impl TryFrom<tokio_postgres::Row> for Ends {
    type Error = Error;

    fn try_from(row: tokio_postgres::Row) -> Result<Self, Error> {
        wire::instant(&row, 0).map(Self)
    }
}
