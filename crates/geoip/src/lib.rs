//! Locations of IP addresses, from MaxMind DB files.
//!
//! A [`Reader`] answers from one file, [`Databases`] from a file or a folder of them, cities
//! first. Two layouts of a record are understood: MaxMind's nested one (GeoLite2, GeoIP2, and
//! DB-IP's own files) and the flat one of ip-location-db.
//!
//! The administrator's files may be cut off, broken, hostile or overwritten at any time. So
//! nothing answers from them. [`import()`] copies them to a [`Store`] and checks each copy, and
//! [`Databases`] map the copies, which never change. Whatever a file holds, a call ends in an
//! answer or in an [`Error`], never in a panic.
//!
//! | module | subject |
//! | --- | --- |
//! | `import` | taking files into the store, the only thing here that reads them |
//! | `check` | what a copy has to pass before it serves |
//! | `store`, `index` | the folder of copies, and what is known of each file |
//! | `databases`, `mapping` | the copies that a process has open |
//! | `reader`, `place`, `record`, `info`, `shape` | look-ups in one database |
//! | `countries`, `locale` | names |
#![deny(unsafe_code)]

mod check;
mod countries;
mod databases;
mod error;
mod file;
mod import;
mod index;
mod info;
mod locale;
mod mapping;
mod place;
mod progress;
mod reader;
mod record;
mod shape;
mod store;

pub use databases::{Database, Databases};
pub use error::Error;
pub use file::DEFAULT_MAX_BYTES;
pub use import::{Options, import};
pub use index::Problem;
pub use info::{AutonomousSystem, CityInfo, CountryInfo, LocationInfo};
pub use mapping::Mapping;
pub use place::Place;
pub use progress::{NoProgress, Progress};
pub use reader::{Kind, Metadata, Reader};
pub use store::Store;
