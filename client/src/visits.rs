//! Visits that an application has gathered, recorded at once.

use std::fmt;
use std::net::IpAddr;
use std::time::SystemTime;

use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use crate::client_hints::ClientHints;
use crate::database::Executor;
use crate::error::Error;
use crate::key::Key;
use crate::store::Store;

/// A visit to a session, for [`Store::record_visits`]. It holds no key.
///
/// ```
/// use std::net::IpAddr;
/// use qsessions::{Key, Visit};
///
/// fn remember(gathered: &mut Vec<Visit>, key: &Key, peer: IpAddr) {
///     gathered.extend(Visit::new(key).map(|visit| visit.ip(peer)));
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct Visit {
    id: Uuid,
    digest: [u8; 32],
    seen_at: SystemTime,
    ip: Option<IpAddr>,
    user_agent: Option<String>,
    client_hints: Option<ClientHints>,
}

impl Visit {
    /// A visit at this moment with this key. `None` if no session can have the key.
    #[must_use]
    pub fn new(key: &Key) -> Option<Self> {
        let (id, digest) = key.identify()?;
        Some(Self {
            id,
            digest,
            seen_at: SystemTime::now(),
            ip: None,
            user_agent: None,
            client_hints: None,
        })
    }

    /// When the visit was, by a clock that agrees with the server's. A later moment than the
    /// server's counts as the server's, and a visit before the last one that the session knows is
    /// left out.
    pub fn seen_at(mut self, instant: SystemTime) -> Self {
        self.seen_at = instant;
        self
    }

    /// The address that the visitor comes from. Without it, the last known address stays.
    pub fn ip(mut self, ip: impl Into<Option<IpAddr>>) -> Self {
        self.ip = ip.into();
        self
    }

    /// The `User-Agent` header. Without it, the last known one stays.
    pub fn user_agent<'a>(mut self, user_agent: impl Into<Option<&'a str>>) -> Self {
        self.user_agent = user_agent.into().map(str::to_owned);
        self
    }

    /// The client hints that the browser has sent beside the `User-Agent`.
    pub fn client_hints(mut self, hints: impl Into<Option<ClientHints>>) -> Self {
        self.client_hints = hints.into();
        self
    }
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visit")
            .field("id", &self.id)
            .field("seen_at", &self.seen_at)
            .finish_non_exhaustive()
    }
}

impl<E: Executor> Store<E> {
    /// Records visits as [`resume`](Self::resume) records each of them, in one statement, and
    /// returns how many sessions were written.
    ///
    /// An application can [load](Self::load) sessions during requests, gather the visits, and
    /// record them once in a while. The visit of a session that has ended, that another transaction
    /// is changing at this moment, or whose key was rotated, is left out.
    ///
    /// ```
    /// use qsessions::{Error, Store, Visit};
    ///
    /// async fn flush(store: &Store, gathered: &mut Vec<Visit>) -> Result<u64, Error> {
    ///     let recorded = store.record_visits(gathered).await?;
    ///     gathered.clear();
    ///     Ok(recorded)
    /// }
    /// ```
    pub async fn record_visits(&self, visits: &[Visit]) -> Result<u64, Error> {
        fn column<'a, T>(visits: &'a [Visit], of: impl Fn(&'a Visit) -> T) -> Vec<T> {
            visits.iter().map(of).collect()
        }
        let ids = column(visits, |visit| visit.id);
        let digests = column(visits, |visit| visit.digest.as_slice());
        let ips = column(visits, |visit| visit.ip);
        let user_agents = column(visits, |visit| visit.user_agent.as_deref());
        let seen_at = column(visits, |visit| visit.seen_at);
        let client_hints: Vec<Option<Json<&ClientHints>>> = column(visits, |visit| {
            ClientHints::argument(visit.client_hints.as_ref())
        });
        let _changes = column(visits, |visit| self.changes(Some(visit.id)));
        self.database
            .count(
                "SELECT qsessions.record_visits(ids => $1::uuid[], digests => $2::bytea[], \
                 ips => $3::inet[], user_agents => $4::text[], seen_at => $5::timestamptz[], \
                 client_hints => $6::jsonb[])",
                &[
                    (&ids, Type::UUID_ARRAY),
                    (&digests, Type::BYTEA_ARRAY),
                    (&ips, Type::INET_ARRAY),
                    (&user_agents, Type::TEXT_ARRAY),
                    (&seen_at, Type::TIMESTAMPTZ_ARRAY),
                    (&client_hints, Type::JSONB_ARRAY),
                ],
            )
            .await
    }
}
