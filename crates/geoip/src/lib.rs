//! Places of IP addresses, from MaxMind DB files.
//!
//! A [`Reader`] answers from one file; a [`Directory`] from a file or a folder of them, cities
//! first. Two ways of laying out a record are understood: MaxMind's nested one (GeoLite2, GeoIP2,
//! and DB-IP's own files) and the flat one of ip-location-db.
//!
//! Files are somebody else's, and may be cut off, broken, hostile or overwritten at any time. So a
//! [`Directory`] never answers from them: it answers from private copies in a [`Store`], each of
//! which was checked before it became one and is never changed afterwards. Whatever a file
//! holds, a call ends in an answer or in an [`Error`], never in a panic.
//!
//! | module | subject |
//! | --- | --- |
//! | `directory` | the databases at a path, and noticing that they have changed |
//! | `store`, `index`, `mapping` | the private copies, what is known of each file, memory |
//! | `check` | what a file has to pass before it is served |
//! | `reader`, `place`, `record`, `info`, `shape` | look-ups in one database |
//! | `countries`, `locale` | names |
#![deny(unsafe_code)]

mod check;
mod countries;
mod directory;
mod error;
mod file;
mod index;
mod info;
mod locale;
mod mapping;
mod monitor;
mod place;
mod reader;
mod record;
mod shape;
mod store;

pub use directory::{Database, Directory, Options, Problem};
pub use error::Error;
pub use file::{DEFAULT_MAX_BYTES, Signature};
pub use info::{AutonomousSystem, CityInfo, CountryInfo, LocationInfo};
pub use mapping::Mapping;
pub use monitor::{Monitor, Unwatched};
pub use place::Place;
pub use reader::{Kind, Metadata, Reader};
pub use store::Store;
