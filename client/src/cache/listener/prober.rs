//! Sends probes through the pool, or requests heartbeats there, and waits for them.
//!
//! A heartbeat shows the same as a probe, and one is enough for all processes. But it may take a
//! tenth of a second, so this process sends a probe of its own where a call waits for it.

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until, timeout};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::cache::core::Cache;
use crate::cache::entry::micros;
use crate::cache::freshness::Moment;
use crate::cache::link::{Link, Origin};
use crate::cache::listener::delivery::{Connection, Delivery};
use crate::cache::listener::error::ListenError;
use crate::cache::listener::subscription::{Probe, Subscription};
use crate::cache::log;
use crate::database::{Database, Executor};
use crate::error::Error;
use crate::wire::past_instant;

/// The longest time for the first statement that sends a probe.
const FIRST_STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest time until the first probe is heard. The server may have to start its background
/// worker, and may have to try that again.
const FIRST_PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two attempts to send a probe through a pool that fails.
const POOL_PAUSE: Duration = Duration::from_millis(500);
/// Before another probe follows one that a "drop everything" may stand for.
const LOST_PAUSE: Duration = Duration::from_millis(10);
/// The longest time that a probe waits for a connection of the pool before it looks for another
/// one.
const POOL_PATIENCE: Duration = Duration::from_millis(100);
/// The shortest time that a statement has which sends a probe.
const SHORTEST_PATIENCE: Duration = Duration::from_millis(100);

/// The server sends a heartbeat so long after the last one, at most.
const BETWEEN_HEARTBEATS: Duration = Duration::from_millis(100);

/// A probe could be sent, or will be later.
type Sent = Result<Option<Probe>, ListenError>;

pub(crate) struct Prober<'a> {
    cache: &'a Cache,
    subscription: &'a Subscription<'a>,
    delivery: Delivery,
    interval: Duration,
    /// What is sent where no call waits.
    usual: Kind,
}

/// What is sent through the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A probe, which comes back at once.
    Own,
    /// The request of a heartbeat.
    Shared,
}

impl<'a> Prober<'a> {
    pub(crate) fn new(
        cache: &'a Cache,
        subscription: &'a Subscription<'a>,
        interval: Duration,
        has_heartbeats: bool,
    ) -> Self {
        let patience = POOL_PATIENCE.min(interval / 5);
        let usual = if has_heartbeats && interval >= BETWEEN_HEARTBEATS {
            Kind::Shared
        } else {
            Kind::Own
        };
        Self {
            cache,
            subscription,
            delivery: Delivery::new(cache.database.executor.clone(), patience),
            interval,
            usual,
        }
    }

