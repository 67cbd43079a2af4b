use std::time::SystemTime;

use tokio_postgres::Row;

use crate::Error;
use crate::wire::{count, instant};

/// A database of places that the server has open, or a file that it can't use.
///
/// ```
/// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
/// for database in store.geoip_databases().await? {
///     let database_type = database.database_type.as_deref().unwrap_or("not usable");
///     println!("{}: {database_type} {}", database.path, database.error.unwrap_or_default());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GeoipDatabase {
    /// The file on the server.
    pub path: String,
    /// What it says of itself, such as `GeoLite2-City`; `None`, as the next five, if nothing of it can be used.
    pub database_type: Option<String>,
    /// When it was made.
    pub build_time: Option<SystemTime>,
    /// 4 if it knows IPv4 only, 6 if both.
    pub ip_version: Option<i32>,
    /// The locales that names are given in.
    pub languages: Option<Vec<String>>,
    /// Nodes of the search tree.
    pub node_count: Option<u64>,
    /// Its size in bytes.
    pub bytes: Option<u64>,
    /// When this connection's server process opened it.
    pub loaded_at: Option<SystemTime>,
    /// What is wrong with the file as it is now. A copy from before goes on serving, if there is one.
    pub error: Option<String>,
    /// When that was met.
    pub error_at: Option<SystemTime>,
}

/// The autonomous system that an address is in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AutonomousSystem {
    /// Its number: 64496 of AS64496.
    pub number: Option<i64>,
    /// Who runs it.
    pub organization: Option<String>,
}

macro_rules! geoip_database_columns {
    () => {
        "path, database_type, build_time, ip_version::int4, languages::text[], node_count::int8, \
         bytes::int8, loaded_at, error, error_at"
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
            node_count: size(&row, 5)?,
            bytes: size(&row, 6)?,
            loaded_at: instant(&row, 7)?,
            error: row.try_get(8)?,
            error_at: instant(&row, 9)?,
        })
    }
}

fn size(row: &Row, column: usize) -> Result<Option<u64>, Error> {
    match row.try_get::<_, Option<i64>>(column)? {
        Some(_) => count(row, column).map(Some),
        None => Ok(None),
    }
}

impl TryFrom<Row> for AutonomousSystem {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            number: row.try_get(0)?,
            organization: row.try_get(1)?,
        })
    }
}
