//! Real PostgreSQL servers for tests and the demo. Each runs in a separate folder, accepts
//! connections through a Unix socket there, and is removed when it is dropped.
//!
//! The programs are those of the private copy of PostgreSQL that `make test` installs, or of the
//! one whose `pg_config` `QSESSIONS_PG_CONFIG` names. PostgreSQL refuses to run as root. If the
//! current user is root, servers run as the user `postgres`, or as the user that `QSESSIONS_RUN_AS`
//! names.

mod database;
mod exporter;
mod installation;
mod pgbouncer;
mod process;
mod proxy;
mod server;

pub use database::{Database, Users, shared};
pub use exporter::Exporter;
pub use installation::Installation;
pub use pgbouncer::PgBouncer;
pub use process::spawn;
pub use proxy::{Flow, Flows, Proxy};
pub use server::{Server, ServerBuilder, StopMode, connect};

/// An error while a server is set up.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// The result of a setup step.
pub type Result<T = ()> = std::result::Result<T, Error>;
