//! The connection that hears of changes.

mod connection;
mod ears;
mod trouble;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_postgres::Client;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Cache;
use super::entry::micros;
use super::health::State;
use crate::wire::past_instant;

use connection::Connection;
pub(crate) use connection::Listener;
use ears::Ears;
use trouble::Trouble;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Between two attempts to have the pool announce something.
const POOL_PAUSE: Duration = Duration::from_millis(500);
/// How long it may take until an announcement of the pool's server is heard for the first time. The
/// server may have to start its announcer, again if need be.
const FIRST_PROBE_TIMEOUT: Duration = Duration::from_secs(10);

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
    cache: &Arc<Cache>,
    probe_interval: Duration,
) -> Result<Never, Trouble> {
    let mut connection = timeout(CONNECT_TIMEOUT, (listener.connect)())
        .await
        .map_err(|_| Trouble::passing("the listening connection can't be made: timeout"))??;
    let channel = timeout(CONNECT_TIMEOUT, begin_listening(&connection.client, cache))
        .await
        .map_err(|_| Trouble::passing("the listening connection doesn't answer"))??;
    let mut ears = Ears::new(cache, channel);
    cache.state.send_modify(|state| {
        state.is_listening = true;
        state.trouble = Some("waiting for a connection of the pool".to_owned());
    });
    // What is read from now on will be named if it changes.
    cache.shelf.open();
    hear_the_pool(cache, &mut connection, &mut ears).await?;
    cache.state.send_replace(State {
        is_listening: true,
        is_serving: true,
        trouble: None,
        is_hopeless: false,
    });
    tracing::info!(channel = %ears.channel, "sessions are cached");
    hear_on(cache, &mut connection, &mut ears, probe_interval).await
}

/// The channel that is listened to.
async fn begin_listening(client: &Client, cache: &Cache) -> Result<String, Trouble> {
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
    let channel: String = row.get(0);
    client
        .batch_execute(&format!("LISTEN \"{}\"", channel.replace('"', "\"\"")))
        .await?;
    *super::lock(&cache.server) = Some(started_at);
    cache.freshness.server_clock(asked, micros(clock));
    Ok(channel)
}

/// Has the pool announce something, and hears it: so the pool's changes are what is listened to.
async fn hear_the_pool(
    cache: &Arc<Cache>,
    connection: &mut Connection,
    ears: &mut Ears<'_>,
) -> Result<(), Trouble> {
    let mut deadline = None;
    loop {
        let probe = ears.new_probe();
        let announced = announce_by_the_pool(cache, probe);
        tokio::pin!(announced);
        let mut is_announced = false;
        // What was begun is brought to its end, even if a "drop everything" takes the probe away meanwhile: each
        // that comes would otherwise have the pool give up a connection and make another.
        while !ears.has_heard(probe) && (ears.waits_for(probe) || !is_announced) {
            tokio::select! {
                // It can be heard before its statement is known to be done.
                notification = connection.notifications.recv() => {
                    ears.hear(&notification.ok_or_else(connection_is_lost)?);
                }
                result = &mut announced, if !is_announced => {
                    result?;
                    is_announced = true;
                    deadline.get_or_insert_with(|| Instant::now() + FIRST_PROBE_TIMEOUT);
                }
                () = passes(deadline) => return Err(Trouble::lasting(
                    "the listener doesn't hear what the pool announces: LISTEN needs a connection to the same server and database, \
                     and one of its own, not one through a pooler in transaction mode (give the listener the server's own address)",
                )),
            }
        }
        if ears.has_heard(probe) {
            return Ok(());
        }
        // A "drop everything" came between, which may have been another database's.
    }
}

/// Waits for ever without one.
async fn passes(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Waits for the pool as long as it takes, for the listening connection is a good one.
async fn announce_by_the_pool(cache: &Cache, probe: Uuid) -> Result<(), Trouble> {
    loop {
        match cache.store.invalidate(probe).await {
            Ok(()) => return Ok(()),
            Err(error) => {
                let trouble = Trouble::of_the_pool(&error);
                if trouble.is_hopeless {
                    return Err(trouble);
                }
                cache
                    .state
                    .send_modify(|state| state.trouble = Some(trouble.message));
                sleep(POOL_PAUSE).await;
            }
        }
    }
}

fn connection_is_lost() -> Trouble {
    Trouble::passing("the listening connection was lost")
}

async fn hear_on(
    cache: &Arc<Cache>,
    connection: &mut Connection,
    ears: &mut Ears<'_>,
    probe_interval: Duration,
) -> Result<Never, Trouble> {
    let mut ticks = interval(probe_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let patience = (probe_interval * 8).max(Duration::from_secs(1));
    let mut probing: Option<BoxFuture<'_, Result<(), Trouble>>> = None;
    let Connection {
        client,
        notifications,
        ..
    } = connection;
    loop {
        let is_wanted = tokio::select! {
            notification = notifications.recv() => {
                ears.hear(&notification.ok_or_else(connection_is_lost)?);
                continue;
            }
            result = async { probing.as_mut().expect("a probe is under way").await }, if probing.is_some() => {
                result?;
                probing = None;
                continue;
            }
            () = cache.server_changed.notified() => {
                return Err(Trouble::passing("the pool leads to another server than the listener"));
            }
            () = cache.probe_wanted.notified(), if probing.is_none() => true,
            _ = ticks.tick() => false,
        };
        if ears.waits_longer_than(patience) {
            return Err(Trouble::passing("the listening connection doesn't answer"));
        }
        if probing.is_none() && (is_wanted || !ears.waits_longer_than(Duration::ZERO)) {
            let probe = ears.new_probe();
            probing = Some(Box::pin(send_probe(client, cache, probe)));
        }
    }
}

/// Announces an id that no session has.
async fn send_probe(client: &Client, cache: &Cache, probe: Uuid) -> Result<(), Trouble> {
    let asked = cache.freshness.now();
    let row = client
        .query_typed_one(
            "SELECT pg_catalog.clock_timestamp(), qsessions.invalidate(id => $1::uuid)",
            &[(&probe, Type::UUID)],
        )
        .await?;
    if let Ok(clock) = past_instant(&row, 0) {
        cache.freshness.server_clock(asked, micros(clock));
    }
    Ok(())
}
