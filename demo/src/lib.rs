//! The people of both demonstrations, `make demo` and `make demo-web`, and the places they come from.

pub mod geoip;
pub mod people;
