//! The connections that hear of changes, one for each server, and the probes that show that they do.
//!
//! The pool sends the probes, because changes and loads of this process go through it. A probe that
//! is heard shows that the pool leads to the server and the database that are listened to, and that
//! it announces on a channel that is listened to. So does a heartbeat, which the pool requests and
//! the server sends once for all processes. If the session table is distributed, the server of the
//! pool [asks all servers](roll_call) for theirs.

mod connection;
mod delivery;
mod inbox;
mod prober;
mod roll_call;
mod sending;
mod subscription;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::Client;

use crate::cache::core::Cache;
use crate::cache::entry::micros;
use crate::cache::link::{Link, Origin};
use crate::cache::listen_error::ListenError;
use crate::cache::log;
use crate::cache::station::Station;
use crate::random::fraction;
use crate::wire::past_instant;

pub(crate) use connection::{Listener, Listeners};
use inbox::Inbox;
use prober::Prober;
pub(crate) use roll_call::{RollCall, run as call_the_roll};
use subscription::Subscription;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Listens, and connects again after each failure, until the task is aborted.
pub(crate) async fn run(
    listener: Listener,
    cache: Arc<Cache>,
    station: u8,
    roll_call: Arc<RollCall>,
    probe_interval: Duration,
) {
    let mut pause = SHORTEST_PAUSE;
    let station = &cache.stations[station];
    loop {
        let began = Instant::now();
        let error = listen(&listener, &cache, station, &roll_call, probe_interval).await;
        // First of all no load is answered from memory. Then nothing that is read is kept.
        station.freshness.reset();
        log::stopped(&station.describe(&error.message));
        let was_up = station.link.borrow().is_up();
        station.link.send_replace(Link::Down {
            error: error.message,
            permanent: error.permanent,
        });
        if was_up {
            cache.entries.drop_station(station.index());
        }
        if began.elapsed() > LONGEST_PAUSE {
            pause = SHORTEST_PAUSE;
        }
        // Processes that have lost the same server do not all come back at once.
        sleep(pause.mul_f64(0.5 + 0.5 * fraction())).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Connects and listens until something fails.
async fn listen(
    listener: &Listener,
    cache: &Arc<Cache>,
    station: &Station,
    roll_call: &RollCall,
    probe_interval: Duration,
) -> ListenError {
    let inbox = Arc::new(Inbox::new(cache.counters.invalidations.clone()));
    let connecting = timeout(CONNECT_TIMEOUT, listener.connect(Arc::clone(&inbox)));
    let connection = match connecting.await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return error.into(),
        Err(_) => return ListenError::transient("the listener cannot connect: timeout"),
    };
    let beginning = timeout(
        CONNECT_TIMEOUT,
        begin_listening(&connection.client, station),
    );
    let (origin, has_heartbeats) = match beginning.await {
        Ok(Ok(begun)) => begun,
        Ok(Err(error)) => return error,
        Err(_) => return ListenError::transient("the listening connection does not answer"),
    };
    // A change of what is read from now on will be heard.
    cache.entries.drop_station(station.index());
    if !cache.stations.begin(station, origin) {
        return ListenError::permanent("another listener is connected to the same server");
    }
    station.forget_rejection();
    let subscription = Arc::new(Subscription::new(Arc::clone(cache), station.index()));
    let probing = async {
        if cache.stations.cluster.is_none() {
            let prober = Prober::new(
                cache,
                station,
                &subscription,
                probe_interval,
                has_heartbeats,
            );
            return prober.run().await;
        }
        if !has_heartbeats {
            return ListenError::permanent(
                "function qsessions.request_heartbeats(uuid) does not exist",
            );
        }
        roll_call.enter(station, &subscription);
        // So that it need not wait for its turn.
        cache.probe_lost.notify_one();
        roll_call::await_answers(station, &subscription, probe_interval).await
    };
    tokio::select! {
        lost = apply(&inbox, &subscription) => lost,
        error = probing => error,
        error = station.rejected() => error,
    }
}

/// Listens on every channel that this process knows of: on the current one, and on earlier ones,
/// because a statement that runs while the setting changes ends with the old one. Returns also
/// whether the extension has heartbeats: earlier versions have not.
async fn begin_listening(
    client: &Client,
    station: &Station,
) -> Result<(Origin, bool), ListenError> {
    let asked = station.freshness.now();
    let row = client
        .query_typed_one(
            "SELECT qsessions.invalidation_channel(), pg_catalog.pg_postmaster_start_time(), \
             pg_catalog.clock_timestamp(), pg_catalog.pg_is_in_recovery(), \
             pg_catalog.current_database(), \
             pg_catalog.to_regprocedure('qsessions.request_heartbeats(uuid)') IS NOT NULL",
            &[],
        )
        .await?;
    let instant = |column| {
        past_instant(&row, column).map_err(|error| ListenError::permanent(error.with_cause()))
    };
    let (started_at, clock) = (instant(1)?, instant(2)?);
    if row.get(3) {
        return Err(ListenError::transient(
            "the listening connection leads to a standby, which announces nothing: \
             give the listener the address of the primary",
        ));
    }
    station.channels.add(row.get(0));
    for channel in station.channels.all() {
        let channel = channel.replace('"', "\"\"");
        client
            .batch_execute(&format!("LISTEN \"{channel}\""))
            .await?;
    }
    station.freshness.begin_server_clock(asked, micros(clock));
    let origin = Origin {
        started_at,
        database: row.get(4),
    };
    Ok((origin, row.get(5)))
}

/// Applies notifications until the connection ends.
async fn apply(inbox: &Inbox, subscription: &Subscription) -> ListenError {
    while let Some(batch) = inbox.take().await {
        subscription.apply(&batch);
    }
    ListenError::transient("the listening connection was lost")
}
