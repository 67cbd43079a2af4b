//! The faults that are injected during a run.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use qsessions_testkit::{Flow, Flows, Proxy, Server, StopMode};

use crate::Result;
use crate::history::{Nanos, now};

/// The database of the run.
pub const DATABASE: &str = "postgres";

/// The number of faults of each kind.
#[derive(Debug, Default, Clone, Copy)]
pub struct Mishaps {
    /// The server was stopped in immediate mode and started again.
    pub restarts: u32,
    /// Connections were stalled without being closed.
    pub stalls: u32,
    /// Connections were slowed down.
    pub trickles: u32,
    /// Connections were cut.
    pub cuts: u32,
    /// The process that announces was ended.
    pub notifiers_ended: u32,
    /// A prepared transaction that a process has left was committed or rolled back.
    pub settled: u32,
}

/// The proxies between one process and the server.
#[derive(Debug, Clone)]
pub struct Ways {
    /// The proxy of its pool.
    pub pool: Arc<Proxy>,
    /// The proxy of its listener.
    pub listener: Arc<Proxy>,
}

/// Injects faults until this time. All connections work again when it returns.
///
/// # Errors
///
/// If the server does not restart.
pub async fn disturb(
    server: &mut Server,
    ways: &[Ways],
    mut rng: Rng,
    until: Nanos,
) -> Result<Mishaps> {
    let mut mishaps = Mishaps::default();
    let mut restart_at = now() + rng.u64(3_000_000_000..6_000_000_000);
    loop {
        let pause = Duration::from_millis(rng.u64(50..900));
        if now() + (pause.as_nanos() as Nanos) >= until {
            break;
        }
        tokio::time::sleep(pause).await;
        mishaps.settled += settle(server, &mut rng).await.unwrap_or(0);
        if now() >= restart_at {
            restart(server, &mut rng).await?;
            mishaps.restarts += 1;
            restart_at = now() + rng.u64(8_000_000_000..16_000_000_000);
        } else if rng.u32(0..14) < if mishaps.notifiers_ended == 0 { 5 } else { 1 } {
            mishaps.notifiers_ended += u32::from(end_notifier(server).await.unwrap_or(false));
        } else {
            disturb_a_way(ways, &mut rng, &mut mishaps).await;
        }
    }
    for way in ways {
        way.pool.release();
        way.listener.release();
    }
    Ok(mishaps)
}

async fn restart(server: &mut Server, rng: &mut Rng) -> Result<()> {
    // This blocks until the processes of the server have exited.
    tokio::task::block_in_place(|| server.stop(StopMode::Immediate))?;
    tokio::time::sleep(Duration::from_millis(rng.u64(0..700))).await;
    server.start().await
}

async fn end_notifier(server: &Server) -> Result<bool> {
    let client = server.connect(DATABASE).await?;
    let ended = client
        .query_opt(
            "SELECT pg_terminate_backend(notifier_pid) FROM qsessions.invalidation_status()
             WHERE notifier_pid IS NOT NULL",
            &[],
        )
        .await?;
    Ok(ended.is_some())
}

/// Ends the prepared transactions that their processes have left.
async fn settle(server: &Server, rng: &mut Rng) -> Result<u32> {
    let client = server.connect(DATABASE).await?;
    let left = client
        .query(
            "SELECT gid FROM pg_prepared_xacts WHERE prepared < clock_timestamp() - interval '700 ms'",
            &[],
        )
        .await?;
    let mut settled = 0;
    for row in left {
        let (verb, name): (_, &str) = (if rng.bool() { "COMMIT" } else { "ROLLBACK" }, row.get(0));
        let statement = format!("{verb} PREPARED '{name}'");
        settled += u32::from(client.batch_execute(&statement).await.is_ok());
    }
    Ok(settled)
}

async fn disturb_a_way(ways: &[Ways], rng: &mut Rng, mishaps: &mut Mishaps) {
    let way = &ways[rng.usize(0..ways.len())];
    let proxy = if rng.bool() { &way.pool } else { &way.listener };
    let kind = rng.u32(0..10);
    match kind {
        // At least once.
        _ if kind == 0 || mishaps.cuts == 0 => {
            proxy.cut().await;
            mishaps.cuts += 1;
        }
        1..3 => {
            // Announcements, mostly.
            let flows = [Flow::Open, Flow::Trickling];
            for_a_while(Arc::clone(&way.listener), flows, None, rng);
            mishaps.trickles += 1;
        }
        _ => {
            let flows = match rng.u32(0..3) {
                0 => [Flow::Stalled, Flow::Open],
                1 => [Flow::Open, Flow::Stalled],
                _ => [Flow::Stalled, Flow::Stalled],
            };
            let which = (kind < 7).then(|| rng.usize(..));
            for_a_while(Arc::clone(proxy), flows, which, rng);
            mishaps.stalls += 1;
        }
    }
}

/// Applies a flow to all connections or to one, and sometimes cuts them at the end.
fn for_a_while(proxy: Arc<Proxy>, flows: Flows, which: Option<usize>, rng: &mut Rng) {
    let duration = Duration::from_millis(rng.u64(50..1800));
    let is_cut = rng.u32(0..4) == 0;
    match which {
        Some(which) => proxy.set_one(which, flows),
        None => proxy.set(flows),
    }
    tokio::spawn(async move {
        tokio::time::sleep(duration).await;
        if is_cut {
            proxy.cut().await;
        }
        proxy.release();
    });
}
