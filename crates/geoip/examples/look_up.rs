//! Shows what a file or a folder of databases knows of addresses, and how long that takes.
//!
//! Private copies are made in the folder STORE, which stays there: a second run opens them.
//!
//! `cargo run --release --example look_up -- STORE PATH LOCALE ADDRESS...`

use std::error::Error;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Instant;

use qsessions_geoip::{DEFAULT_MAX_BYTES, Directory, Monitor, Options, Store};

struct Printed;

impl Monitor for Printed {
    fn tick(&mut self) {}

    fn note(&mut self, line: &str) {
        println!("{line}");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [store, path, locale, addresses @ ..] = arguments.as_slice() else {
        return Err("give a folder for copies, a path, a locale and addresses".into());
    };
    let options = Options {
        store: Store::new(store, true),
        max_bytes: DEFAULT_MAX_BYTES,
    };
    let start = Instant::now();
    let directory = Directory::open(Path::new(path), options, &mut Printed);
    println!("opened in {:?}", start.elapsed());
    for database in directory.databases() {
        let reader = &database.reader;
        println!(
            "{} {:?} {:?}",
            database.path.display(),
            reader.kind(),
            reader.metadata()
        );
    }
    for problem in directory.problems() {
        println!("{}\n  {}", problem.message, problem.hint);
    }
    for address in addresses {
        let ip: IpAddr = address.parse()?;
        let info = directory
            .location_info(ip, locale)?
            .map(|info| info.to_json());
        println!(
            "{ip}\n  {:?}\n  {}",
            directory.location(ip, locale)?,
            info.unwrap_or_default()
        );
    }
    // Spread over all of IPv4, so that few share a page of memory.
    let all: Vec<IpAddr> = (0..100_000_u32)
        .map(|n| Ipv4Addr::from(n.wrapping_mul(2_654_435_769)).into())
        .collect();
    let time = |name: &str, work: &dyn Fn(IpAddr)| {
        all.iter().copied().for_each(work);
        let start = Instant::now();
        all.iter().copied().for_each(work);
        println!(
            "{name:14} {:.2} µs",
            start.elapsed().as_secs_f64() * 1e6 / all.len() as f64
        );
    };
    time("country_code", &|ip| {
        let _ = black_box(directory.country_code(ip));
    });
    time("location", &|ip| {
        let _ = black_box(directory.location(ip, locale));
    });
    time("location_info", &|ip| {
        let info = directory.location_info(ip, locale);
        let _ = black_box(info.ok().flatten().map(|info| info.to_json()));
    });
    Ok(())
}
