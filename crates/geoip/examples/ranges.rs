//! Writes what a database of IPv4 cities knows as ranges, for tables that it is measured against:
//! the first and the last address and the place, separated by tabs. Neighbours with the same place
//! are one range.
//!
//! `cargo run --release --example ranges -- CITY.mmdb >RANGES.tsv`

use std::error::Error;
use std::io::{BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use qsessions_geoip::Reader;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("give a database")?;
    let bytes = std::fs::read(&path)?;
    let networks = maxminddb::Reader::from_source(&bytes)?;
    let reader = Reader::from_source(&bytes, Path::new(&path))?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut range: Option<(u32, u32, String)> = None;
    for network in networks.within("0.0.0.0/0".parse()?, Default::default())? {
        let network = network?.network()?;
        let (IpAddr::V4(first), bits) = (network.ip(), network.prefix()) else {
            continue;
        };
        let first = u32::from(first);
        let last = first | u32::MAX.checked_shr(bits.into()).unwrap_or(0);
        let place = match reader.look_up(Ipv4Addr::from(first).into())? {
            Some(place) => place.location("en")?.unwrap_or_default(),
            None => String::new(),
        };
        match &mut range {
            Some((_, end, same)) if *same == place && end.checked_add(1) == Some(first) => {
                *end = last
            }
            _ => {
                write_range(&mut out, range.replace((first, last, place)))?;
            }
        }
    }
    write_range(&mut out, range)?;
    Ok(())
}

fn write_range(out: &mut impl Write, range: Option<(u32, u32, String)>) -> std::io::Result<()> {
    match range {
        Some((first, last, place)) if !place.is_empty() => {
            let (first, last) = (Ipv4Addr::from(first), Ipv4Addr::from(last));
            // No name has a tab, a line end or a backslash in it.
            writeln!(out, "{first}\t{last}\t{place}")
        }
        _ => Ok(()),
    }
}
