//! Asks all servers of a distributed session table for heartbeats, through the pool.
//!
//! One statement asks the server of the pool, which asks the others. So what a listener hears shows
//! that the way of this process's statements leads to its server. The answer also tells where the
//! sessions are: a session that has been moved is announced by another server from then on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use uuid::Uuid;

use crate::cache::cluster::{Answer, Cluster, Layout};
use crate::cache::core::Cache;
use crate::cache::freshness::Moment;
use crate::cache::link::{Link, Origin};
use crate::cache::listen_error::ListenError;
use crate::cache::listener::delivery::Delivery;
use crate::cache::listener::prober::{
    FIRST_PROBE_TIMEOUT, FIRST_STATEMENT_TIMEOUT, LOST_PAUSE, POOL_PAUSE, notice_silence,
    silence_patience,
};
use crate::cache::listener::sending::{self, Kind, pool_patience};
use crate::cache::listener::subscription::{Probe, Subscription};
use crate::cache::lock::lock;
use crate::cache::log;
use crate::cache::station::{ELSEWHERE, Station};
use crate::error::Error;

/// What is heard from each server, by the index of its station.
#[derive(Default)]
pub(crate) struct RollCall(Mutex<HashMap<u8, Weak<Subscription>>>);

impl RollCall {
    /// From now on, the server of this station is asked for heartbeats.
    pub(crate) fn enter(&self, station: &Station, subscription: &Arc<Subscription>) {
        lock(&self.0).insert(station.index(), Arc::downgrade(subscription));
    }

    fn subscription(&self, station: &Station) -> Option<Arc<Subscription>> {
        lock(&self.0).get(&station.index())?.upgrade()
    }
}

/// Asks until the task is aborted.
pub(crate) async fn run(cache: Arc<Cache>, roll_call: Arc<RollCall>, interval: Duration) {
    let Some(cluster) = &cache.stations.cluster else {
        return;
    };
    let pool = cache.database.executor.clone();
    let mut delivery = Delivery::new(pool, pool_patience(interval));
    let usual = Kind::usual(interval);
    let mut ticks = interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let kind = tokio::select! {
            () = cache.probe_wanted.notified() => Kind::Own,
            () = cache.probe_lost.notified() => {
                sleep(LOST_PAUSE.min(interval)).await;
                usual
            }
            _ = ticks.tick() => usual,
        };
        if let Err(error) = call(&cache, &roll_call, cluster, &mut delivery, kind).await {
            fail(&cache, &error).await;
        }
    }
}

/// A station that waits for an answer.
struct Caller<'a> {
    station: &'a Station,
    subscription: Arc<Subscription>,
    sent: Moment,
}

async fn call(
    cache: &Cache,
    roll_call: &RollCall,
    cluster: &Cluster,
    delivery: &mut Delivery,
    kind: Kind,
) -> Result<(), Error> {
    if !cache.stations.is_any_up() {
        return Ok(());
    }
    let connection = delivery.connection().await?;
    // After the connection was got: the answer shows all that was committed before this moment.
    let callers: Vec<_> = cache
        .stations
        .iter()
        .filter_map(|station| {
            let subscription = roll_call.subscription(station)?;
            let sent = subscription.new_request();
            Some(Caller {
                station,
                subscription,
                sent,
            })
        })
        .collect();
    let probe = match kind {
        Kind::Own => Some(Uuid::new_v4()),
        Kind::Shared => None,
    };
    let asking = sending::ask(&connection, cache.database.statements, probe, true);
    let Ok(answers) = timeout(FIRST_STATEMENT_TIMEOUT, asking).await else {
        // One of the servers may hang. Nothing else should wait for that on this connection.
        if connection.give_up() {
            delivery.drop_spare();
        }
        return Ok(());
    };
    take_in(cache, roll_call, cluster, &callers, &answers?, kind);
    Ok(())
}

fn take_in(
    cache: &Cache,
    roll_call: &RollCall,
    cluster: &Cluster,
    callers: &[Caller<'_>],
    answers: &[Answer],
    kind: Kind,
) {
    let is_heard = |origin: &Origin| cache.stations.of_origin(origin) != ELSEWHERE;
    // Before anything counts as known: the entries of sessions that were moved are dropped.
    let layout = cluster.take_in(answers, is_heard);
    if layout != Layout::Same {
        cache.entries.drop_all();
    }
    for caller in callers {
        let Some(origin) = caller.station.link.borrow().origin().cloned() else {
            continue;
        };
        // The connection may have ended since, and another one may have begun.
        let current = roll_call.subscription(caller.station);
        if !current.is_some_and(|current| Arc::ptr_eq(&current, &caller.subscription)) {
            continue;
        }
        let is_its = |answer: &&Answer| {
            let server = answer.server.as_ref();
            server.is_some_and(|server| server.origin == origin)
        };
        let answer = answers.iter().find(is_its);
        match answer.and_then(|answer| answer.server.as_ref()) {
            None => reject(caller.station, answers),
            Some(server) => {
                if let Err(error) = caller.station.check(server, caller.sent) {
                    caller.station.reject(error);
                } else if layout != Layout::Changing {
                    let digest = server.digest.clone();
                    let awaited = match kind {
                        Kind::Own => Probe::OfServer(digest),
                        Kind::Shared => Probe::Heartbeat(digest),
                    };
                    caller.subscription.requested(&awaited, caller.sent);
                }
            }
        }
    }
}

/// The server of this station is not among those that have answered.
fn reject(station: &Station, answers: &[Answer]) {
    let silent: Vec<_> = answers
        .iter()
        .filter(|answer| answer.server.is_none())
        .filter_map(|answer| answer.name.as_deref())
        .collect();
    if silent.is_empty() {
        let is_serving = station.link.borrow().is_serving();
        station.reject(ListenError::not_in_cluster(!is_serving));
    } else {
        let message = format!("the pool's server cannot ask {}", silent.join(", "));
        station.link.send_modify(|link| link.set_error(message));
    }
}

/// The pool does not answer, or refuses to.
async fn fail(cache: &Cache, error: &Error) {
    let error = ListenError::of_the_pool(error);
    for station in cache.stations.iter() {
        if error.permanent {
            station.reject(error.clone());
        } else {
            let message = error.message.clone();
            station.link.send_modify(|link| link.set_error(message));
        }
    }
    sleep(POOL_PAUSE).await;
}

/// Waits until what the pool's server asks for is heard, and then until it no longer is.
pub(crate) async fn await_answers(
    station: &Station,
    subscription: &Subscription,
    interval: Duration,
) -> ListenError {
    tokio::select! {
        () = subscription.first_heard() => {}
        _ = notice_silence(subscription, FIRST_PROBE_TIMEOUT, interval) => {
            return ListenError::deaf();
        }
    }
    station.link.send_modify(Link::serve);
    log::serving();
    notice_silence(subscription, silence_patience(interval), interval).await
}
