//! Sends probes through the pool, or requests heartbeats there, and waits for them.
//!
//! A heartbeat shows the same as a probe, and one is enough for all processes. But it may take a
//! tenth of a second, so this process sends a probe of its own where a call waits for it.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until, timeout};

use crate::cache::cluster::Server;
use crate::cache::core::Cache;
use crate::cache::freshness::Moment;
use crate::cache::link::Link;
use crate::cache::listen_error::ListenError;
use crate::cache::listener::delivery::Delivery;
use crate::cache::listener::sending::{self, Kind, pool_patience};
use crate::cache::listener::subscription::{Probe, Subscription};
use crate::cache::log;
use crate::cache::station::Station;
use crate::error::Error;

/// The longest time for the first statement that sends a probe.
pub(crate) const FIRST_STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest time until the first probe is heard. The server may have to start its background
/// worker, and may have to try that again.
pub(crate) const FIRST_PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two attempts to send a probe through a pool that fails.
pub(crate) const POOL_PAUSE: Duration = Duration::from_millis(500);
/// Before another probe follows one that a "drop everything" may stand for.
pub(crate) const LOST_PAUSE: Duration = Duration::from_millis(10);
/// The shortest time that a statement has which sends a probe.
const SHORTEST_PATIENCE: Duration = Duration::from_millis(100);

/// A probe could be sent, or will be later.
type Sent = Result<Option<Probe>, ListenError>;

pub(crate) struct Prober<'a> {
    cache: &'a Cache,
    station: &'a Station,
    subscription: &'a Subscription,
    delivery: Delivery,
    interval: Duration,
    /// Earlier versions of the extension have none.
    has_heartbeats: bool,
    /// What is sent where no call waits.
    usual: Kind,
}

impl<'a> Prober<'a> {
    pub(crate) fn new(
        cache: &'a Cache,
        station: &'a Station,
        subscription: &'a Subscription,
        interval: Duration,
        has_heartbeats: bool,
    ) -> Self {
        let usual = if has_heartbeats {
            Kind::usual(interval)
        } else {
            Kind::Own
        };
        Self {
            cache,
            station,
            subscription,
            delivery: Delivery::new(cache.database.executor.clone(), pool_patience(interval)),
            interval,
            has_heartbeats,
            usual,
        }
    }

    /// Sends probes until something fails.
    pub(crate) async fn run(mut self) -> ListenError {
        if let Err(error) = self.hear_the_first().await {
            return error;
        }
        self.station.link.send_modify(Link::serve);
        log::serving();
        let (subscription, interval) = (self.subscription, self.interval);
        tokio::select! {
            error = self.probe_steadily() => error,
            error = notice_silence(subscription, silence_patience(interval), interval) => error,
        }
    }

    /// Waits until a probe is heard, and so until it is shown that the changes of the pool's
    /// database are.
    async fn hear_the_first(&mut self) -> Result<(), ListenError> {
        let mut deadline = None;
        loop {
            let Some(probe) = self.probe(self.usual, FIRST_STATEMENT_TIMEOUT).await? else {
                continue;
            };
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + FIRST_PROBE_TIMEOUT);
            tokio::select! {
                biased;
                () = sleep_until(deadline) => return Err(ListenError::deaf()),
                is_heard = self.subscription.wait_for(&probe) => if is_heard {
                    return Ok(());
                },
                () = self.cache.probe_lost.notified() => {}
            }
            // A "drop everything" came in between, perhaps of another database. If they come
            // without a pause, probes follow without one too, or the deadline would pass unnoticed.
            tokio::task::yield_now().await;
        }
    }

    async fn probe_steadily(&mut self) -> ListenError {
        // A probe was heard just now.
        let mut ticks = interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let patience = self.interval.max(SHORTEST_PATIENCE);
        loop {
            let kind = tokio::select! {
                () = self.cache.probe_wanted.notified() => Kind::Own,
                // A call may wait for it. If "drop everything" comes without a pause, probes do
                // not.
                () = self.cache.probe_lost.notified() => {
                    sleep(LOST_PAUSE.min(self.interval)).await;
                    self.usual
                }
                _ = ticks.tick() => self.usual,
            };
            if let Err(error) = self.probe(kind, patience).await {
                return error;
            }
        }
    }

    /// Sends a probe if the pool can. It may be heard before this returns.
    ///
    /// A statement that is not answered in time is left alone: its connection may hang, and the
    /// next probe may get another one.
    async fn probe(&mut self, kind: Kind, patience: Duration) -> Sent {
        let statements = self.cache.database.statements;
        let connection = match self.delivery.connection().await {
            Ok(connection) => connection,
            Err(error) => return wait_for_the_pool(self.station, &error).await,
        };
        // After the connection was got: the probe shows all that was committed before this moment.
        let (own, sent) = match kind {
            Kind::Own => {
                let (id, sent) = self.subscription.new_probe();
                (Some(id), sent)
            }
            Kind::Shared => (None, self.subscription.new_request()),
        };
        let sending = sending::ask(&connection, statements, own, self.has_heartbeats);
        match timeout(patience, sending).await {
            Ok(Ok(answers)) => {
                let Some(server) = answers.into_iter().find_map(|answer| answer.server) else {
                    return Ok(None);
                };
                check(self.station, sent, &server)?;
                Ok(Some(match own {
                    Some(id) => Probe::Own(id),
                    None => {
                        let probe = Probe::Heartbeat(server.digest);
                        self.subscription.requested(&probe, sent);
                        probe
                    }
                }))
            }
            Ok(Err(error)) => {
                if let Some(id) = own {
                    self.subscription.forget(id);
                }
                wait_for_the_pool(self.station, &error).await
            }
            Err(_) => Ok(None),
        }
    }
}

/// Whether the database that has announced a probe is the one that is listened to.
fn check(station: &Station, asked: Moment, server: &Server) -> Result<(), ListenError> {
    let (is_ours, is_serving) = {
        let link = station.link.borrow();
        (link.origin() == Some(&server.origin), link.is_serving())
    };
    if server.layout.is_some() {
        return Err(ListenError::permanent(
            "the session table is distributed over several servers: build the store with \
             cached_on_servers",
        ));
    }
    if !is_ours {
        // If it never was, it will not be the next time.
        return Err(ListenError::other_origin(!is_serving));
    }
    station.check(server, asked)
}

/// Waits a little, because the listening connection is good; unless the error is permanent.
async fn wait_for_the_pool(station: &Station, error: &Error) -> Sent {
    let error = ListenError::of_the_pool(error);
    if error.permanent {
        return Err(error);
    }
    let link = &station.link;
    link.send_modify(|link| link.set_error(error.message));
    sleep(POOL_PAUSE).await;
    Ok(None)
}

/// How long a probe is awaited before the connection is given up.
pub(crate) fn silence_patience(interval: Duration) -> Duration {
    (interval * 8).max(Duration::from_secs(1))
}

/// Returns when a probe has been awaited for longer than this.
pub(crate) async fn notice_silence(
    subscription: &Subscription,
    patience: Duration,
    probe_interval: Duration,
) -> ListenError {
    while !subscription.is_silent_for(patience) {
        sleep(probe_interval).await;
    }
    ListenError::transient(
        "no probe has come back: the listening connection or the pool's server does not answer",
    )
}
