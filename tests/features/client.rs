//! The client crate with a real server: every call, every error, and transactions of the caller.

mod administration;
mod calls;
mod data;
mod errors;
mod purge_every;
mod setup;
mod transactions;
mod visitors;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use qsessions::Store;
use qsessions_testkit::Database;
use std::net::IpAddr;
use std::time::Duration;
use tokio_postgres::{Config, NoTls};

const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn pool(database: &Database) -> Pool {
    pool_to(&database.config())
}

fn pool_to(config: &Config) -> Pool {
    let recycling = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = Manager::from_config(config.clone(), NoTls, recycling);
    Pool::builder(manager).max_size(4).build().unwrap()
}

async fn store() -> (Database, Store) {
    let database = Database::new().await;
    let store = Store::new(pool(&database));
    (database, store)
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}
