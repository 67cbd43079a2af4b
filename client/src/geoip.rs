//! Where addresses are, by the GeoIP databases of the server (`qsessions.geoip_path`). Without any,
//! all locations are unknown, which is no error.

use std::net::IpAddr;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::call::sent_when_awaited;
use crate::database::Executor;
use crate::error::Error;
use crate::json::Jsonb;
use crate::rfc3339;
use crate::store::Store;
use crate::wire::{count, instant};

/// A GeoIP database that the server has open, or a file that it cannot use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GeoipDatabase {
    /// The path of the file on the server.
    pub path: String,
    /// The type that the file gives itself, such as `GeoLite2-City`. This and the following five
    /// are `None` if the file cannot be used.
    pub database_type: Option<String>,
    /// When the file was built.
    #[serde(with = "rfc3339::option")]
    pub build_time: Option<SystemTime>,
    /// 4 if it has IPv4 addresses only, 6 if it has both.
    pub ip_version: Option<u8>,
    /// The locales of its names.
    pub languages: Option<Vec<String>>,
    /// The number of nodes of its search tree.
    pub node_count: Option<u64>,
    /// Its size in bytes.
    pub bytes: Option<u64>,
    /// When the server process of this connection opened it.
    #[serde(with = "rfc3339::option")]
    pub loaded_at: Option<SystemTime>,
    /// What is wrong with the file as it is now. An earlier copy stays in use, if there is one.
    pub error: Option<String>,
    /// When that error was found.
    #[serde(with = "rfc3339::option")]
    pub error_at: Option<SystemTime>,
}

/// The autonomous system of an address: the result of [`Store::asn`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AutonomousSystem {
    /// Its number: 64496 for AS64496.
    pub number: Option<u32>,
    /// The organization that runs it.
    pub organization: Option<String>,
}

macro_rules! geoip_database_columns {
    () => {
        "path, database_type, build_time, ip_version::int4, languages::text[], node_count::int8, \
         bytes::int8, loaded_at, error, error_at"
    };
}

impl GeoipDatabase {
    fn from_row(row: &Row) -> Result<Self, Error> {
        let ip_version = row.try_get::<_, Option<i32>>(3)?;
        Ok(Self {
            path: row.try_get(0)?,
            database_type: row.try_get(1)?,
            build_time: instant(row, 2)?,
            ip_version: ip_version.and_then(|version| u8::try_from(version).ok()),
            languages: row.try_get(4)?,
            node_count: optional_count(row, 5)?,
            bytes: optional_count(row, 6)?,
            loaded_at: instant(row, 7)?,
            error: row.try_get(8)?,
            error_at: instant(row, 9)?,
        })
    }
}

impl AutonomousSystem {
    fn from_row(row: &Row) -> Result<Self, Error> {
        let number = row.try_get::<_, Option<i64>>(0)?;
        Ok(Self {
            number: number.and_then(|number| u32::try_from(number).ok()),
            organization: row.try_get(1)?,
        })
    }
}

fn optional_count(row: &Row, column: usize) -> Result<Option<u64>, Error> {
    match row.try_get::<_, Option<i64>>(column)? {
        Some(_) => count(row, column).map(Some),
        None => Ok(None),
    }
}

/// The arguments of [`Store::location`]. Awaiting it sends the call.
#[must_use = "a call is sent when it is awaited"]
pub struct Location<'a, E> {
    store: &'a Store<E>,
    ip: IpAddr,
    locale: Option<&'a str>,
}

/// The arguments of [`Store::location_info`]. Awaiting it sends the call.
#[must_use = "a call is sent when it is awaited"]
pub struct LocationInfo<'a, E> {
    store: &'a Store<E>,
    ip: IpAddr,
    locale: Option<&'a str>,
}

