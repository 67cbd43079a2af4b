//! The servers whose changes are heard, and what is known of each.

use std::ops::Index;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::cache::channels::Channels;
use crate::cache::cluster::{Cluster, Server};
use crate::cache::freshness::{Freshness, Moment};
use crate::cache::link::{Link, Origin};
use crate::cache::listen_error::ListenError;
use crate::cache::lock::lock;
use crate::cache::server_time::micros;

/// In place of the index of a station: changes of the server are not heard.
pub(crate) const ELSEWHERE: u8 = u8::MAX;

/// The number of servers that one cache can listen to.
pub(crate) const MOST_STATIONS: usize = 64;

/// What a cache knows of one server. The sessions of a server are answered from memory while its
/// own station is fresh, whatever the others are.
pub(crate) struct Station {
    index: u8,
    /// Which listener it is, if there are several.
    name: Option<String>,
    pub(crate) freshness: Freshness,
    pub(crate) channels: Channels,
    pub(crate) link: watch::Sender<Link>,
    rejection: Mutex<Option<ListenError>>,
    rejected: Notify,
}

impl Station {
    fn new(index: u8, name: Option<String>, freshness: Freshness) -> Self {
        Self {
            index,
            name,
            freshness,
            channels: Channels::default(),
            link: watch::Sender::new(Link::connecting()),
            rejection: Mutex::default(),
            rejected: Notify::new(),
        }
    }

    pub(crate) fn index(&self) -> u8 {
        self.index
    }

    /// Ends the listening connection: the pool does not lead to its server, or not in the way that
    /// was found when it began.
    pub(crate) fn reject(&self, error: ListenError) {
        *lock(&self.rejection) = Some(error);
        self.rejected.notify_one();
    }

    /// Waits for a rejection of the connection that begins now.
    pub(crate) async fn rejected(&self) -> ListenError {
        loop {
            if let Some(error) = lock(&self.rejection).take() {
                return error;
            }
            self.rejected.notified().await;
        }
    }

    /// A new connection begins, of which nothing is known.
    pub(crate) fn forget_rejection(&self) {
        *lock(&self.rejection) = None;
    }

    /// Takes in what the server says of itself. It was asked to at this moment.
    pub(crate) fn check(&self, server: &Server, asked: Moment) -> Result<(), ListenError> {
        self.freshness.server_clock(asked, micros(server.clock));
        if self.channels.add(server.channel.clone()) {
            return Err(ListenError::transient(
                "qsessions.invalidation_channel has changed",
            ));
        }
        Ok(())
    }

    /// With the name of the listener, if there are several.
    pub(crate) fn describe(&self, message: &str) -> String {
        match &self.name {
            Some(name) => format!("{name}: {message}"),
            None => message.to_owned(),
        }
    }
}

/// All servers of a cache: one, or those over which the session table is distributed.
pub(crate) struct Stations {
    stations: Box<[Station]>,
    /// `None`: there is one server, and the pool leads to it.
    pub(crate) cluster: Option<Cluster>,
    /// Held while a station begins, so that no two of them hear the same server.
    beginning: Mutex<()>,
}

impl Index<u8> for Stations {
    type Output = Station;

    fn index(&self, index: u8) -> &Station {
        &self.stations[usize::from(index)]
    }
}

impl Stations {
    /// The server that the pool leads to.
    pub(crate) fn one(max_staleness: Duration) -> Self {
        let freshness = Freshness::new(max_staleness, Instant::now());
        Self {
            stations: [Station::new(0, None, freshness)].into(),
            cluster: None,
            beginning: Mutex::default(),
        }
    }

