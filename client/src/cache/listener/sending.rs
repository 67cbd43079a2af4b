//! The statements that send probes and request heartbeats, and what servers answer.

use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::cache::cluster::{Answer, Server};
use crate::cache::link::Origin;
use crate::cache::listener::delivery::Connection;
use crate::database::{Database, Executor, Statements};
use crate::error::Error;
use crate::wire::past_instant;

/// A server sends a heartbeat so long after the last one, at most.
const BETWEEN_HEARTBEATS: Duration = Duration::from_millis(100);
/// The longest time that a probe waits for a connection of the pool before it looks for another
/// one.
const POOL_PATIENCE: Duration = Duration::from_millis(100);

/// What is sent through the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A probe, which comes back at once.
    Own,
    /// The request of a heartbeat.
    Shared,
}

impl Kind {
    /// What is sent where no call waits.
    pub(crate) fn usual(interval: Duration) -> Self {
        if interval >= BETWEEN_HEARTBEATS {
            Self::Shared
        } else {
            Self::Own
        }
    }
}

pub(crate) fn pool_patience(interval: Duration) -> Duration {
    POOL_PATIENCE.min(interval / 5)
}

/// The columns are those of [`OWN`].
const HEARTBEATS: &str = "SELECT pg_catalog.pg_postmaster_start_time(), pg_catalog.current_database(), \
     h.server, h.has_sessions, h.server_started_at, h.database, h.channel, h.clock, h.digest, h.layout, h.placements \
     FROM qsessions.request_heartbeats(probe => $1::uuid) AS h";

/// Sends a probe, in a version of the extension that has no heartbeats.
const OWN: &str = "SELECT pg_catalog.pg_postmaster_start_time(), pg_catalog.current_database(), \
     NULL::text, true, pg_catalog.pg_postmaster_start_time(), pg_catalog.current_database()::text, \
     qsessions.invalidation_channel(), pg_catalog.clock_timestamp(), '\\x'::bytea, NULL::text, NULL::text, \
     qsessions.invalidate(id => $1::uuid)";

/// Announces the id of a probe like that of a changed session, or requests heartbeats.
pub(crate) async fn ask(
    connection: &Connection<'_>,
    statements: Statements,
    probe: Option<Uuid>,
    has_heartbeats: bool,
) -> Result<Vec<Answer>, Error> {
    let sql = if has_heartbeats { HEARTBEATS } else { OWN };
    match connection {
        Connection::Pooled(client) => send(&**client, statements, sql, probe).await,
        Connection::Spare(spare) => send(spare.client(), statements, sql, probe).await,
    }
}

async fn send<E: Executor>(
    executor: &E,
    statements: Statements,
    sql: &str,
    probe: Option<Uuid>,
) -> Result<Vec<Answer>, Error> {
    let database = Database {
        executor,
        statements,
    };
    database.rows(sql, &[(&probe, Type::UUID)], answer).await
}

fn answer(row: &Row) -> Result<Answer, Error> {
    let database: Option<String> = row.try_get(5)?;
    let server = match database {
        None => None,
        Some(database) => Some(Server {
            origin: Origin {
                started_at: past_instant(row, 4)?,
                database,
            },
            channel: row.try_get(6)?,
            clock: past_instant(row, 7)?,
            digest: row.try_get(8)?,
            layout: row.try_get(9)?,
            placements: row.try_get(10)?,
        }),
    };
    Ok(Answer {
        pool: Origin {
            started_at: past_instant(row, 0)?,
            database: row.try_get(1)?,
        },
        name: row.try_get(2)?,
        has_sessions: row.try_get(3)?,
        server,
    })
}
