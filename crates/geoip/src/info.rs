use std::borrow::Cow;

use serde::Serialize;

/// All that is known of a place, in the shape of Django's `GeoIP2.city()` or `GeoIP2.country()`.
///
/// It serialises to one flat JSON object: 16 members from a city database, 5 from a country
/// database, null where nothing is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack, and only until it is text"
)]
pub enum LocationInfo<'a> {
    /// From a city database.
    City(CityInfo<'a>),
    /// From a country database.
    Country(CountryInfo<'a>),
}

impl<'a> From<CityInfo<'a>> for LocationInfo<'a> {
    fn from(info: CityInfo<'a>) -> Self {
        Self::City(info)
    }
}

impl<'a> From<CountryInfo<'a>> for LocationInfo<'a> {
    fn from(info: CountryInfo<'a>) -> Self {
        Self::Country(info)
    }
}

impl LocationInfo<'_> {
    /// The JSON text of it.
    pub fn to_json(&self) -> String {
        json(self)
    }

    /// The same with two more members, `autonomous_system_number` and
    /// `autonomous_system_organization`, which are null where `network` is none.
    pub fn to_json_with(&self, network: Option<&AutonomousSystem<'_>>) -> String {
        #[derive(Serialize)]
        struct Both<'a> {
            #[serde(flatten)]
            info: &'a LocationInfo<'a>,
            autonomous_system_number: Option<u64>,
            autonomous_system_organization: Option<&'a str>,
        }

        json(&Both {
            info: self,
            autonomous_system_number: network.and_then(|network| network.number),
            autonomous_system_organization: network
                .and_then(|network| network.organization.as_deref()),
        })
    }
}

fn json(info: &impl Serialize) -> String {
    // Strings, numbers and booleans under string keys: there is nothing that could fail.
    serde_json::to_string(info).unwrap_or_else(|_| "null".to_owned())
}

/// Whose network an address is in.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AutonomousSystem<'a> {
    /// The number that a registry gave it: 64496 of AS64496.
    pub number: Option<u64>,
    /// Who runs it.
    pub organization: Option<Cow<'a, str>>,
}

/// What a city database knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CityInfo<'a> {
    /// Kilometres around the coordinates in which the address is believed to be.
    pub accuracy_radius: Option<u64>,
    /// Name, in the locale asked for.
    pub city: Option<Cow<'a, str>>,
    /// Two letters: `EU`, `NA`.
    pub continent_code: Option<&'a str>,
    /// Name, in the locale asked for.
    pub continent_name: Option<Cow<'a, str>>,
    /// ISO 3166-1 alpha-2.
    pub country_code: Option<&'a str>,
    /// Name, in the locale asked for.
    pub country_name: Option<Cow<'a, str>>,
    /// False also where nothing is known, as Django has it.
    pub is_in_european_union: bool,
    /// Degrees north.
    pub latitude: Option<f64>,
    /// Degrees east.
    pub longitude: Option<f64>,
    /// Nielsen's number of a media market in the United States.
    pub metro_code: Option<u64>,
    /// Postal code, or the part of it that is known.
    pub postal_code: Option<Cow<'a, str>>,
    /// The part after the hyphen in ISO 3166-2, of the largest region that holds the city.
    pub region_code: Option<&'a str>,
    /// Its name, in the locale asked for.
    pub region_name: Option<Cow<'a, str>>,
    /// Name in the IANA database: `Europe/London`.
    pub time_zone: Option<Cow<'a, str>>,
    /// The same as `metro_code`, under the name that Django's users of old know.
    pub dma_code: Option<u64>,
    /// The same as `region_code`, likewise.
    pub region: Option<&'a str>,
}

/// What a country database knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CountryInfo<'a> {
    /// Two letters: `EU`, `NA`.
    pub continent_code: Option<&'a str>,
    /// Name, in the locale asked for.
    pub continent_name: Option<Cow<'a, str>>,
    /// ISO 3166-1 alpha-2.
    pub country_code: Option<&'a str>,
    /// Name, in the locale asked for.
    pub country_name: Option<Cow<'a, str>>,
    /// False also where nothing is known, as Django has it.
    pub is_in_european_union: bool,
}
