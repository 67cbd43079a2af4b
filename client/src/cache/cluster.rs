//! What is known of the servers over which the session table is distributed.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::SystemTime;

use crate::cache::link::Origin;
use crate::cache::lock::lock;

/// One row of the answer, for one server.
pub(crate) struct Answer {
    /// The database that the pool leads to.
    pub(crate) pool: Origin,
    /// The address of the server, if the pool's server asks others.
    pub(crate) name: Option<String>,
    pub(crate) has_sessions: bool,
    /// `None`: it could not be asked.
    pub(crate) server: Option<Server>,
}

/// What a server that has announced a probe says of itself.
pub(crate) struct Server {
    pub(crate) origin: Origin,
    pub(crate) channel: String,
    pub(crate) clock: SystemTime,
    /// The SHA-256 of the text of the id that is sent.
    pub(crate) digest: Vec<u8>,
    /// Where which sessions are, as this server knows it. The same on all servers unless sessions
    /// are being moved.
    pub(crate) layout: Option<String>,
    /// Of those of all servers, one changes whenever sessions are moved.
    pub(crate) placements: Option<String>,
}

#[derive(Default)]
pub(crate) struct Cluster(Mutex<State>);

#[derive(Default)]
struct State {
    /// Where which sessions are, as all servers have last said. `None`: they did not agree.
    layout: Option<Places>,
    /// The databases that the pool and its server lead to.
    origins: Vec<Origin>,
    problem: Option<String>,
}

/// A layout, and the placements that any server has told.
type Places = (String, BTreeSet<String>);

/// What an answer of the servers shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// No session has been moved since the last answer.
    Same,
    /// Sessions may have been moved, and are now where all servers say.
    Changed,
    /// Sessions are being moved: some servers know of it, and others do not.
    Changing,
}

impl Cluster {
    pub(crate) fn origins(&self) -> Vec<Origin> {
        lock(&self.0).origins.clone()
    }

    /// Why some sessions are not kept.
    pub(crate) fn problem(&self) -> Option<String> {
        lock(&self.0).problem.clone()
    }

    /// Takes in an answer. `is_heard` tells whether there is a listener for a server.
    pub(crate) fn take_in(&self, answers: &[Answer], is_heard: impl Fn(&Origin) -> bool) -> Layout {
        let servers = || answers.iter().filter_map(|answer| answer.server.as_ref());
        let layouts: BTreeSet<_> = servers()
            .filter_map(|server| server.layout.as_ref())
            .collect();
        let unheard: Vec<_> = answers
            .iter()
            .filter(|answer| answer.has_sessions)
            .filter_map(|answer| Some((answer.name.as_deref()?, answer.server.as_ref()?)))
            .filter(|(_, server)| !is_heard(&server.origin))
            .map(|(name, _)| name)
            .collect();
        let mut state = lock(&self.0);
        state.problem = (!unheard.is_empty()).then(|| {
            let servers = unheard.join(", ");
            format!("no listener is connected to {servers}: the sessions there are not cached")
        });
        if servers().any(|server| is_heard(&server.origin)) {
            state.origins = servers().map(|server| server.origin.clone()).collect();
            state
                .origins
                .extend(answers.first().map(|answer| answer.pool.clone()));
        }
        // Not distributed, all of them are where the pool leads.
        let layout = match layouts.len() {
            0 => Some(format!("{:?}", answers.first().map(|answer| &answer.pool))),
            1 => layouts.first().map(|layout| (*layout).clone()),
            _ => None,
        };
        let placements = || servers().filter_map(|server| server.placements.clone());
        let layout = layout.map(|layout| (layout, placements().collect()));
        if layout.is_none() {
            state.layout = None;
            state.problem = Some("sessions are being moved between servers".to_owned());
            Layout::Changing
        } else if state.layout == layout {
            Layout::Same
        } else {
            state.layout = layout;
            Layout::Changed
        }
    }
}
