//! Where an address is, as SQL functions over the databases at `qsessions.geoip_path`.
//!
//! Their cost, in units of a comparison, is what planners go by: 100 is a microsecond or so, and has them use parallel workers
//! for look-ups by the hundred thousand.

mod open;

use crate::gucs;
use crate::values::{Address, RawJsonb};
use pgrx::PgTupleDesc;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::heap_tuple::PgHeapTuple;
use pgrx::prelude::*;
use qsessions_geoip::{Database, Directory, Problem};
use std::time::{SystemTime, UNIX_EPOCH};

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
    open::look_up(|directory| with_language(locale, |locale| directory.location(ip, locale)))
}

/// What Django's GeoIP2 says of an address, as jsonb, and whose network it is in where a database knows that.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    stable,
    parallel_safe,
    cost = 400
)]
fn location_info(ip: Option<Address>, locale: default!(Option<&str>, "NULL")) -> Option<RawJsonb> {
    let ip = ip?.0;
    let json = open::look_up(|directory| {
        let info = with_language(locale, |locale| directory.location_info(ip, locale))?;
        let Some(info) = info else {
            return Ok(None);
        };
        if !directory.knows_autonomous_systems() {
            return Ok(Some(info.to_json()));
        }
        let network = directory.autonomous_system(ip)?;
        Ok(Some(info.to_json_with(network.as_ref())))
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
    open::look_up(|directory| Ok(directory.country_code(ip)?.map(str::to_owned)))
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
    let datums = open::look_up(|directory| {
        let network = directory.autonomous_system(ip)?;
        Ok(network.map(|network| {
            [
                network
                    .number
                    .and_then(|number| i64::try_from(number).ok())
                    .into_datum(),
                network.organization.as_deref().into_datum(),
            ]
        }))
    })?;
    // The function's own result type, by OID: a look-up by name would depend on the caller's search_path.
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

/// The open databases of this backend, and what is wrong with files.
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
    TableIterator::new(open::describe(false, rows).unwrap_or_default())
}

/// Takes changed files now, and says what is then open.
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
    TableIterator::new(open::describe(true, rows).unwrap_or_default())
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

/// What is open comes first, in the order in which it is asked; then what is not.
fn rows(directory: &Directory) -> Vec<Row> {
    let (databases, problems) = (directory.databases(), directory.problems());
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
