//! The connection that hears of changes, and the probes that show whether it does.
//!
//! Probes are announced by the pool, because that is the way that this process's changes and loads go: when one is heard, the
//! pool leads to the server and the database that are listened to, and announces on a channel that is listened to.

mod connection;
mod ears;
mod inbox;
mod trouble;
mod way;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until, timeout};
use tokio_postgres::Client;
use uuid::Uuid;

use super::Cache;
use super::entry::micros;
use super::freshness::Moment;
use super::health::State;
use crate::Error;
use crate::store::Announced;
use crate::wire::past_instant;

pub(crate) use connection::Listener;
use ears::Ears;
use inbox::Inbox;
use trouble::Trouble;
use way::Way;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Between two attempts to have the pool announce something.
const POOL_PAUSE: Duration = Duration::from_millis(500);
/// Before a probe takes the place of one that a "drop everything" may have swallowed.
const LOST_PAUSE: Duration = Duration::from_millis(10);
/// How long it may take until an announcement of the pool's server is heard for the first time. The
/// server may have to start its announcer, again if need be.
const FIRST_PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a probe waits at most for a connection of the pool before it looks for another way.
const POOL_PATIENCE: Duration = Duration::from_millis(100);
/// What statements of probes are given at least, where `max_staleness` is very short.
const SHORTEST_PATIENCE: Duration = Duration::from_millis(100);

/// Listens, again and again, until it is aborted.
pub(super) async fn run(listener: Listener, cache: Arc<Cache>, probe_interval: Duration) {
    let mut pause = SHORTEST_PAUSE;
    loop {
        let began = Instant::now();
        let trouble = match listen(&listener, &cache, probe_interval).await {
            Ok(never) => match never {},
            Err(trouble) => trouble,
        };
        cache.shelf.close();
        cache.freshness.lost();
        tracing::warn!(trouble = %trouble.message, "sessions are not cached: nothing is heard of their changes");
        cache.state.send_replace(State {
            is_listening: false,
            is_serving: false,
            trouble: Some(trouble.message),
            is_hopeless: trouble.is_hopeless,
        });
        if began.elapsed() > LONGEST_PAUSE {
            pause = SHORTEST_PAUSE;
        }
        // Processes that lost the same server shall not all come back at once.
        sleep(pause.mul_f64(0.5 + 0.5 * random_fraction())).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn random_fraction() -> f64 {
    f64::from(Uuid::new_v4().as_bytes()[0]) / 255.0
}

enum Never {}

/// From the connection to its end.
async fn listen(
    listener: &Listener,
    cache: &Cache,
    probe_interval: Duration,
) -> Result<Never, Trouble> {
    let inbox = Arc::new(Inbox::new(cache.counters.invalidations.clone()));
    let connection = timeout(CONNECT_TIMEOUT, (listener.connect)(Arc::clone(&inbox)))
        .await
        .map_err(|_| Trouble::passing("the listening connection can't be made: timeout"))??;
    timeout(CONNECT_TIMEOUT, begin_listening(&connection.client, cache))
        .await
        .map_err(|_| Trouble::passing("the listening connection doesn't answer"))??;
    cache.state.send_modify(|state| {
        state.is_listening = true;
        state.trouble = Some("waiting for a connection of the pool".to_owned());
    });
    // What is read from now on will be named if it changes.
    cache.shelf.open();
    let ears = Ears::new(cache);
    let pool_patience = POOL_PATIENCE.min(probe_interval / 5);
    let prober = Prober {
        cache,
        ears: &ears,
        way: Way::new(&cache.store, cache.pool.clone(), pool_patience),
        interval: probe_interval,
    };
    tokio::select! {
        lost = hear(&inbox, &ears) => Err(lost),
        trouble = prober.probe_on() => trouble,
        () = cache.server_changed.notified() => Err(Trouble::passing(ANOTHER_SERVER)),
    }
}

const ANOTHER_SERVER: &str = "the pool leads to another server than the listener";

/// Listens on each channel that this process knows of: on that which is set now, and on those before it, because a
/// statement that runs while the setting changes ends with the old one.
async fn begin_listening(client: &Client, cache: &Cache) -> Result<(), Trouble> {
    let asked = cache.freshness.now();
    let row = client
        .query_typed_one(
            "SELECT qsessions.invalidation_channel(), pg_catalog.pg_postmaster_start_time(), \
             pg_catalog.clock_timestamp(), pg_catalog.pg_is_in_recovery()",
            &[],
        )
        .await?;
    let read =
        |column| past_instant(&row, column).map_err(|error| Trouble::lasting(error.to_string()));
    let (started_at, clock): (SystemTime, SystemTime) = (read(1)?, read(2)?);
    if row.get(3) {
        return Err(Trouble::passing(
            "the listening connection leads to a standby, where nothing is announced: give it the address of the primary",
        ));
    }
    cache.channels.add(row.get(0));
    for channel in cache.channels.all() {
        let channel = channel.replace('"', "\"\"");
        client
            .batch_execute(&format!("LISTEN \"{channel}\""))
            .await?;
    }
    *super::lock(&cache.server) = Some(started_at);
    cache.freshness.server_clock(asked, micros(clock));
    Ok(())
}

/// Applies what is announced, to the end of the connection.
async fn hear(inbox: &Inbox, ears: &Ears<'_>) -> Trouble {
    while let Some(batch) = inbox.take().await {
        ears.apply(&batch);
    }
    Trouble::passing("the listening connection was lost")
}

/// Has probes announced.
struct Prober<'a> {
    cache: &'a Cache,
    ears: &'a Ears<'a>,
    way: Way<'a>,
    interval: Duration,
}

impl Prober<'_> {
    async fn probe_on(mut self) -> Result<Never, Trouble> {
        self.hear_the_first().await?;
        self.cache.state.send_replace(State {
            is_listening: true,
            is_serving: true,
            trouble: None,
            is_hopeless: false,
        });
        tracing::info!("sessions are cached");
        let (ears, interval) = (self.ears, self.interval);
        tokio::select! {
            trouble = self.probe_steadily() => trouble,
            silence = watch(ears, interval) => Err(silence),
        }
    }

    /// Has the pool announce something, and waits until it is heard: so the pool's changes are what is listened to.
    async fn hear_the_first(&mut self) -> Result<(), Trouble> {
        let mut deadline = None;
        loop {
            if let Some(probe) = self.probe(CONNECT_TIMEOUT).await? {
                let deadline =
                    *deadline.get_or_insert_with(|| Instant::now() + FIRST_PROBE_TIMEOUT);
                tokio::select! {
                    biased;
                    () = sleep_until(deadline) => return Err(Trouble::lasting(
                        "the listener doesn't hear what the pool announces: LISTEN needs a connection to the same server and database, \
                         and one of its own, not one through a pooler in transaction mode (give the listener the server's own address)",
                    )),
                    is_heard = self.ears.wait_for(probe) => if is_heard {
                        return Ok(());
                    },
                }
                // A "drop everything" came between, which may have been another database's. Where they come without
                // pause, this does not either, or nothing would be known in the end.
                tokio::task::yield_now().await;
            }
        }
    }

    async fn probe_steadily(&mut self) -> Result<Never, Trouble> {
        // One has just been heard.
        let mut ticks = interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let patience = self.interval.max(SHORTEST_PATIENCE);
        loop {
            tokio::select! {
                () = self.cache.probe_wanted.notified() => {}
                // Somebody may wait for it. Where such calls come without pause, probes shall not.
                () = self.ears.probe_lost.notified() => sleep(LOST_PAUSE.min(self.interval)).await,
                _ = ticks.tick() => {}
            }
            self.probe(patience).await?;
        }
    }

    /// Has a probe announced, if the pool can do that, and says which. It may be heard before this returns.
    ///
    /// A statement that isn't answered within the patience is left to itself: its connection may hang, and the next probe may
    /// get another one.
    async fn probe(&mut self, patience: Duration) -> Result<Option<Uuid>, Trouble> {
        let loan = match self.way.connection().await {
            Ok(loan) => loan,
            Err(error) => {
                pool_failed(self.cache, &error).await?;
                return Ok(None);
            }
        };
        // Not before there is a connection: what it shows is what was committed before this moment.
        let (probe, sent) = self.ears.new_probe();
        match timeout(patience, loan.announce(probe)).await {
            Ok(Ok(announced)) => {
                check(self.cache, sent, announced)?;
                Ok(Some(probe))
            }
            Ok(Err(error)) => {
                self.ears.forget(probe);
                pool_failed(self.cache, &error).await?;
                Ok(None)
            }
            Err(_) => Ok(None),
        }
    }
}

