//! What is known of the request that the current task handles.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderMap;
use http::header::USER_AGENT;
use qsessions::{ClientHints, SessionData, UserId, Uuid};
use tokio::task::futures::TaskLocalFuture;

use crate::data::Data;

tokio::task_local! {
    static REQUEST: Arc<Request>;
}

/// A request, with the sessions that it has loaded.
///
/// Code that runs in other tasks, such as those that a handler spawns, does not see it.
pub struct Request {
    pub(crate) ip: Option<IpAddr>,
    pub(crate) user_agent: Option<String>,
    pub(crate) client_hints: ClientHints,
    sessions: Mutex<HashMap<Uuid, Known>>,
}

/// A session as a request knows it.
pub(crate) struct Known {
    /// The data that the request was given, or has saved.
    pub(crate) given: Arc<Data>,
    /// The data in the database at `version`. It differs from `given` if other requests have
    /// changed it.
    pub(crate) stored: Arc<Data>,
    pub(crate) version: i64,
    /// The user that the session belongs to. It stays the same as long as the session has its key.
    pub(crate) user_id: Option<UserId>,
}

impl Known {
    /// A session that was just loaded.
    pub(crate) fn of(session: &SessionData, data: Data) -> Self {
        let data = Arc::new(data);
        Self {
            given: Arc::clone(&data),
            stored: data,
            version: session.version,
            user_id: session.user_id.as_ref().map(UserId::from),
        }
    }
}

impl Request {
    pub(crate) fn new(ip: Option<IpAddr>, headers: &HeaderMap) -> Self {
        let user_agent = headers.get(USER_AGENT);
        Self {
            ip,
            user_agent: user_agent
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            client_hints: headers.iter().collect(),
            sessions: Mutex::default(),
        }
    }

    /// The request of this task, if a [`VisitorLayer`](crate::VisitorLayer) is around it.
    pub(crate) fn current() -> Option<Arc<Self>> {
        REQUEST.try_with(Arc::clone).ok()
    }

    /// Runs a future as part of this request.
    pub(crate) fn scope<F: Future>(self, future: F) -> TaskLocalFuture<Arc<Self>, F> {
        REQUEST.scope(Arc::new(self), future)
    }

    pub(crate) fn remember(&self, id: Uuid, known: Known) {
        self.sessions().insert(id, known);
    }

    /// Takes out what is known of a session. Another save of the same session in this request then
    /// knows nothing of it until this one remembers what it has saved.
    pub(crate) fn take(&self, id: Uuid) -> Option<Known> {
        self.sessions().remove(&id)
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<Uuid, Known>> {
        // Each change is one operation of the map.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows neither data nor where the request comes from.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").finish_non_exhaustive()
    }
}
