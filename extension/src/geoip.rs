//! Where an address is, as SQL functions over the databases at `qsessions.geoip_path`.
//!
//! Two processes import files: the background [`worker`], where the library is preloaded, and any
//! that calls `geoip_reload`. Look-ups only map the copies that an import has made
//! ([`open`]); a number in [`shared`] memory tells them that there are new ones.
//!
//! The functions' cost, in units of a comparison, guides the planner: 100 is about a microsecond,
//! and has it use parallel workers for look-ups by the hundred thousand.

mod open;
mod shared;
mod worker;

use crate::gucs;
use crate::values::{Address, RawJsonb};
use pgrx::PgTupleDesc;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::heap_tuple::PgHeapTuple;
use pgrx::prelude::*;
use qsessions_geoip::{Database, Databases, Problem};
use std::time::{SystemTime, UNIX_EPOCH};

/// Called once by each process that loads the library.
pub(crate) fn init() {
    // SAFETY: a variable that PostgreSQL sets before it loads libraries.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        shared::init();
        worker::register();
    }
}

/// `City, Country`, else `Country`, else null.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    stable,
    parallel_safe,
    cost = 100
)]
fn location(ip: Option<Address>, locale: default!(Option<&str>, "NULL")) -> Option<String> {
    let ip = ip?.0;
    open::look_up(|databases| match databases.look_up(ip)? {
        Some(place) => with_language(locale, |locale| place.location(locale)),
        None => Ok(None),
    })
}

/// The keys of Django's GeoIP2 for an address, as jsonb, and the network that it is in where a
/// database knows that.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    stable,
    parallel_safe,
    cost = 400
)]
fn location_info(ip: Option<Address>, locale: default!(Option<&str>, "NULL")) -> Option<RawJsonb> {
    let ip = ip?.0;
    let json = open::look_up(|databases| {
        let Some(place) = databases.look_up(ip)? else {
            return Ok(None);
        };
        let info = with_language(locale, |locale| place.location_info(locale))?;
        if !databases.know_networks() {
            return Ok(Some(info.to_json()));
        }
        let network = databases.look_up_network(ip)?;
        let network = network.map(|network| network.autonomous_system());
        Ok(Some(info.to_json_with(network.transpose()?.as_ref())))
    })?;
    Some(RawJsonb::from_json_text(&json))
}

/// ISO 3166-1 alpha-2 code of the country of an address.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    stable,
    parallel_safe,
    cost = 100
)]
fn country_code(ip: Option<Address>) -> Option<String> {
    let ip = ip?.0;
    open::look_up(|databases| match databases.look_up(ip)? {
        Some(place) => Ok(place.country_code()?.map(str::to_owned)),
        None => Ok(None),
    })
}

/// The autonomous system that an address is in.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    stable,
    parallel_safe,
    cost = 150
)]
fn asn(
    ip: Option<Address>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Option<pgrx::composite_type!('static, "qsessions.asn_info")> {
    let ip = ip?.0;
    let datums = open::look_up(|databases| {
        let Some(network) = databases.look_up_network(ip)? else {
            return Ok(None);
        };
        let network = network.autonomous_system()?;
        let number = network.number.and_then(|number| i64::try_from(number).ok());
        let organization = network.organization.as_deref();
        Ok(Some([number.into_datum(), organization.into_datum()]))
    })?;
    // The function's own result type, by OID: a look-up by name would depend on the caller's
    // search_path.
    //
    // SAFETY: PostgreSQL fills in the function's description for every call.
    let row_type = unsafe { pg_sys::get_func_rettype((*(*fcinfo).flinfo).fn_oid) };
    let Some(descriptor) = PgTupleDesc::for_composite_type_by_oid(row_type) else {
        error!("result type of asn is not a row type");
    };
    // SAFETY: the datums are of the types of asn_info, in its order: a bigint, a text.
    match unsafe { PgHeapTuple::from_datums(descriptor, datums) } {
        Ok(row) => Some(row),
        Err(mismatch) => error!("could not form asn_info: {mismatch}"),
    }
}

/// The databases that this backend has open, and what is wrong with files.
#[allow(
    clippy::type_complexity,
    reason = "the columns of a table function are a tuple"
)]
#[pg_extern(create_or_replace, schema = "qsessions", volatile, parallel_restricted)]
fn geoip_databases() -> TableIterator<
    'static,
    (
        name!(path, String),
        name!(database_type, Option<String>),
        name!(build_time, Option<TimestampWithTimeZone>),
        name!(ip_version, Option<i32>),
        name!(languages, Option<Vec<String>>),
        name!(node_count, Option<i64>),
        name!(bytes, Option<i64>),
        name!(loaded_at, Option<TimestampWithTimeZone>),
        name!(error, Option<String>),
        name!(error_at, Option<TimestampWithTimeZone>),
    ),