    /// Sends probes until something fails.
    pub(crate) async fn run(mut self) -> ListenError {
        if let Err(error) = self.hear_the_first().await {
            return error;
        }
        self.cache.link.send_modify(Link::serve);
        log::serving();
        let (subscription, interval) = (self.subscription, self.interval);
        tokio::select! {
            error = self.probe_steadily() => error,
            error = notice_silence(subscription, interval) => error,
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
                () = sleep_until(deadline) => return Err(ListenError::permanent(
                    "the listener does not hear what the pool announces: LISTEN needs a connection \
                     of its own to the same server and database, and not through a pooler in \
                     transaction mode (give the listener the server's own address)",
                )),
                is_heard = self.subscription.wait_for(&probe) => if is_heard {
                    return Ok(());
                },
                () = self.subscription.probe_lost.notified() => {}
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
                () = self.subscription.probe_lost.notified() => {
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
            Err(error) => return wait_for_the_pool(self.cache, &error).await,
        };
        // After the connection was got: the probe shows all that was committed before this moment.
        let (own, sent) = match kind {
            Kind::Own => {
                let (id, sent) = self.subscription.new_probe();
                (Some(id), sent)
            }
            Kind::Shared => (None, self.subscription.new_request()),
        };
        let sending = async {
            match connection {
                Connection::Pooled(client) => {
                    let executor = &*client;
                    send(
                        Database {
                            executor,
                            statements,
                        },
                        own,
                    )
                    .await
                }
                Connection::Spare(spare) => {
                    let executor: &tokio_postgres::Client = spare.client();
                    send(
                        Database {
                            executor,
                            statements,
                        },
                        own,
                    )
                    .await
                }
            }
        };
        match timeout(patience, sending).await {
            Ok(Ok((answer, heartbeat))) => {
                check(self.cache, sent, answer)?;
                Ok(match (own, heartbeat) {
                    (Some(id), _) => Some(Probe::Own(id)),
                    (None, digest) => Some(self.subscription.requested(digest, sent)),
                })
            }
            Ok(Err(error)) => {
                if let Some(id) = own {
                    self.subscription.forget(id);
                }
                wait_for_the_pool(self.cache, &error).await
            }
            Err(_) => Ok(None),
        }
    }
}

/// What the server that has announced a probe says of itself.
struct Answer {
    clock: SystemTime,
    origin: Origin,
    channel: String,
}

impl Answer {
    fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            clock: past_instant(row, 0)?,
            origin: Origin {
                started_at: past_instant(row, 1)?,
                database: row.try_get(2)?,
            },
            channel: row.try_get(3)?,
        })
    }
}

/// Announces the id of a probe like that of a changed session, or requests a heartbeat and returns
/// its digest too.
async fn send<E: Executor>(
    database: Database<E>,
    own: Option<Uuid>,
) -> Result<(Answer, Vec<u8>), Error> {
    macro_rules! select {
        ($call:literal) => {
            concat!(
                "SELECT pg_catalog.clock_timestamp(), pg_catalog.pg_postmaster_start_time(), \
                 pg_catalog.current_database(), qsessions.invalidation_channel(), ",
                $call
            )
        };
    }
    match own {
        Some(id) => {
            let sql = select!("qsessions.invalidate(id => $1::uuid)");
            let read = |row: &Row| Ok((Answer::from_row(row)?, vec![]));
            database.row(sql, &[(&id, Type::UUID)], read).await
        }
        None => {
            let sql = select!("qsessions.request_heartbeat()");
            let read = |row: &Row| Ok((Answer::from_row(row)?, row.try_get(4)?));
            database.row(sql, &[], read).await
        }
    }
}

/// Whether the database that has announced a probe is the one that is listened to.
fn check(cache: &Cache, asked: Moment, answer: Answer) -> Result<(), ListenError> {
    let (is_ours, is_serving) = {
        let link = cache.link.borrow();
        (link.origin() == Some(&answer.origin), link.is_serving())
    };
    if !is_ours {
        // If it never was, it will not be the next time.
        return Err(ListenError::other_origin(!is_serving));
    }
    cache.freshness.server_clock(asked, micros(answer.clock));
    if cache.channels.add(answer.channel) {
        return Err(ListenError::transient(
            "qsessions.invalidation_channel has changed",
        ));
    }
    Ok(())
}

/// Waits a little, because the listening connection is good; unless the error is permanent.
async fn wait_for_the_pool(cache: &Cache, error: &Error) -> Sent {
    let error = ListenError::of_the_pool(error);
    if error.permanent {
        return Err(error);
    }
    cache.link.send_modify(|link| link.set_error(error.message));
    sleep(POOL_PAUSE).await;
    Ok(None)
}

/// Returns when a probe has been awaited for too long.
async fn notice_silence(subscription: &Subscription<'_>, probe_interval: Duration) -> ListenError {
    let patience = (probe_interval * 8).max(Duration::from_secs(1));
    while !subscription.is_silent_for(patience) {
        sleep(probe_interval).await;
    }
    ListenError::transient(
        "no probe has come back: the listening connection or the pool's server does not answer",
    )
}
