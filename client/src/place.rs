use std::time::SystemTime;

use tokio_postgres::Row;

use crate::Error;
use crate::wire::{count, instant};

/// A database of places that the server has open.
///
/// ```
/// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
/// for database in store.geoip_databases().await? {
///     println!("{}: {} nodes", database.database_type, database.node_count);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GeoipDatabase {
    /// The file on the server.
    pub path: String,
    /// What it says of itself, such as `GeoLite2-City`.
    pub database_type: String,
    /// When it was made.
    pub build_time: Option<SystemTime>,
    /// 4 if it knows IPv4 only, 6 if both.
    pub ip_version: i32,
    /// The locales that names are given in.
    pub languages: Vec<String>,
    /// Nodes of the search tree.
    pub node_count: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// When this connection's server process opened it.
    pub loaded_at: Option<SystemTime>,
}

macro_rules! geoip_database_columns {
    () => {
        "path, database_type, build_time, ip_version::int4, languages::text[], node_count::int8, \
         bytes::int8, loaded_at"
    };
}
pub(crate) use geoip_database_columns;

impl TryFrom<Row> for GeoipDatabase {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            path: row.try_get(0)?,
            database_type: row.try_get(1)?,
            build_time: instant(&row, 2)?,
            ip_version: row.try_get(3)?,
            languages: row.try_get(4)?,
            node_count: count(&row, 5)?,
            bytes: count(&row, 6)?,
            loaded_at: instant(&row, 7)?,
        })
    }
}
