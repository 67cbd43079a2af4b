//! qsessions in the server: what cannot be written in SQL.
//!
//! | module | subject |
//! | --- | --- |
//! | [`sql`] | the SQL of the extension, from the folder `sql/` |
//! | [`gucs`] | the parameters `qsessions.*` and their defaults |
//! | [`invalidation`] | notifying caches of changed sessions |
//! | [`keys`] | session keys, ids and digests |
//! | [`user_agents`] | the parts of a User-Agent |
//! | [`addresses`] | one form for each address |
//! | [`create`] | what each new session needs |
//! | [`locks`] | locks of users |
//! | [`metrics`] | counters of what has happened |
//! | [`savepoints`] | what to go back to when a savepoint is rolled back |
//! | [`expiry`] | when a session expires |
//! | [`events`] | whether events are recorded, and why a session is deleted |
//! | [`current`] | the current session, for row-level security |
//! | [`visits`] | the visits that are recorded at once |
//! | [`geoip`] | the location of an address |
//! | [`workers`] | the background workers, and their signals |
//! | [`pg_cron`] | the jobs of pg_cron that purge this database |
//! | [`values`] | arguments and results in PostgreSQL's own form |
//!
//! Errors with SQLSTATEs of the extension are raised in SQL, because pgrx reports only codes that
//! PostgreSQL itself defines.

mod addresses;
mod create;
mod current;
mod events;
mod expiry;
mod geoip;
mod gucs;
mod invalidation;
mod keys;
mod locks;
mod metrics;
mod pg_cron;
mod savepoints;
mod sql;
#[cfg(any(test, feature = "pg_test"))]
mod tests;
mod user_agents;
mod values;
mod visits;
mod workers;

pgrx::pg_module_magic!(name, version);

/// Called once by each backend that loads the library.
#[allow(non_snake_case)]
#[pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    gucs::define();
    invalidation::init();
    metrics::init();
    current::init();
    geoip::init();
    events::init();
}

/// The version of the loaded library. `schema.sql` compares it with that of the script.
#[pgrx::pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_library_version",
    stable,
    parallel_safe
)]
fn library_version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// `cargo pgrx test` looks for this module by name.
#[cfg(test)]
#[allow(missing_docs)]
pub mod pg_test {
    pub fn setup(_options: Vec<&str>) {}

    #[must_use]
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        vec![]
    }
}
