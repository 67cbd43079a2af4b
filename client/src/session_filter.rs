use uuid::Uuid;

use crate::UserId;

/// Which sessions [`Store::list_sessions`](crate::Store::list_sessions) lists: all, unless
/// narrowed.
///
/// ```
/// use qsessions::SessionFilter;
///
/// let suspicious = SessionFilter::new().active(true).network("192.0.2.0/24");
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct SessionFilter {
    pub(crate) user_id: Option<UserId>,
    pub(crate) active: Option<bool>,
    pub(crate) network: Option<String>,
    pub(crate) after: Option<Uuid>,
    pub(crate) max_rows: Option<i32>,
}

impl SessionFilter {
    /// All sessions.
    ///
    /// ```
    /// let all = qsessions::SessionFilter::new();
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Only those of a user.
    ///
    /// ```
    /// let of_one_user = qsessions::SessionFilter::new().user(42);
    /// ```
    pub fn user(mut self, user_id: impl Into<UserId>) -> Self {
        self.user_id = Some(user_id.into());
        self
    }

    /// Only those alive, or only those dead and not purged yet.
    ///
    /// ```
    /// let dead = qsessions::SessionFilter::new().active(false);
    /// ```
    pub fn active(mut self, active: bool) -> Self {
        self.active = Some(active);
        self
    }

    /// Only those last seen from this address or network, in PostgreSQL's notation for `inet`. The
    /// addresses of `std::net` and the networks of every crate for them print so.
    ///
    /// ```
    /// # use std::net::Ipv6Addr;
    /// # use qsessions::SessionFilter;
    /// let of_a_network = SessionFilter::new().network("2001:db8::/32");
    /// let of_an_address = SessionFilter::new().network(Ipv6Addr::LOCALHOST);
    /// ```
    pub fn network(mut self, network: impl ToString) -> Self {
        self.network = Some(network.to_string());
        self
    }

    /// Only those after this one in the list: the next page after the one that ended with this id.
    ///
    /// ```
    /// # use qsessions::{SessionFilter, SessionInfo};
    /// fn next_page(page: &[SessionInfo]) -> Option<SessionFilter> {
    ///     Some(SessionFilter::new().after(page.last()?.id))
    /// }
    /// ```
    pub fn after(mut self, id: Uuid) -> Self {
        self.after = Some(id);
        self
    }

    /// The length of a page, 100 if not given.
    ///
    /// ```
    /// let short = qsessions::SessionFilter::new().max_rows(20);
    /// ```
    pub fn max_rows(mut self, max_rows: i32) -> Self {
        self.max_rows = Some(max_rows);
        self
    }
}
