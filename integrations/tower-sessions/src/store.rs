//! The store, as far as it does not depend on the version of tower-sessions.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use qsessions::deadpool_postgres::Pool;
use qsessions::{Error, Executor, Key, Store, UserId};
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::data::{Changes, Data, members};
use crate::request::{Known, Request};
use crate::user::{AXUM_LOGIN_DATA, axum_login_user};

/// Tells a call where the request comes from.
macro_rules! seen_in {
    ($request:ident, $call:ident) => {
        $call
            .ip($request.ip)
            .user_agent($request.user_agent.as_deref())
            .client_hints(&$request.client_hints)
    };
}

type FindUser = dyn Fn(&Data) -> Option<UserId> + Send + Sync;

/// The sessions of tower-sessions in a [`Store`] of qsessions, with or without a cache.
///
/// It implements the traits `SessionStore` and `ExpiredDeletion` of each enabled version of
/// tower-sessions.
///
/// # Sessions
///
/// - The id that the cookie holds is the key of the session. The table keeps only its SHA-256.
/// - A new session always gets a new id. An id that a browser has sent never begins a session, also
///   not after `flush`.
/// - A save never brings back a session that has ended, for example because the user was logged out
///   everywhere while a request was under way. It is an error: `Session::save` returns it, and the
///   layer of tower-sessions answers with status 500. The next request of that browser has no
///   session. An expiry in the past ends the session.
/// - Each load records the visit: the time and, with a [`VisitorLayer`](crate::VisitorLayer) around
///   the request, the address and the browser. Loads do not move the expiry. tower-sessions sets it
///   whenever it saves.
///
/// # Users
///
/// A session belongs to the user that axum-login has logged in, or that
/// [`user_id`](Self::user_id) finds in its data. So it is in the user's list, `revoke_user_sessions`
/// ends it, and it is deleted together with the user.
///
/// `cycle_id` ends the session and begins another one with the same data. Its public id and its
/// time of creation are new, and the address and the browser are those of the request. If the
/// request then fails with a status of 500 or more, tower-sessions does not save the other one.
///
/// A session stays its user's as long as it has the same id. To save it for another user is an
/// error, because an attacker who knew the id before the login would know it afterwards: call `cycle_id` or
/// `flush` first. axum-login does it at the login of an anonymous visitor.
#[must_use]
pub struct QsessionsStore<E = Pool> {
    store: Store<E>,
    user_id: Arc<FindUser>,
    max_sessions: Option<u32>,
}

impl<E: Executor> QsessionsStore<E> {
    /// The sessions in this store.
    ///
    /// ```
    /// use qsessions::{CachedStore, Store};
    /// use qsessions_tower_sessions::QsessionsStore;
    ///
    /// # fn example(store: Store, cached: CachedStore) {
    /// let sessions = QsessionsStore::new(store);
    /// let cached_sessions = QsessionsStore::new(cached);
    /// # }
    /// ```
    pub fn new(store: Store<E>) -> Self {
        Self {
            store,
            user_id: Arc::new(|data| axum_login_user(data, AXUM_LOGIN_DATA)),
            max_sessions: None,
        }
    }

    /// Finds the user of a session in its data by this function. Without it, the user is the one
    /// that axum-login has written there under its default data key.
    ///
    /// ```
    /// use qsessions_tower_sessions::{QsessionsStore, axum_login_user};
    ///
    /// # fn example(store: qsessions::Store) {
    /// // After `AuthManagerLayerBuilder::with_data_key("shop.login")`.
    /// let sessions = QsessionsStore::new(store.clone())
    ///     .user_id(|data| axum_login_user(data, "shop.login"));
    ///
    /// // After `session.insert("user", 42)`.
    /// let sessions = QsessionsStore::new(store)
    ///     .user_id(|data| Some(data.get("user")?.as_i64()?.into()));
    /// # }
    /// ```
    pub fn user_id<F>(mut self, find: F) -> Self
    where
        F: Fn(&Data) -> Option<UserId> + Send + Sync + 'static,
    {
        self.user_id = Arc::new(find);
        self
    }

    /// How many sessions a user may have. When another one begins with the user in its data, as it
    /// does with each login of axum-login, those beyond this number that were not seen for the
    /// longest time are revoked in the same transaction.
    ///
    /// ```
    /// use qsessions_tower_sessions::QsessionsStore;
    ///
    /// # fn example(store: qsessions::Store) {
    /// let sessions = QsessionsStore::new(store).max_sessions(10);
    /// # }
    /// ```
    pub fn max_sessions(mut self, max_sessions: u32) -> Self {
        self.max_sessions = Some(max_sessions);
        self
    }

    /// The store of qsessions, for lists of sessions and for revocation.
    pub fn store(&self) -> &Store<E> {
        &self.store
    }

    /// Begins a session with this key, unless it would have expired already.
    pub(crate) async fn begin(
        &self,
        key: &Key,
        data: &Data,
        expiry: OffsetDateTime,
    ) -> Result<(), Error> {
        let Some(ttl) = time_left(expiry) else {
            return Ok(());
        };
        let mut call = self.store.create().key(key).data(data).ttl(ttl);
        if let Some(user_id) = (self.user_id)(data) {
            call = call.user(user_id).max_sessions(self.max_sessions);
        }
        let request = Request::current();
        if let Some(request) = &request {
            call = seen_in!(request, call);
        }
        call.await?;
        Ok(())
    }

