//! The two layouts of a record, decoded without copying.
//!
//! Only what is used is decoded; the reader skips the rest.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::countries;
use crate::info::{AutonomousSystem, CityInfo, CountryInfo};
use crate::locale;

/// MaxMind's layout: sections with names in many locales.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Nested<'a> {
    #[serde(borrow)]
    city: Section<'a>,
    continent: Section<'a>,
    country: Section<'a>,
    location: Location<'a>,
    postal: Postal<'a>,
    /// From the largest to the smallest.
    subdivisions: First<Section<'a>>,
}

/// A city, a subdivision, a country or a continent.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Section<'a> {
    #[serde(borrow)]
    names: Names<'a>,
    code: Word<'a>,
    iso_code: Word<'a>,
    is_in_european_union: bool,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Location<'a> {
    accuracy_radius: Count,
    latitude: Coordinate,
    longitude: Coordinate,
    metro_code: Count,
    #[serde(borrow)]
    time_zone: Word<'a>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Postal<'a> {
    #[serde(borrow)]
    code: Option<Text<'a>>,
}

impl<'a> Section<'a> {
    pub(crate) fn name(&self, locale: &str) -> Option<&'a str> {
        self.names.get(locale)
    }
}

impl<'a> Nested<'a> {
    pub(crate) fn into_city_info(self, locale: &str) -> CityInfo<'a> {
        let country = self.country(locale);
        let region = self.subdivisions.0.unwrap_or_default();
        CityInfo {
            accuracy_radius: self.location.accuracy_radius.0,
            city: self.city.name(locale).map(Cow::Borrowed),
            continent_code: country.continent_code,
            continent_name: country.continent_name,
            country_code: country.country_code,
            country_name: country.country_name,
            is_in_european_union: country.is_in_european_union,
            latitude: self.location.latitude.0,
            longitude: self.location.longitude.0,
            metro_code: self.location.metro_code.0,
            postal_code: self.postal.code.and_then(|code| code.0),
            region_code: region.iso_code.0,
            region_name: region.name(locale).map(Cow::Borrowed),
            time_zone: self.location.time_zone.0.map(Cow::Borrowed),
            dma_code: self.location.metro_code.0,
            region: region.iso_code.0,
        }
    }

    pub(crate) fn into_country_info(self, locale: &str) -> CountryInfo<'a> {
        self.country(locale)
    }

    /// The names are those of the file. Some files have only the codes.
    fn country(&self, locale: &str) -> CountryInfo<'a> {
        let continent_code = self.continent.code.0;
        let country_code = self.country.iso_code.0;
        CountryInfo {
            continent_code,
            continent_name: self
                .continent
                .name(locale)
                .map(Cow::Borrowed)
                .or_else(|| countries::continent_name(continent_code?, locale)),
            country_code,
            country_name: self
                .country
                .name(locale)
                .map(Cow::Borrowed)
                .or_else(|| countries::usual_name(country_code?, locale)),
            is_in_european_union: self.country.is_in_european_union,
        }
    }
}

/// ip-location-db's layout: one level, one language, no names of countries, '' for absent.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Flat<'a> {
    #[serde(borrow)]
    city: Text<'a>,
    country_code: Word<'a>,
    latitude: Coordinate,
    longitude: Coordinate,
    postcode: Text<'a>,
    state1: Text<'a>,
    timezone: Text<'a>,
}

/// What `City, Country` takes of the flat layout, in one pass over the record.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct FlatBrief<'a> {
    #[serde(borrow)]
    pub(crate) city: Text<'a>,
    pub(crate) country_code: Word<'a>,
}

impl<'a> Flat<'a> {
    pub(crate) fn into_city_info(self, locale: &str) -> CityInfo<'a> {
        let country = self.country(locale);
        CityInfo {
            city: self.city.0,
            continent_code: country.continent_code,
            continent_name: country.continent_name,
            country_code: country.country_code,
            country_name: country.country_name,
            is_in_european_union: country.is_in_european_union,
            latitude: self.latitude.0,
            longitude: self.longitude.0,
            postal_code: self.postcode.0,
            region_name: self.state1.0,
            time_zone: self.timezone.0,
            ..CityInfo::default()
        }
    }

    pub(crate) fn into_country_info(self, locale: &str) -> CountryInfo<'a> {
        self.country(locale)
    }

    fn country(&self, locale: &str) -> CountryInfo<'a> {
        let Some(code) = self.country_code.0 else {
            return CountryInfo::default();
        };
        let country = countries::country(code, locale);
        CountryInfo {
            continent_code: country.continent_code,
            continent_name: country.continent_name,
            country_code: Some(code),
            country_name: country.name,
            is_in_european_union: country.is_in_european_union,
        }
    }
}