impl<E: Executor> Store<E> {
    /// The location of an address: `City, Country`, or `Country` if the city is unknown, or `None`.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// let location = store.location("192.0.2.7".parse().unwrap()).locale("fr").await?;
    /// println!("{}", location.as_deref().unwrap_or("unknown"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn location(&self, ip: IpAddr) -> Location<'_, E> {
        Location {
            store: self,
            ip,
            locale: None,
        }
    }

    /// All that is known of a location, as a JSON object: the 16 members of `GeoIP2.city()` of
    /// Django 5.2 (`city`, `country_code`, `latitude`, `longitude`, `time_zone` and so on), or the
    /// 5 members of `country()` if the database knows countries only. If the server has a database
    /// of autonomous systems, `autonomous_system_number` and `autonomous_system_organization` are
    /// added.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// if let Some(info) = store.location_info("192.0.2.7".parse().unwrap()).await? {
    ///     println!("{} {}", info["latitude"], info["longitude"]);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn location_info(&self, ip: IpAddr) -> LocationInfo<'_, E> {
        LocationInfo {
            store: self,
            ip,
            locale: None,
        }
    }

    /// The country of an address as a code of two letters (ISO 3166-1), or `None`.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// let country = store.country_code("2001:db8::7".parse().unwrap()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn country_code(&self, ip: IpAddr) -> Result<Option<String>, Error> {
        self.database
            .value(
                "SELECT qsessions.country_code(ip => $1::inet)",
                &[(&ip, Type::INET)],
            )
            .await
    }

    /// The autonomous system of an address, if the server has a database that knows it.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// if let Some(system) = store.asn("2001:db8::7".parse().unwrap()).await? {
    ///     println!("{}", system.organization.unwrap_or_default());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn asn(&self, ip: IpAddr) -> Result<Option<AutonomousSystem>, Error> {
        self.database
            .optional_row(
                "SELECT number, organization FROM qsessions.asn(ip => $1::inet) \
                 WHERE number IS NOT NULL OR organization IS NOT NULL",
                &[(&ip, Type::INET)],
                AutonomousSystem::from_row,
            )
            .await
    }

    /// The GeoIP databases that the server has open, and what is wrong with files.
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
    pub async fn geoip_databases(&self) -> Result<Vec<GeoipDatabase>, Error> {
        self.database
            .rows(
                concat!(
                    "SELECT ",
                    geoip_database_columns!(),
                    " FROM qsessions.geoip_databases()"
                ),
                &[],
                GeoipDatabase::from_row,
            )
            .await
    }

    /// Has the server read changed files now rather than within `qsessions.geoip_check_interval`,
    /// and returns the databases that are then open.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// let errors = store.geoip_reload().await?.into_iter().filter_map(|database| database.error);
    /// errors.for_each(|error| println!("{error}"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn geoip_reload(&self) -> Result<Vec<GeoipDatabase>, Error> {
        self.database
            .rows(
                concat!(
                    "SELECT ",
                    geoip_database_columns!(),
                    " FROM qsessions.geoip_reload()"
                ),
                &[],
                GeoipDatabase::from_row,
            )
            .await
    }
}

impl<'a, E> Location<'a, E> {
    /// The language of the names, such as `fr`: by default that of the setting `qsessions.locale`.
    pub fn locale(mut self, locale: impl Into<Option<&'a str>>) -> Self {
        self.locale = locale.into();
        self
    }
}

impl<'a, E> LocationInfo<'a, E> {
    /// The language of the names, such as `fr`: by default that of the setting `qsessions.locale`.
    pub fn locale(mut self, locale: impl Into<Option<&'a str>>) -> Self {
        self.locale = locale.into();
        self
    }
}

impl<E: Executor> Location<'_, E> {
    async fn send(self) -> Result<Option<String>, Error> {
        self.store
            .database
            .value(
                "SELECT qsessions.location(ip => $1::inet, locale => $2::text)",
                &[(&self.ip, Type::INET), (&self.locale, Type::TEXT)],
            )
            .await
    }
}

impl<E: Executor> LocationInfo<'_, E> {
    async fn send(self) -> Result<Option<Value>, Error> {
        self.store
            .database
            .row(
                "SELECT qsessions.location_info(ip => $1::inet, locale => $2::text)",
                &[(&self.ip, Type::INET), (&self.locale, Type::TEXT)],
                |row| {
                    let info = row.try_get::<_, Option<Jsonb<'_>>>(0)?;
                    Ok(info.map(Jsonb::value).transpose()?)
                },
            )
            .await
    }
}

sent_when_awaited!(Location -> Option<String>);
sent_when_awaited!(LocationInfo -> Option<Value>);
