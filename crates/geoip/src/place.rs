use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use maxminddb::{LookupResult, MaxMindDbError, PathElement, path};
use serde::Deserialize;

use crate::record::{Flat, FlatBrief, Names, Nested, Network, Word};
use crate::shape::Layout;
use crate::{AutonomousSystem, Error, Kind, LocationInfo, Reader, countries};

/// What a database knows of one address. Nothing is decoded before it is asked for.
///
/// A `locale` is a BCP 47 tag (`de`, `pt-BR`; `pt_BR` will do). Where there is no name in it,
/// that of a near locale is taken, then the English one.
#[derive(Debug)]
pub struct Place<'a, S: AsRef<[u8]> = Vec<u8>> {
    reader: &'a Reader<S>,
    found: LookupResult<'a, S>,
}

impl<'a, S: AsRef<[u8]>> Place<'a, S> {
    pub(crate) fn new(reader: &'a Reader<S>, found: LookupResult<'a, S>) -> Self {
        Self { reader, found }
    }

    /// All that is known: from a city database as [`LocationInfo::City`], from any other as
    /// [`LocationInfo::Country`].
    ///
    /// # Errors
    /// [`Error::Corrupt`]
    pub fn location_info(&self, locale: &str) -> Result<LocationInfo<'a>, Error> {
        let is_city = self.reader.kind == Kind::City;
        Ok(match self.reader.layout {
            Layout::Nested => {
                let record: Nested<'a> = self.decode()?;
                if is_city {
                    record.into_city_info(locale).into()
                } else {
                    record.into_country_info(locale).into()
                }
            }
            Layout::Flat => {
                let record: Flat<'a> = self.decode()?;
                if is_city {
                    record.into_city_info(locale).into()
                } else {
                    record.into_country_info(locale).into()
                }
            }
        })
    }

    /// Code of the country, ISO 3166-1 alpha-2.
    ///
    /// # Errors
    /// [`Error::Corrupt`]
    pub fn country_code(&self) -> Result<Option<&'a str>, Error> {
        let code: Option<Word<'a>> = match self.reader.layout {
            Layout::Nested => self.value(&path!["country", "iso_code"])?,
            Layout::Flat => self.value(&path!["country_code"])?,
        };
        Ok(code.and_then(|code| code.0))
    }

    /// `City, Country`, or `Country` where the city is not known; none without a country.
    ///
    /// # Errors
    /// [`Error::Corrupt`]
    pub fn location(&self, locale: &str) -> Result<Option<String>, Error> {
        match self.reader.layout {
            Layout::Nested => self.nested_location(locale),
            Layout::Flat => self.flat_location(locale),
        }
    }

    fn nested_location(&self, locale: &str) -> Result<Option<String>, Error> {
        let mut country = self.name("country", locale)?.map(Cow::Borrowed);
        if country.is_none() {
            let code = self.country_code()?;
            country = code.and_then(|code| countries::usual_name(code, locale));
        }
        let Some(country) = country else {
            return Ok(None);
        };
        let city = match self.reader.kind {
            Kind::City => self.name("city", locale)?,
            _ => None,
        };
        Ok(Some(join(city, &country)))
    }

    fn flat_location(&self, locale: &str) -> Result<Option<String>, Error> {
        let record: FlatBrief<'a> = self.decode()?;
        let name = |code| countries::usual_name(code, locale);
        let Some(country) = record.country_code.0.and_then(name) else {
            return Ok(None);
        };
        let city = record.city.0.filter(|_| self.reader.kind == Kind::City);
        Ok(Some(join(city.as_deref(), &country)))
    }

    /// What a database of networks knows.
    ///
    /// # Errors
    /// [`Error::Corrupt`]
    pub fn autonomous_system(&self) -> Result<AutonomousSystem<'a>, Error> {
        self.decode::<Network<'a>>().map(Into::into)
    }

    /// Decodes all that the other methods could decode.
    pub(crate) fn decode_all(&self) -> Result<(), Error> {
        match (self.reader.kind, self.reader.layout) {
            (Kind::City | Kind::Country, Layout::Nested) => {
                self.decode::<Nested<'a>>()?;
                // Walking to a value takes keys more strictly than decoding them all: a number
                // is no key there. No name has this locale, so that every key is walked by.
                self.location("-")?;
                self.country_code().map(drop)
            }
            (Kind::City | Kind::Country, Layout::Flat) => {
                self.decode::<Flat<'a>>()?;
                self.location("-")?;
                self.country_code().map(drop)
            }
            (Kind::Asn, _) => self.decode::<Network<'a>>().map(drop),
            (Kind::Other, _) => self.decode::<Unread>().map(drop),
        }
    }

    /// The name in a section of MaxMind's layout.
    fn name(&self, section: &str, locale: &str) -> Result<Option<&'a str>, Error> {
        // Most look-ups are for a locale that is there: no need to collect the others.
        if let Some(Word(Some(name))) = self.value(&path![section, "names", locale])? {
            return Ok(Some(name));
        }
        let names: Option<Names<'a>> = self.value(&path![section, "names"])?;
        Ok(names.and_then(|names| names.get(locale)))
    }

    fn value<T: Deserialize<'a>>(&self, path: &[PathElement<'_>]) -> Result<Option<T>, Error> {
        guarded(|| self.found.decode_path(path)).map_err(|reason| self.corrupt(reason))
    }

    fn decode<T: Deserialize<'a> + Default>(&self) -> Result<T, Error> {
        let record = guarded(|| self.found.decode()).map_err(|reason| self.corrupt(reason))?;
        Ok(record.unwrap_or_default())
    }

    fn corrupt(&self, reason: String) -> Error {
        Error::Corrupt {
            path: self.reader.path.clone(),
            reason,
        }
    }
}

/// A record that is a map, of whatever.
#[derive(Default, Deserialize)]
struct Unread {}

fn join(city: Option<&str>, country: &str) -> String {
    let Some(city) = city else {
        return country.to_owned();
    };
    let mut location = String::with_capacity(city.len() + 2 + country.len());
    location.push_str(city);
    location.push_str(", ");
    location.push_str(country);
    location
}

/// Runs the decoder on the bytes of a foreign file. It is written not to panic; should it do so all
/// the same, that is an error as any other.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, MaxMindDbError>) -> Result<T, String> {
    // The reader is never changed, so that a panic leaves nothing half done in it.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("the decoder panicked".to_owned()),
    }
}
