//! Where an address is. Without a database of places (`qsessions.geoip_path`) nobody knows, and
//! that is no error.

use std::net::IpAddr;

use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::{Source, Store};
use crate::place::geoip_database_columns;
use crate::wire::Jsonb;
use crate::{AutonomousSystem, Error, GeoipDatabase};

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
    /// the 5 of `country()` where the database knows countries only. Where the server has a database of autonomous
    /// systems, `autonomous_system_number` and `autonomous_system_organization` come on top.
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
        let Info(info) = self
            .row(
                "SELECT qsessions.location_info(ip => $1::inet, locale => $2::text)",
                &[(&ip, Type::INET), (&locale, Type::TEXT)],
            )
            .await?;
        Ok(info)
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

    /// The autonomous system that the address is in, if the server has a database of such that knows it.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// if let Some(network) = store.asn("2001:db8::7".parse().unwrap()).await? {
    ///     println!("{}", network.organization.unwrap_or_default());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn asn(&self, ip: IpAddr) -> Result<Option<AutonomousSystem>, Error> {
        self.optional_row(
            "SELECT number, organization FROM qsessions.asn(ip => $1::inet) \
             WHERE number IS NOT NULL OR organization IS NOT NULL",
            &[(&ip, Type::INET)],
        )
        .await
    }

    /// The databases of places that are open on this connection, and what is wrong with files.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// for database in store.geoip_databases().await? {
    ///     println!("{:?} at {}", database.database_type, database.path);
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

    /// Has changed files taken now, rather than within `qsessions.geoip_check_interval`; what is then open.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// let errors = store.geoip_reload().await?.into_iter().filter_map(|database| database.error);
    /// errors.for_each(|error| println!("{error}"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn geoip_reload(&self) -> Result<Vec<GeoipDatabase>, Error> {
        self.rows(
            concat!(
                "SELECT ",
                geoip_database_columns!(),
                " FROM qsessions.geoip_reload()"
            ),
            &[],
        )
        .await
    }
}

struct Info(Option<Value>);

impl TryFrom<Row> for Info {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let info = row.try_get::<_, Option<Jsonb<'_>>>(0)?;
        let decoded = info.map(Jsonb::decode).transpose()?;
        Ok(Self(decoded.map(|info| info.value)))
    }
}