/// A record of a database of networks, which both makers lay out alike.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Network<'a> {
    autonomous_system_number: Count,
    #[serde(borrow)]
    autonomous_system_organization: Text<'a>,
}

impl<'a> From<Network<'a>> for AutonomousSystem<'a> {
    fn from(record: Network<'a>) -> Self {
        Self {
            number: record.autonomous_system_number.0,
            organization: record.autonomous_system_organization.0,
        }
    }
}

/// Names by locale, in the order of the file.
#[derive(Debug, Default)]
pub(crate) struct Names<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Names<'a> {
    pub(crate) fn get(&self, locale: &str) -> Option<&'a str> {
        locale::best(locale, self.0.iter().copied())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Names<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NamesVisitor;

        impl<'de> Visitor<'de> for NamesVisitor {
            type Value = Names<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map of names by locale")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                // MaxMind's files have eight; a size that a broken file claims is not trusted.
                let mut names = Vec::with_capacity(map.size_hint().unwrap_or(0).min(8));
                while let Some((locale, Word(name))) = map.next_entry()? {
                    names.extend(name.map(|name| (locale, name)));
                }
                Ok(Names(names))
            }
        }

        deserializer.deserialize_map(NamesVisitor)
    }
}

/// The first item of an array.
#[derive(Debug)]
struct First<T>(Option<T>);

impl<T> Default for First<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for First<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FirstVisitor<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for FirstVisitor<T> {
            type Value = First<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let first = seq.next_element()?;
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(First(first))
            }
        }

        deserializer.deserialize_seq(FirstVisitor(std::marker::PhantomData))
    }
}

/// A text that may have been written as a number; '' is none.
#[derive(Debug, Default)]
pub(crate) struct Text<'a>(pub(crate) Option<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or a whole number")
            }

            fn visit_borrowed_str<E: serde::de::Error>(
                self,
                text: &'de str,
            ) -> Result<Self::Value, E> {
                Ok(Text(checked(text)?.map(Cow::Borrowed)))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Text(Some(Cow::Owned(number.to_string()))))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Text(Some(Cow::Owned(number.to_string()))))
            }
        }

        deserializer.deserialize_any(TextVisitor)
    }
}

/// A text that is only borrowed; '' is none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Word<'a>(pub(crate) Option<&'a str>);

impl<'de: 'a, 'a> Deserialize<'de> for Word<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        checked(<&str>::deserialize(deserializer)?).map(Self)
    }
}

/// No text in a database has a NUL in it unless it is broken, and PostgreSQL cannot hold one.
fn checked<E: serde::de::Error>(text: &str) -> Result<Option<&str>, E> {
    if text.contains('\0') {
        return Err(E::custom("a text has a NUL in it"));
    }
    Ok((!text.is_empty()).then_some(text))
}

/// A whole number of any width.
#[derive(Clone, Copy, Debug, Default)]
struct Count(Option<u64>);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CountVisitor;

        impl Visitor<'_> for CountVisitor {
            type Value = Count;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a whole number, not negative")
            }

            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Count(Some(number)))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Self::Value, E> {
                u64::try_from(number)
                    .map(|number| Count(Some(number)))
                    .map_err(E::custom)
            }
        }

        // Asked for a u64, the decoder would take no u16.
        deserializer.deserialize_any(CountVisitor)
    }
}

/// Degrees, as a number or as text; '' and what is no finite number are none.
#[derive(Clone, Copy, Debug, Default)]
struct Coordinate(Option<f64>);

impl<'de> Deserialize<'de> for Coordinate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CoordinateVisitor;

        impl Visitor<'_> for CoordinateVisitor {
            type Value = Coordinate;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("degrees")
            }

            fn visit_f64<E>(self, degrees: f64) -> Result<Self::Value, E> {
                Ok(Coordinate(
                    Some(degrees).filter(|degrees| degrees.is_finite()),
                ))
            }

            fn visit_f32<E: serde::de::Error>(self, degrees: f32) -> Result<Self::Value, E> {
                // Through the shortest decimal, so that 37.422 does not become 37.422000885009766.
                self.visit_str(&degrees.to_string())
            }

            fn visit_u64<E>(self, degrees: u64) -> Result<Self::Value, E> {
                Ok(Coordinate(Some(degrees as f64)))
            }

            fn visit_i64<E>(self, degrees: i64) -> Result<Self::Value, E> {
                Ok(Coordinate(Some(degrees as f64)))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Coordinate(
                    text.parse()
                        .ok()
                        .filter(|degrees: &f64| degrees.is_finite()),
                ))
            }
        }

        deserializer.deserialize_any(CoordinateVisitor)
    }
}