    /// The data of a live session and when it expires.
    pub(crate) async fn find(&self, key: &Key) -> Result<Option<(Data, OffsetDateTime)>, Error> {
        let request = Request::current();
        let mut call = self.store.resume(key);
        if let Some(request) = &request {
            call = seen_in!(request, call);
        }
        let Some(session) = call.await? else {
            return Ok(None);
        };
        let data = members(&session);
        if let Some(request) = request {
            request.remember(session.id, Known::of(&session, data.clone()));
        }
        Ok(Some((data, expiry(session.expires_at))))
    }

    /// Saves a live session. If this request has loaded it, only the members that have changed
    /// since are changed in the database.
    pub(crate) async fn replace(
        &self,
        key: &Key,
        data: &Data,
        expiry: OffsetDateTime,
    ) -> Result<(), Error> {
        let Some(ttl) = time_left(expiry) else {
            return self.end(key).await;
        };
        let user_id = (self.user_id)(data);
        let request = Request::current();
        let known = key.id().zip(request).and_then(|(id, request)| {
            let known = request.take(id)?;
            Some((id, request, known))
        });
        let Some((id, request, mut known)) = known else {
            self.save(key, data, ttl, user_id, None).await?;
            return Ok(());
        };
        let new_user = user_id.filter(|user_id| known.user_id.as_ref() != Some(user_id));
        let changes = Changes::between(&known.given, data);
        loop {
            let merged = changes.apply(&known.stored);
            let (user_id, version) = (new_user.clone(), Some(known.version));
            match self.save(key, &merged, ttl, user_id, version).await {
                Ok(version) => {
                    let known = Known {
                        given: Arc::new(data.clone()),
                        stored: Arc::new(merged),
                        version,
                        user_id: new_user.or(known.user_id),
                    };
                    request.remember(id, known);
                    return Ok(());
                }
                // Another request has saved in the meantime.
                Err(Error::VersionConflict) => {
                    let session = self.store.load(key).await?.ok_or(Error::SessionNotFound)?;
                    known.stored = Arc::new(members(&session));
                    known.version = session.version;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn save(
        &self,
        key: &Key,
        data: &Data,
        ttl: Duration,
        user_id: Option<UserId>,
        version: Option<i64>,
    ) -> Result<i64, Error> {
        let mut call = self.store.save(key, data).ttl(ttl);
        if let Some(user_id) = user_id {
            call = call.user(user_id);
        }
        if let Some(version) = version {
            call = call.expected_version(version);
        }
        call.await
    }

    pub(crate) async fn end(&self, key: &Key) -> Result<(), Error> {
        self.store.logout(key).await.map(drop)
    }

    pub(crate) async fn purge(&self) -> Result<(), Error> {
        while self.store.purge_expired().await? > 0 {}
        Ok(())
    }
}

impl<E> Clone for QsessionsStore<E>
where
    Store<E>: Clone,
{
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            user_id: Arc::clone(&self.user_id),
            max_sessions: self.max_sessions,
        }
    }
}

impl<E> fmt::Debug for QsessionsStore<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QsessionsStore")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// How long it is until this instant, if the database would notice it.
fn time_left(expiry: OffsetDateTime) -> Option<Duration> {
    let left = Duration::try_from(expiry - OffsetDateTime::now_utc()).ok()?;
    (left >= Duration::from_micros(1)).then_some(left)
}

/// The expiry as `time` can hold it, which is not beyond the year 9999.
fn expiry(expires_at: Option<SystemTime>) -> OffsetDateTime {
    let last = PrimitiveDateTime::MAX.assume_utc();
    let Some(since_epoch) =
        expires_at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok())
    else {
        return last;
    };
    let seconds = i64::try_from(since_epoch.as_secs()).ok();
    let whole = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    whole.map_or(last, |whole| {
        whole + Duration::from_nanos(since_epoch.subsec_nanos().into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_beyond_the_year_9999_is_the_last_instant_of_it() {
        let last = PrimitiveDateTime::MAX.assume_utc();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(expiry(None), last);
        assert_eq!(expiry(Some(at(253_402_300_800))), last);
        let before = last.replace_nanosecond(0).unwrap();
        assert_eq!(expiry(Some(at(253_402_300_799))), before);
        assert_eq!(
            expiry(Some(SystemTime::UNIX_EPOCH)),
            OffsetDateTime::UNIX_EPOCH
        );
    }

    #[test]
    fn an_instant_that_has_passed_leaves_no_time() {
        let now = OffsetDateTime::now_utc();
        assert_eq!(time_left(now - Duration::from_secs(1)), None);
        assert_eq!(time_left(PrimitiveDateTime::MIN.assume_utc()), None);
        assert!(time_left(now + Duration::from_secs(60)).is_some());
        assert!(time_left(PrimitiveDateTime::MAX.assume_utc()).is_some());
    }
}