> {
    TableIterator::new(open::describe(rows).unwrap_or_default())
}

/// Imports changed files now, and says what is then open.
#[allow(
    clippy::type_complexity,
    reason = "the columns of a table function are a tuple"
)]
#[pg_extern(create_or_replace, schema = "qsessions", volatile, parallel_restricted)]
fn geoip_reload() -> TableIterator<
    'static,
    (
        name!(path, String),
        name!(database_type, Option<String>),
        name!(build_time, Option<TimestampWithTimeZone>),
        name!(ip_version, Option<i32>),
        name!(languages, Option<Vec<String>>),
        name!(node_count, Option<i64>),
        name!(bytes, Option<i64>),
        name!(loaded_at, Option<TimestampWithTimeZone>),
        name!(error, Option<String>),
        name!(error_at, Option<TimestampWithTimeZone>),
    ),
> {
    TableIterator::new(open::reload(rows).unwrap_or_default())
}

/// A row of the two functions above.
type Row = (
    String,
    Option<String>,
    Option<TimestampWithTimeZone>,
    Option<i32>,
    Option<Vec<String>>,
    Option<i64>,
    Option<i64>,
    Option<TimestampWithTimeZone>,
    Option<String>,
    Option<TimestampWithTimeZone>,
);

/// Open databases come first, in the order in which they are asked, then files that cannot be used.
fn rows(open: &Databases) -> Vec<Row> {
    let (databases, problems) = (open.databases(), open.problems());
    let unusable = problems
        .iter()
        .filter(|problem| databases.iter().all(|one| one.path != problem.path));
    let open = databases.iter().map(|database| {
        let problem = problems.iter().find(|one| one.path == database.path);
        row(
            database.path.to_string_lossy().into(),
            Some(database),
            problem,
        )
    });
    let closed =
        unusable.map(|problem| row(problem.path.to_string_lossy().into(), None, Some(problem)));
    open.chain(closed).collect()
}

fn row(path: String, database: Option<&Database>, problem: Option<&Problem>) -> Row {
    let metadata = database.map(|database| database.reader.metadata());
    (
        path,
        metadata.map(|metadata| metadata.database_type.clone()),
        metadata.map(|metadata| pgrx::datum::to_timestamp(metadata.build_epoch as f64)),
        metadata.map(|metadata| metadata.ip_version.into()),
        metadata.map(|metadata| metadata.languages.clone()),
        metadata.map(|metadata| metadata.node_count.into()),
        metadata.map(|metadata| metadata.bytes as i64),
        database.and_then(|database| timestamp(database.loaded_at)),
        problem.map(|problem| problem.message.clone()),
        problem.and_then(|problem| timestamp(problem.at)),
    )
}

fn with_language<T>(locale: Option<&str>, use_it: impl FnOnce(&str) -> T) -> T {
    match locale {
        Some(locale) => use_it(locale),
        None => gucs::with_locale(use_it),
    }
}

fn timestamp(time: SystemTime) -> Option<TimestampWithTimeZone> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    Some(pgrx::datum::to_timestamp(since.as_secs_f64()))
}
