//! Where an address is, as SQL functions over the databases at `qsessions.geoip_path`.

use crate::settings;
use crate::values::{Address, RawJsonb};
use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;
use qsessions_places::{DEFAULT_MAX_BYTES, Directory, Error};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long this backend goes on without asking the system whether the files have changed.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

thread_local! {
    // A backend is one thread, so this is the backend's own and needs no lock.
    static OPEN: RefCell<Option<Open>> = const { RefCell::new(None) };
}

struct Open {
    directory: Directory,
    checked_at: Instant,
    /// A broken record is worth one line in the log, not one for each address that meets it.
    warned: bool,
}

/// `City, Country`, else `Country`, else null.
#[pg_extern(schema = "qsessions", stable, parallel_safe)]
fn location(ip: Option<Address>, locale: default!(Option<&str>, "NULL")) -> Option<String> {
    look_up(|directory| directory.location(ip?.0, &language(locale)).transpose())
}

/// What Django's GeoIP2 says of an address, as jsonb.
#[pg_extern(schema = "qsessions", stable, parallel_safe)]
fn location_info(ip: Option<Address>, locale: default!(Option<&str>, "NULL")) -> Option<RawJsonb> {
    let json = look_up(|directory| {
        let info = directory
            .location_info(ip?.0, &language(locale))
            .transpose()?;
        Some(info.map(|info| info.to_json()))
    })?;
    Some(RawJsonb::from_json_text(&json))
}

/// ISO 3166-1 alpha-2 code of the country of an address.
#[pg_extern(schema = "qsessions", stable, parallel_safe)]
fn country_code(ip: Option<Address>) -> Option<String> {
    look_up(|directory| {
        let code = directory.country_code(ip?.0).transpose()?;
        Some(code.map(str::to_owned))
    })
}

/// The open databases of this backend.
#[allow(
    clippy::type_complexity,
    reason = "the columns of a table function are a tuple"
)]
#[pg_extern(schema = "qsessions", volatile, parallel_restricted)]
fn geoip_databases() -> TableIterator<
    'static,
    (
        name!(path, String),
        name!(database_type, String),
        name!(build_time, Option<TimestampWithTimeZone>),
        name!(ip_version, i32),
        name!(languages, Vec<String>),
        name!(node_count, i64),
        name!(bytes, i64),
        name!(loaded_at, Option<TimestampWithTimeZone>),
    ),
> {
    let rows = with_directory(|open| {
        open.directory
            .databases()
            .iter()
            .map(|database| {
                let metadata = database.reader.metadata();
                (
                    database.path.to_string_lossy().into_owned(),
                    metadata.database_type.clone(),
                    timestamp(metadata.build_epoch as f64),
                    i32::from(metadata.ip_version),
                    metadata.languages.clone(),
                    i64::from(metadata.node_count),
                    metadata.bytes as i64,
                    seconds(database.loaded_at).and_then(timestamp),
                )
            })
            .collect::<Vec<_>>()
    });
    TableIterator::new(rows.unwrap_or_default())
}

fn look_up<T>(ask: impl FnOnce(&Directory) -> Option<Result<T, Error>>) -> Option<T> {
    with_directory(|open| match ask(&open.directory)? {
        Ok(answer) => Some(answer),
        Err(error) => {
            if !open.warned {
                open.warned = true;
                warning!("could not look up an address: {error}");
            }
            None
        }
    })
    .flatten()
}

/// Nothing where `qsessions.geoip_path` is not set: places are then unknown, which is no error.
fn with_directory<T>(use_it: impl FnOnce(&mut Open) -> T) -> Option<T> {
    let path = PathBuf::from(settings::geoip_path()?);
    OPEN.with_borrow_mut(|slot| {
        let stale = slot.as_mut().is_none_or(|open| {
            open.directory.path() != path
                || (open.checked_at.elapsed() >= CHECK_INTERVAL && {
                    open.checked_at = Instant::now();
                    open.directory.changed()
                })
        });
        if stale {
            *slot = Some(open(&path));
        }
        slot.as_mut().map(use_it)
    })
}

fn open(path: &Path) -> Open {
    let directory = Directory::open(path, DEFAULT_MAX_BYTES);
    for failure in directory.failures() {
        warning!("could not use a GeoIP database: {}", failure.error);
    }
    Open {
        directory,
        checked_at: Instant::now(),
        warned: false,
    }
}

fn language(locale: Option<&str>) -> String {
    locale.map_or_else(settings::locale, str::to_owned)
}

fn seconds(time: SystemTime) -> Option<f64> {
    time.duration_since(UNIX_EPOCH)
        .ok()
        .map(|since| since.as_secs_f64())
}

fn timestamp(epoch_seconds: f64) -> Option<TimestampWithTimeZone> {
    Some(pgrx::datum::to_timestamp(epoch_seconds))
}
