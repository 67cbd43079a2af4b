//! Two connections, one of which waits for the other.

use crate::common::{Begun, Failure, row};
use qsessions_testkit::Database;
use tokio_postgres::Client;

/// Returns when the backend waits for a lock.
pub(crate) async fn blocked(observer: &Client, pid: i32) {
    loop {
        let waiting: bool = row(
            observer,
            "SELECT cardinality(pg_blocking_pids($1)) > 0",
            &[&pid],
        )
        .await
        .get(0);
        if waiting {
            return;
        }
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn backend(client: &Client) -> i32 {
    row(client, "SELECT pg_backend_pid()", &[]).await.get(0)
}

/// Runs `first` in a transaction, starts `second`, commits when `second` waits, and returns the
/// result of `second`.
pub(crate) async fn second_waits_for_first(
    database: &Database,
    session: &Begun,
    first: &str,
    second: &str,
) -> Result<(), Failure> {
    let (one, two, observer) = (
        database.connect().await,
        database.connect().await,
        database.connect().await,
    );
    one.batch_execute("BEGIN").await.unwrap();
    row(&one, first, &[&session.key]).await;
    let pid = backend(&two).await;
    let (outcome, ()) = tokio::join!(async { two.query(second, &[&session.key]).await }, async {
        blocked(&observer, pid).await;
        one.batch_execute("COMMIT").await.unwrap();
    });
    outcome.map(drop).map_err(|error| Failure::of(&error))
}
