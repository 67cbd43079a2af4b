//! Instants of the server as numbers.

use std::time::{Duration, SystemTime};

use crate::cache::freshness::ServerMicros;

pub(crate) fn micros(instant: SystemTime) -> ServerMicros {
    match instant.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => ServerMicros::try_from(after.as_micros()).unwrap_or(ServerMicros::MAX),
        Err(before) => {
            ServerMicros::try_from(before.duration().as_micros()).map_or(ServerMicros::MIN, |n| -n)
        }
    }
}

/// The other way round.
pub(crate) fn instant(micros: ServerMicros) -> SystemTime {
    let distance = Duration::from_micros(micros.unsigned_abs());
    let instant = if micros < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    instant.unwrap_or(SystemTime::UNIX_EPOCH)
}
