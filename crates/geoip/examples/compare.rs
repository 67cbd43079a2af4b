//! Compares answers with expected ones, which are lines of JSON with `database`
//! (`city` or `country`), `ip`, `location_info` and `location`.
//!
//! `cargo run --example compare -- EXPECTED.jsonl CITY.mmdb COUNTRY.mmdb`

use std::error::Error;
use std::net::IpAddr;
use std::path::Path;

use qsessions_geoip::Reader;
use serde_json::Value;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [expected, city, country] = arguments.as_slice() else {
        return Err("give the expected answers, a city and a country database".into());
    };
    let open = |path| -> Result<_, Box<dyn Error>> {
        Ok(Reader::from_source(std::fs::read(path)?, Path::new(path))?)
    };
    let (city, country) = (open(city)?, open(country)?);

    let (mut right, mut wrong) = (0, 0);
    for line in std::fs::read_to_string(expected)?.lines() {
        let row: Value = serde_json::from_str(line)?;
        let reader = if row["database"] == "city" {
            &city
        } else {
            &country
        };
        let ip: IpAddr = row["ip"].as_str().ok_or("no ip")?.parse()?;
        let (info, location) = match reader.look_up(ip)? {
            Some(place) => (
                serde_json::from_str(&place.location_info("en")?.to_json())?,
                place.location("en")?.map_or(Value::Null, Value::from),
            ),
            None => (Value::Null, Value::Null),
        };
        // As jsonb does, `Value` compares members by name and numbers by value.
        if info == row["location_info"] && location == row["location"] {
            right += 1;
        } else {
            wrong += 1;
            println!("{ip}\n  ours     {info} {location}");
            println!("  expected {} {}", row["location_info"], row["location"]);
        }
    }
    println!("{right} right, {wrong} wrong");
    Ok(())
}
