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

use qsessions_geoip::{DEFAULT_MAX_BYTES, Databases, Options, Progress, Store, import};

struct Printed;

impl Progress for Printed {
    fn should_stop(&mut self) -> bool {
        false
    }

    fn note(&mut self, line: &str) {
        println!("{line}");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [store, path, locale, addresses @ ..] = arguments.as_slice() else {
        return Err("give a folder for copies, a path, a locale and addresses".into());
    };
    let (store, path) = (Store::new(store, true), Path::new(path));
    let options = Options {
        max_bytes: DEFAULT_MAX_BYTES,
        force: false,
    };
    let start = Instant::now();
    import(path, &store, options, &mut Printed)?;
    println!("imported in {:?}", start.elapsed());
    let start = Instant::now();
    let databases = Databases::open(path, store);
    println!("opened in {:?}", start.elapsed());
    for database in databases.databases() {
        let reader = &database.reader;
        println!(
            "{} {:?} {:?}",
            database.path.display(),
            reader.kind(),
            reader.metadata()
        );
    }
    for problem in databases.problems() {
        println!("{}\n  {}", problem.message, problem.hint);
    }
    for address in addresses {
        let ip: IpAddr = address.parse()?;
        println!("{ip}");
        if let Some(place) = databases.look_up(ip)? {
            println!("  {:?}", place.location(locale)?);
            println!("  {}", place.location_info(locale)?.to_json());
        }
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
        if let Ok(Some(place)) = databases.look_up(ip) {
            let _ = black_box(place.country_code());
        }
    });
    time("location", &|ip| {
        if let Ok(Some(place)) = databases.look_up(ip) {
            let _ = black_box(place.location(locale));
        }
    });
    time("location_info", &|ip| {
        if let Ok(Some(place)) = databases.look_up(ip) {
            let info = place.location_info(locale);
            let _ = black_box(info.map(|info| info.to_json()));
        }
    });
    Ok(())
}
