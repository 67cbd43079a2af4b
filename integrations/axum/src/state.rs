//! What a request knows of its session, and what it has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use qsessions::{Key, NewSession, Session as Record, Uuid};
use serde_json::{Map, Value};

/// Members of the data by name. `None` is one that is removed.
pub(crate) type Changes = BTreeMap<String, Option<Value>>;

/// What the response does with the cookie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum CookieChange {
    #[default]
    None,
    /// The browser gets the present key.
    Set,
    /// The browser gets the key that it has sent again, for longer.
    Prolong,
    Remove,
}

impl CookieChange {
    /// Whether the browser must not miss it.
    pub(crate) fn is_new(self) -> bool {
        matches!(self, Self::Set | Self::Remove)
    }
}

/// The id of the session, and when it expires.
#[derive(Debug)]
struct Told {
    id: Uuid,
    expires_at: Option<SystemTime>,
}

/// The session as one request sees it.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// What the browser has sent, until the session is resumed by it.
    pub(crate) sent_key: Option<Key>,
    /// `None`: there is no session, or it has ended.
    pub(crate) key: Option<Key>,
    /// What a call of this request has told of the session. It is later than the record.
    told: Option<Told>,
    /// The user of a login of this request.
    login: Option<String>,
    /// The session as it was loaded.
    record: Option<Record>,
    /// Changes of this request that are saved, over the record.
    saved: Changes,
    /// Changes of this request that are not saved yet, over those.
    pending: Changes,
    pub(crate) cookie: CookieChange,
    /// The secret for the forms of a browser without a session, if the response has to set it.
    pub(crate) new_csrf_secret: Option<String>,
    pub(crate) is_head_sent: bool,
}

impl State {
    /// The session was resumed. Nothing of the record is read here: few requests need its id or its
    /// expiry, and what a cache has may be far from the processor.
    pub(crate) fn load(&mut self, key: Option<Key>, record: Record) {
        self.key = key;
        self.record = Some(record);
    }

    pub(crate) fn id(&self) -> Option<Uuid> {
        match &self.told {
            Some(told) => Some(told.id),
            None => self.record.as_ref().map(|record| record.id),
        }
    }

    pub(crate) fn expires_at(&self) -> Option<SystemTime> {
        match &self.told {
            Some(told) => told.expires_at,
            None => self.record.as_ref()?.expires_at,
        }
    }

    pub(crate) fn set_expires_at(&mut self, expires_at: Option<SystemTime>) {
        self.told = self.id().map(|id| Told { id, expires_at });
    }

    pub(crate) fn user_id(&self) -> Option<&str> {
        let login = self.login.as_deref();
        login.or_else(|| self.record.as_ref()?.user_id.as_deref())
    }

    pub(crate) fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        match self.change(name) {
            Some(change) => change.as_ref(),
            None => self.record.as_ref()?.data.get(name),
        }
    }

    /// What this request has made of a member, if it has changed it. `Some(None)`: it was removed.
    pub(crate) fn change(&self, name: &str) -> Option<&Option<Value>> {
        self.pending.get(name).or_else(|| self.saved.get(name))
    }

    pub(crate) fn names(&self) -> BTreeSet<String> {
        let data = self
            .record
            .as_ref()
            .and_then(|record| record.data.as_object());
        let mut names: BTreeSet<String> = data.into_iter().flat_map(Map::keys).cloned().collect();
        for (name, change) in self.saved.iter().chain(&self.pending) {
            match change {
                Some(_) => names.insert(name.clone()),
                None => names.remove(name),
            };
        }
        names
    }

    /// Changes a member. What it is already is not written again, so that a request that changes
    /// nothing does not undo what others do meanwhile.
    pub(crate) fn set(&mut self, name: String, value: Option<Value>) {
        self.pending.remove(&name);
        if self.get(&name) != value.as_ref() {
            self.pending.insert(name, value);
        }
    }

    pub(crate) fn has_changes(&self) -> bool {
        match self.key {
            Some(_) => !self.pending.is_empty(),
            // There is nothing to remove from a session that does not exist.
            None => self.pending.values().any(Option::is_some),
        }
    }

    pub(crate) fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.pending)
    }

    /// Takes changes back that could not be saved. What was changed since then is newer.
    pub(crate) fn restore_changes(&mut self, mut changes: Changes) {
        changes.append(&mut self.pending);
        self.pending = changes;
    }

    pub(crate) fn changes_are_saved(&mut self, mut changes: Changes) {
        self.saved.append(&mut changes);
    }

    /// The session has begun, or goes on under a new key.
    pub(crate) fn open(&mut self, session: NewSession) {
        if self.id() != Some(session.id) {
            self.forget_data();
        }
        self.key = Some(session.key);
        self.told = Some(Told {
            id: session.id,
            expires_at: session.expires_at,
        });
        self.cookie = CookieChange::Set;
    }

    /// A user has logged in. A change that was made in the session of another user does not become
    /// part of the new one.
    pub(crate) fn open_for(&mut self, user_id: &str, session: NewSession) {
        let is_another = self.user_id().is_some_and(|former| former != user_id);
        if is_another {
            self.pending.clear();
        }
        self.open(session);
        self.login = Some(user_id.to_owned());
    }

    /// The session has ended.
    pub(crate) fn close(&mut self, cookie: CookieChange) {
        self.forget_data();
        self.pending.clear();
        self.key = None;
        self.told = None;
        self.login = None;
        self.cookie = cookie;
    }

    fn forget_data(&mut self) {
        self.record = None;
        self.saved.clear();
    }
}

/// The members to set and those to remove, as `patch_session` takes them.
pub(crate) fn split(changes: &Changes) -> (Map<String, Value>, Vec<&str>) {
    let set = changes.iter().filter_map(|(name, value)| {
        let value = value.as_ref()?;
        Some((name.clone(), value.clone()))
    });
    let removed = changes.iter().filter(|(_, value)| value.is_none());
    (
        set.collect(),
        removed.map(|(name, _)| name.as_str()).collect(),
    )
}
