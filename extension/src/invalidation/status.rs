//! What there is to see of invalidation, for whoever operates it.

use super::ring;
use crate::settings;
use pgrx::prelude::*;

/// How changes of this database are announced, and how that goes.
#[allow(
    clippy::type_complexity,
    reason = "the columns of a table function are a tuple"
)]
#[pg_extern(schema = "qsessions", volatile, parallel_restricted)]
fn invalidation_status() -> TableIterator<
    'static,
    (
        name!(mode, &'static str),
        name!(channel, String),
        name!(ring_size, Option<i32>),
        name!(backlog, Option<i64>),
        name!(announced, Option<i64>),
        name!(overflows, Option<i64>),
        name!(announcer_pid, Option<i32>),
    ),
> {
    let channel = settings::invalidation_channel();
    let row = if ring::exists() {
        let (reader, backlog) = ring::look().unwrap_or_default();
        (
            "ring",
            channel,
            Some(ring::SIZE as i32),
            Some(backlog as i64),
            Some(reader.announced as i64),
            Some(reader.overflows as i64),
            (reader.process != 0).then_some(reader.process),
        )
    } else {
        ("notify", channel, None, None, None, None, None)
    };
    TableIterator::once(row)
}
