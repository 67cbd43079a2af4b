//! What `bench/run` passes.

use std::str::FromStr;
use std::time::Duration;

use qsessions::deadpool_postgres::tokio_postgres::NoTls;
use qsessions::deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, tokio_postgres};
use qsessions::{CacheConfig, CachedStore, Key, Store};

use crate::Result;

pub(crate) fn text(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| format!("{name} is not set").into())
}

pub(crate) fn number<T: FromStr>(name: &str) -> Result<T> {
    let text = text(name)?;
    text.parse()
        .map_err(|_| format!("{name} is not a number: {text:?}").into())
}

pub(crate) fn rounds() -> Result<usize> {
    number("BENCH_ROUNDS")
}

pub(crate) fn turn() -> Result<Duration> {
    Ok(Duration::from_secs_f64(number("BENCH_SECONDS")?))
}

pub(crate) fn data() -> Result<serde_json::Value> {
    Ok(serde_json::from_str(&text("BENCH_DATA")?)?)
}

pub(crate) fn postgres() -> Result<tokio_postgres::Config> {
    Ok(text("BENCH_POSTGRES")?.parse()?)
}

/// One that trusts its connections, as deadpool's does by default: a query at each checkout would
/// cost both sides of a comparison as much again, and hide what the store costs.
pub(crate) fn pool(size: usize) -> Result<Pool> {
    let trusting = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = Manager::from_config(postgres()?, NoTls, trusting);
    Ok(Pool::builder(manager).max_size(size).build()?)
}

pub(crate) async fn cached_store(pool: Pool, config: CacheConfig) -> Result<CachedStore> {
    let store = Store::builder(pool)
        .cached(postgres()?, NoTls)
        .config(config)
        .build()?;
    store.ready().await?;
    Ok(store)
}

/// Keys of so many sessions of the table, in no order.
pub(crate) async fn keys(pool: &Pool, count: usize) -> Result<Vec<Key>> {
    let rows = pool
        .get()
        .await?
        .query(
            "SELECT e.value FROM bench.key AS k, jsonb_each_text(to_jsonb(k) - 'n') AS e LIMIT $1",
            &[&(count as i64)],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| Key::new(row.get::<_, String>(0)))
        .collect())
}