    /// The servers over which the session table is distributed, by the names of their listeners.
    pub(crate) fn several(names: Vec<String>, max_staleness: Duration) -> Self {
        let began = Instant::now();
        let stations = (0..).zip(names).map(|(index, name)| {
            Station::new(index, Some(name), Freshness::new(max_staleness, began))
        });
        Self {
            stations: stations.collect(),
            cluster: Some(Cluster::default()),
            beginning: Mutex::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.stations.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Station> {
        self.stations.iter()
    }

    #[inline]
    pub(crate) fn now(&self) -> Moment {
        self.stations[0].freshness.now()
    }

    pub(crate) fn max_staleness(&self) -> Duration {
        self.stations[0].freshness.max_staleness()
    }

    /// The stations whose sessions may be given to a request that has come at this moment.
    #[inline]
    pub(crate) fn fresh(&self, now: Moment) -> Fresh {
        let mut fresh = 0;
        for station in &self.stations {
            fresh |= u64::from(station.freshness.suffices(now)) << station.index;
        }
        Fresh(fresh)
    }

    /// What [`fresh`](Self::fresh) is if all are.
    pub(crate) fn all(&self) -> Fresh {
        Fresh(u64::MAX >> (MOST_STATIONS - self.len()))
    }

    /// Whether changes of any server are heard.
    pub(crate) fn is_any_up(&self) -> bool {
        self.iter().any(|station| station.link.borrow().is_up())
    }

    /// The station of the server and database, or [`ELSEWHERE`].
    pub(crate) fn of_origin(&self, origin: &Origin) -> u8 {
        let is_there = |station: &&Station| station.link.borrow().origin() == Some(origin);
        if let Some(station) = self.iter().find(is_there) {
            return station.index;
        }
        if self.cluster.is_none() && self.is_any_up() {
            self.stations[0].reject(ListenError::other_origin(false));
        }
        ELSEWHERE
    }

    /// Changes of a database are heard from now on. Returns false if another station hears them.
    pub(crate) fn begin(&self, station: &Station, origin: Origin) -> bool {
        let _one_at_a_time = lock(&self.beginning);
        if self
            .iter()
            .any(|other| other.link.borrow().origin() == Some(&origin))
        {
            return false;
        }
        station.link.send_replace(Link::Listening {
            origin,
            error: "waiting for a connection of the pool".to_owned(),
        });
        true
    }

    /// The databases that the pool leads to, as far as is known.
    pub(crate) fn origins(&self) -> Vec<Origin> {
        match &self.cluster {
            Some(cluster) => cluster.origins(),
            None => self.stations[0]
                .link
                .borrow()
                .origin()
                .into_iter()
                .cloned()
                .collect(),
        }
    }

    /// Waits until all changes are known that were committed before this moment, or are not heard.
    pub(crate) async fn known_until(&self, moment: Moment) {
        for station in &self.stations {
            let mut link = station.link.subscribe();
            let is_known = |link: &Link| !link.is_up() || station.freshness.reaches(moment);
            // The sender is a part of self, so that it cannot be gone.
            let _ = link.wait_for(is_known).await;
        }
    }

    /// Waits until each station serves, or fails with the reason why one never will.
    pub(crate) async fn ready(&self) -> Result<(), String> {
        for station in &self.stations {
            let mut link = station.link.subscribe();
            let is_decided = |link: &Link| link.is_serving() || link.is_permanently_down();
            let decided = link.wait_for(is_decided).await;
            if let Ok(Link::Down { error, .. }) = decided.as_deref() {
                return Err(station.describe(error));
            }
        }
        Ok(())
    }

    /// How late the latest one is, if all know of changes.
    pub(crate) fn staleness(&self, now: Moment) -> Option<Duration> {
        self.iter()
            .map(|station| station.freshness.staleness(now))
            .max_by_key(|staleness| staleness.unwrap_or(Duration::MAX))?
    }

    /// Why one of them does not answer, or some sessions are not kept.
    pub(crate) fn error(&self) -> Option<String> {
        let error = |station: &Station| {
            let link = station.link.borrow();
            link.error().map(|error| station.describe(error))
        };
        let error = self.iter().find_map(error);
        error.or_else(|| self.cluster.as_ref()?.problem())
    }
}

/// A set of stations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fresh(u64);

impl Fresh {
    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this station is one of them. [`ELSEWHERE`] is not.
    #[inline]
    pub(crate) fn contains(self, station: u8) -> bool {
        usize::from(station) < MOST_STATIONS && self.0 >> station & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stations(count: usize) -> Stations {
        let names = (0..count).map(|n| n.to_string()).collect();
        Stations::several(names, Duration::from_secs(2))
    }

    #[test]
    fn a_station_is_fresh_by_itself() {
        for count in [1, 2, MOST_STATIONS] {
            let stations = stations(count);
            let now = stations.now();
            assert!(stations.fresh(now).is_empty());
            let last = (count - 1) as u8;
            stations[last].freshness.advance_to(now);
            assert!(stations.fresh(now).contains(last));
            assert_eq!(stations.fresh(now) == stations.all(), count == 1);
            assert_eq!(stations.staleness(now).is_some(), count == 1);
            for station in stations.iter() {
                station.freshness.advance_to(now);
            }
            assert_eq!(stations.fresh(now), stations.all());
            assert_eq!(stations.staleness(now), Some(Duration::ZERO));
            assert!(!stations.all().contains(ELSEWHERE));
        }
    }
}
