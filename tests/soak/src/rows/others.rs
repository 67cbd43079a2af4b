//! Purges, and visits in batches.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use fastrand::Rng;
use tokio_postgres::{Client, Config};
use uuid::Uuid;

use super::book::{Book, Life, lock};
use crate::Result;

/// Visits in a batch.
const BATCH: usize = 60;

/// Connects, as soon as the server accepts connections. `None` if it does not until then.
pub(super) async fn connect(config: &Config, until: Instant) -> Option<Client> {
    while Instant::now() < until {
        if let Ok(client) = qsessions_testkit::connect(config).await {
            return Some(client);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    None
}

/// Whether this error says that the connection is lost, so that the outcome is not known. An error
/// of any other kind says that the statement was rolled back.
pub(super) fn is_lost(error: &tokio_postgres::Error) -> bool {
    error
        .code()
        .is_none_or(|code| code.code().starts_with("57P"))
}

/// Purges until this time.
pub(super) async fn purge(
    config: Config,
    book: Arc<Book>,
    mut rng: Rng,
    until: Instant,
) -> Result<()> {
    while let Some(client) = connect(&config, until).await {
        while Instant::now() < until {
            let purged = if rng.bool() {
                let statement = format!("CALL qsessions.purge({})", rng.u32(1..40));
                client.batch_execute(&statement).await.map(|()| 0)
            } else {
                let statement = format!("SELECT qsessions.purge_expired({})", rng.u32(1..40));
                let row = client.query_one(&statement, &[]).await;
                row.map(|row| row.get::<_, i64>(0))
            };
            match purged {
                Ok(purged) => book.count(|counts| counts.purged += purged.cast_unsigned()),
                Err(error) if is_lost(&error) => break,
                Err(error) => return Err(format!("a purge has failed: {error:?}").into()),
            }
            tokio::time::sleep(Duration::from_millis(rng.u64(0..40))).await;
        }
    }
    Ok(())
}

/// Records visits of any sessions, also of dead ones, until this time.
pub(super) async fn visit(
    config: Config,
    book: Arc<Book>,
    mut rng: Rng,
    until: Instant,
) -> Result<()> {
    while let Some(client) = connect(&config, until).await {
        while Instant::now() < until {
            let (mut ids, mut keys, mut seen) = (Vec::<Uuid>::new(), Vec::new(), Vec::new());
            for _ in 0..BATCH {
                let Some(session) = book.any(&mut rng) else {
                    break;
                };
                let mut session = lock(&session);
                let Some(key) = session.key.clone() else {
                    continue;
                };
                let at = SystemTime::now() - Duration::from_millis(rng.u64(0..100));
                // One that is dead stays so.
                if matches!(session.life, Life::Live | Life::MaybeEnded) {
                    session.may_be_visited(at);
                }
                ids.push(session.id);
                keys.push(key);
                seen.push(at);
            }
            if ids.is_empty() {
                tokio::task::yield_now().await;
                continue;
            }
            let ips = vec![format!("192.0.2.{}", rng.u8(1..255)); ids.len()];
            let recorded = client
                .query_one(
                    "SELECT qsessions.record_visits(
                         $1::uuid[], ARRAY(SELECT sha256(convert_to(k.key, 'UTF8'))
                                   FROM unnest($2::text[]) WITH ORDINALITY AS k (key, n) ORDER BY k.n),
                         $3::text[]::inet[], array_fill(NULL::text, ARRAY[cardinality($1::uuid[])]), $4::timestamptz[])",
                    &[&ids, &keys, &ips, &seen],
                )
                .await;
            match recorded {
                Ok(row) => {
                    let recorded: i64 = row.get(0);
                    book.count(|counts| counts.visits += recorded.cast_unsigned());
                }
                Err(error) if is_lost(&error) => break,
                Err(error) => return Err(format!("visits have failed: {error:?}").into()),
            }
            tokio::time::sleep(Duration::from_millis(rng.u64(0..30))).await;
        }
    }
    Ok(())
}