/// Whether the server that has answered a probe is the one that is listened to.
fn check(cache: &Cache, asked: Moment, announced: Announced) -> Result<(), Trouble> {
    if *super::lock(&cache.server) != Some(announced.server_started_at) {
        return Err(Trouble {
            message: ANOTHER_SERVER.to_owned(),
            // It has been another one from the beginning.
            is_hopeless: !cache.state.borrow().is_serving,
        });
    }
    cache
        .freshness
        .server_clock(asked, micros(announced.server_clock));
    if cache.channels.add(announced.channel) {
        return Err(Trouble::passing(
            "qsessions.invalidation_channel has changed",
        ));
    }
    Ok(())
}

/// Waits a little, for the listening connection is a good one, unless it will be the same the next time.
async fn pool_failed(cache: &Cache, error: &Error) -> Result<(), Trouble> {
    let trouble = Trouble::of_the_pool(error);
    if trouble.is_hopeless {
        return Err(trouble);
    }
    cache
        .state
        .send_modify(|state| state.trouble = Some(trouble.message));
    sleep(POOL_PAUSE).await;
    Ok(())
}

/// Until probes have been waited for too long.
async fn watch(ears: &Ears<'_>, probe_interval: Duration) -> Trouble {
    let patience = (probe_interval * 8).max(Duration::from_secs(1));
    while !ears.waits_longer_than(patience) {
        sleep(probe_interval).await;
    }
    Trouble::passing(
        "no probe comes back: the listening connection or the pool's server does not answer",
    )
}
