//! Places of IP addresses, from MaxMind DB files.
//!
//! A [`Reader`] answers from one file; a [`Directory`] from a file or a folder of them, cities
//! first. Two ways of laying out a record are understood: MaxMind's nested one (GeoLite2, GeoIP2,
//! and DB-IP's own files) and the flat one of ip-location-db.
//!
//! Files are somebody else's, and may be cut off, broken or hostile: whatever they hold, a call
//! ends in an answer or in an [`Error`], never in a panic.
#![forbid(unsafe_code)]

mod countries;
mod directory;
mod error;
mod file;
mod info;
mod locale;
mod place;
mod reader;
mod record;
mod shape;

pub use directory::{Database, Directory, Failure};
pub use error::Error;
pub use file::{DEFAULT_MAX_BYTES, Signature};
pub use info::{CityInfo, CountryInfo, LocationInfo};
pub use place::Place;
pub use reader::{Kind, Metadata, Reader};
