//! Where an address is. Without a database of places (`qsessions.geoip_path`) nobody knows, and
//! that is no error.

use std::net::IpAddr;

use serde_json::Value;
use tokio_postgres::types::Type;

use super::{Source, Store};
use crate::place::geoip_database_columns;
use crate::{Error, GeoipDatabase};

impl<S: Source> Store<S> {
    /// `City, Country`, else `Country`, else `None`. Without a locale, that of the setting
    /// `qsessions.locale`.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// let place = store.location("192.0.2.7".parse().unwrap(), Some("fr")).await?;
    /// println!("{}", place.as_deref().unwrap_or("nobody knows where"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn location(
        &self,
        ip: IpAddr,
        locale: Option<&str>,
    ) -> Result<Option<String>, Error> {
        self.value(
            "SELECT qsessions.location(ip => $1::inet, locale => $2::text)",
            &[(&ip, Type::INET), (&locale, Type::TEXT)],
        )
        .await
    }

    /// All that is known of the place, as a JSON object: the 16 members of Django 5.2's
    /// `GeoIP2.city()` (`city`, `country_code`, `latitude`, `longitude`, `time_zone` and so on), or
    /// the 5 of `country()` where the database knows countries only.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// if let Some(place) = store.location_info("192.0.2.7".parse().unwrap(), None).await? {
    ///     println!("{} {}", place["latitude"], place["longitude"]);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn location_info(
        &self,
        ip: IpAddr,
        locale: Option<&str>,
    ) -> Result<Option<Value>, Error> {
        self.value(
            "SELECT qsessions.location_info(ip => $1::inet, locale => $2::text)",
            &[(&ip, Type::INET), (&locale, Type::TEXT)],
        )
        .await
    }

    /// The country in two letters of ISO 3166-1, or `None`.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// let country = store.country_code("2001:db8::7".parse().unwrap()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn country_code(&self, ip: IpAddr) -> Result<Option<String>, Error> {
        self.value(
            "SELECT qsessions.country_code(ip => $1::inet)",
            &[(&ip, Type::INET)],
        )
        .await
    }

    /// The databases of places that are open.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// for database in store.geoip_databases().await? {
    ///     println!("{} at {}", database.database_type, database.path);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn geoip_databases(&self) -> Result<Vec<GeoipDatabase>, Error> {
        self.rows(
            concat!(
                "SELECT ",
                geoip_database_columns!(),
                " FROM qsessions.geoip_databases()"
            ),
            &[],
        )
        .await
    }
}
