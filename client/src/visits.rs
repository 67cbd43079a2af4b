//! Visits that an application has gathered, recorded at once.

use std::fmt;
use std::net::IpAddr;
use std::time::SystemTime;

use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use crate::client_hints::ClientHints;
use crate::database::{Database, Executor, Parameter};
use crate::error::Error;
#[cfg(feature = "cache")]
use crate::hooks::Visitor;
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

    #[cfg(feature = "cache")]
    pub(crate) fn of(
        id: Uuid,
        digest: [u8; 32],
        seen_at: SystemTime,
        visitor: Visitor<'_>,
    ) -> Self {
        Self {
            id,
            digest,
            seen_at,
            ip: visitor.ip,
            user_agent: visitor.user_agent.map(str::to_owned),
            client_hints: visitor
                .client_hints
                .filter(|hints| !hints.is_empty())
                .cloned(),
        }
    }

    /// This visit, with what an earlier one of the same session has shown and this one does not.
    #[cfg(feature = "cache")]
    pub(crate) fn after(self, earlier: &Self) -> Self {
        // Hints of another browser do not count.
        let same_browser = self.user_agent.is_none() || self.user_agent == earlier.user_agent;
        let client_hints = match (self.client_hints, &earlier.client_hints) {
            (Some(hints), Some(earlier)) if same_browser => Some(earlier.with(&hints)),
            (None, Some(earlier)) if same_browser => Some(earlier.clone()),
            (hints, _) => hints,
        };
        Self {
            seen_at: self.seen_at.max(earlier.seen_at),
            ip: self.ip.or(earlier.ip),
            user_agent: self.user_agent.or_else(|| earlier.user_agent.clone()),
            client_hints,
            ..self
        }
    }

    /// When the visit was, by a clock that agrees with the server's. A later moment than the
    /// server's counts as the server's, and a visit that is older than the last activity of the
    /// session, by more than `qsessions.touch_interval`, is left out.
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
        let visits: Vec<_> = visits.iter().collect();
        let _changes: Vec<_> = visits
            .iter()
            .map(|visit| self.changes(Some(visit.id)))
            .collect();
        let sql = "SELECT qsessions.record_visits(ids => $1::uuid[], digests => $2::bytea[], \
                   ips => $3::inet[], user_agents => $4::text[], seen_at => $5::timestamptz[], \
                   client_hints => $6::jsonb[])";
        let recorded = record(&self.database, sql, &visits, |row| Ok(row.try_get(0)?)).await?;
        Ok(recorded.into_iter().map(i64::unsigned_abs).sum())
    }
}

/// Sends a statement with the arguments of `record_visits`.
pub(crate) async fn record<E: Executor, T>(
    database: &Database<E>,
    sql: &str,
    visits: &[&Visit],
    read: impl Fn(&Row) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    fn column<'a, T>(visits: &[&'a Visit], of: impl Fn(&'a Visit) -> T) -> Vec<T> {
        visits.iter().map(|visit| of(visit)).collect()
    }
    let ids = column(visits, |visit| visit.id);
    let digests = column(visits, |visit| visit.digest.as_slice());
    let ips = column(visits, |visit| visit.ip);
    let user_agents = column(visits, |visit| visit.user_agent.as_deref());
    let seen_at = column(visits, |visit| visit.seen_at);
    let client_hints: Vec<Option<Json<&ClientHints>>> = column(visits, |visit| {
        ClientHints::argument(visit.client_hints.as_ref())
    });
    let parameters: &[Parameter<'_>] = &[
        (&ids, Type::UUID_ARRAY),
        (&digests, Type::BYTEA_ARRAY),
        (&ips, Type::INET_ARRAY),
        (&user_agents, Type::TEXT_ARRAY),
        (&seen_at, Type::TIMESTAMPTZ_ARRAY),
        (&client_hints, Type::JSONB_ARRAY),
    ];
    database.rows(sql, parameters, read).await
}
