//! Real PostgreSQL servers for tests and the demo: started in a folder of their own, reached through a Unix socket in it, gone
//! when they are dropped.
//!
//! The programs are those of the private copy of PostgreSQL that `make test` makes (`QSESSIONS_PG_CONFIG` names its
//! `pg_config`). PostgreSQL refuses to run as root; as root, servers run as the user `postgres`, or as
//! the one that `QSESSIONS_RUN_AS` names.

mod database;
mod installation;
mod pgbouncer;
mod process;
mod proxy;
mod server;

pub use database::{Database, Users, shared};
pub use installation::Installation;
pub use pgbouncer::PgBouncer;
pub use process::spawn;
pub use proxy::{Flow, Flows, Proxy};
pub use server::{Server, ServerBuilder, StopMode, connect};

/// What can go wrong while a server is set up.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// The result of setting something up.
pub type Result<T> = std::result::Result<T, Error>;
