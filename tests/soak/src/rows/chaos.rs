//! Backends that are killed, and restarts of the server.

use std::time::{Duration, Instant};

use fastrand::Rng;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use qsessions_testkit::{Server, StopMode};

use crate::Result;
use crate::chaos::DATABASE;

/// The number of faults of each kind.
#[derive(Debug, Default, Clone, Copy)]
pub struct Mishaps {
    /// A process of the server was killed, after which PostgreSQL ends all others and recovers.
    pub kills: u32,
    /// The server was stopped in immediate mode and started again.
    pub restarts: u32,
}

/// Kills and restarts until this time.
///
/// # Errors
///
/// If the server does not start again.
pub async fn disturb(server: &mut Server, mut rng: Rng, until: Instant) -> Result<Mishaps> {
    let mut mishaps = Mishaps::default();
    loop {
        let pause = Duration::from_millis(rng.u64(1_000..2_500));
        if Instant::now() + pause >= until {
            return Ok(mishaps);
        }
        tokio::time::sleep(pause).await;
        let is_first_restart = mishaps.kills > 0 && mishaps.restarts == 0;
        if is_first_restart || mishaps.kills > 0 && rng.u32(0..3) == 0 {
            // This blocks until the processes of the server have exited.
            tokio::task::block_in_place(|| server.stop(StopMode::Immediate))?;
            server.start().await?;
            mishaps.restarts += 1;
        } else if kill_one(server).await.unwrap_or(false) {
            mishaps.kills += 1;
        }
    }
}

/// Kills a backend of a client or a notifier.
async fn kill_one(server: &Server) -> Result<bool> {
    let client = server.connect(DATABASE).await?;
    let pid = client
        .query_opt(
            "SELECT pid FROM pg_stat_activity
             WHERE pid <> pg_backend_pid() AND backend_type IN ('client backend', 'qsessions notifier')
             ORDER BY (state = 'active') DESC NULLS LAST, random() LIMIT 1",
            &[],
        )
        .await?;
    let Some(pid) = pid else { return Ok(false) };
    kill(Pid::from_raw(pid.get(0)), Signal::SIGKILL)?;
    Ok(true)
}
