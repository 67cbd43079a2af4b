//! A small GeoIP database, for a machine that has no real one.

use std::fs;
use std::path::Path;

use mmdb_writer::Writer;
use serde::Serialize;

use crate::people::{Location, PEOPLE};
use qsessions_testkit::Result;

/// A record in the flat schema of ip-location-db, where '' stands for an unknown value.
#[derive(Serialize)]
struct Record {
    city: &'static str,
    country_code: &'static str,
    latitude: f32,
    longitude: f32,
    postcode: &'static str,
    state1: &'static str,
    state2: &'static str,
    timezone: &'static str,
}

/// Writes a database that contains only the addresses of the people.
///
/// # Errors
///
/// If the file cannot be written.
pub fn write_small_database(file: &Path) -> Result {
    let mut writer = Writer::new("qsessions-demo-City");
    for visit in PEOPLE.iter().flat_map(|person| &person.visits) {
        let Location {
            city,
            country_code,
            latitude,
            longitude,
        } = visit.location;
        let record = Record {
            city,
            country_code,
            latitude,
            longitude,
            postcode: "",
            state1: "",
            state2: "",
            timezone: "",
        };
        writer.insert(visit.ip(), &record)?;
    }
    fs::write(file, writer.to_bytes()?)?;
    Ok(())
}
