//! The configuration parameters `qsessions.*`, their defaults, and the SQL functions that read
//! them.
//!
//! SQL reads them through functions rather than by `current_setting`: a call of a function loads
//! this library, which defines the parameters, in a backend that has not loaded it yet.

mod checks;

use crate::values::RawJsonb;
use checks::{check_channel, check_interval_or_zero, check_positive_interval, parse_interval};
use pgrx::datum::Interval;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::prelude::*;
use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::time::Duration;

type Text = GucSetting<Option<CString>>;

static DEFAULT_TTL: Text = Text::new(Some(c"14 days"));
static TOUCH_INTERVAL: Text = Text::new(Some(c"60 s"));
static USER_AGENT_MAX_LENGTH: GucSetting<i32> = GucSetting::<i32>::new(512);
static MAX_DATA_BYTES: GucSetting<i32> = GucSetting::<i32>::new(1024 * 1024);
static PURGE_PAUSE: GucSetting<f64> = GucSetting::<f64>::new(0.25);
static GEOIP_PATH: Text = Text::new(Some(c""));
static GEOIP_CHECK_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(5000);
static GEOIP_MAX_BYTES: GucSetting<i32> = GucSetting::<i32>::new(512 * 1024 * 1024);
static LOCALE: Text = Text::new(Some(c"en"));
static INVALIDATION_CHANNEL: Text = Text::new(Some(c"qsessions"));
static NOTIFY_QUEUE_LIMIT: GucSetting<f64> = GucSetting::<f64>::new(0.9);

/// The default channel.
pub(crate) const DEFAULT_CHANNEL: &str = "qsessions";

/// A jsonb cannot be larger than 256 MB, whatever the parameter says.
const MAX_JSONB_BYTES: i32 = 256 * 1024 * 1024;

/// Defines the parameters.
pub(crate) fn define() {
    define_sessions();
    define_invalidation();
    define_geoip();
    reserve_prefix();
}

fn define_sessions() {
    // SAFETY: the hooks are guarded against panics, and follow PostgreSQL's rules for check hooks.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            c"qsessions.default_ttl",
            c"Sets the lifetime of sessions that are created without ttl and idle_timeout.",
            c"An interval longer than zero.",
            &DEFAULT_TTL,
            GucContext::Userset,
            GucFlags::default(),
            Some(check_positive_interval),
            None,
            None,
        );
        GucRegistry::define_string_guc_with_hooks(
            c"qsessions.touch_interval",
            c"Sets the minimum time between two recorded visits of a session.",
            c"An interval of zero or longer. Zero records every visit.",
            &TOUCH_INTERVAL,
            GucContext::Userset,
            GucFlags::default(),
            Some(check_interval_or_zero),
            None,
            None,
        );
    }
    GucRegistry::define_int_guc(
        c"qsessions.user_agent_max_length",
        c"Sets the maximum length of a stored User-Agent, in characters.",
        c"A longer User-Agent is cut.",
        &USER_AGENT_MAX_LENGTH,
        1,
        1024 * 1024,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"qsessions.max_data_bytes",
        c"Sets the maximum size of the data of a session.",
        c"The size is that of the jsonb before compression. More data is an error.",
        &MAX_DATA_BYTES,
        2,
        MAX_JSONB_BYTES,
        GucContext::Userset,
        GucFlags::UNIT_BYTE,
    );
    GucRegistry::define_float_guc(
        c"qsessions.purge_pause",
        c"Sets how long purge() pauses, as a multiple of the time that it works.",
        c"The pauses are short, and let requests have the processor. Zero turns them off.",
        &PURGE_PAUSE,
        0.0,
        100.0,
        GucContext::Userset,
        GucFlags::default(),
    );
}

fn define_invalidation() {
    // SAFETY: as above.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            c"qsessions.invalidation_channel",
            c"Sets the channel on which caches are notified of changed sessions.",
            c"A name of 1 to 63 bytes.",
            &INVALIDATION_CHANNEL,
            // One channel for the whole server: writers and listeners must use the same.
            GucContext::Sighup,
            GucFlags::default(),
            Some(check_channel),
            None,
            None,
        );
    }
    GucRegistry::define_float_guc(
        c"qsessions.notify_queue_limit",
        c"Sets the share of the server's NOTIFY queue beyond which notifications of changed sessions wait.",
        c"If the queue is full, PostgreSQL fails every transaction that does NOTIFY.",
        &NOTIFY_QUEUE_LIMIT,
        0.0,
        1.0,
        GucContext::Sighup,
        GucFlags::default(),
    );
}

fn define_geoip() {
    GucRegistry::define_string_guc(
        c"qsessions.geoip_path",
        c"Sets the directory of the GeoIP databases, or the path of one.",
        c"The names of the files end in .mmdb. If empty, addresses have no location.",
        &GEOIP_PATH,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"qsessions.geoip_check_interval",
        c"Sets how often the background worker checks the files at qsessions.geoip_path for changes.",
        c"Without the worker, a connection checks this often whether geoip_reload() was called in another one.",
        &GEOIP_CHECK_INTERVAL,
        10,
        24 * 3600 * 1000,
        // One value for the whole server: the worker is connected to no database.
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"qsessions.geoip_max_bytes",
        c"Sets the maximum size of the file of a GeoIP database.",
        c"Each file is copied to the data directory, so this limits the space of the copies.",
        &GEOIP_MAX_BYTES,
        1,
        i32::MAX,
        GucContext::Suset,
        GucFlags::UNIT_BYTE,
    );
    GucRegistry::define_string_guc(
        c"qsessions.locale",
        c"Sets the language of the names of cities and countries.",
        c"If a database does not have the language, the names are English.",
        &LOCALE,
        GucContext::Userset,
        GucFlags::default(),
    );
}

#[cfg(feature = "pg14")]
fn reserve_prefix() {}

#[cfg(not(feature = "pg14"))]
fn reserve_prefix() {
    // SAFETY: the prefix is a static C string.
    unsafe { pgrx::pg_sys::MarkGUCPrefixReserved(c"qsessions".as_ptr()) };
}

/// Calls `use_it` with the path of the GeoIP databases, or with an empty one. The path is not
/// copied: every look-up needs it.
pub(crate) fn with_geoip_path<T>(use_it: impl FnOnce(&CStr) -> T) -> T {
    with_text(&GEOIP_PATH, use_it)
}

/// How often to look whether GeoIP databases have changed.
pub(crate) fn geoip_check_interval() -> Duration {
    Duration::from_millis(GEOIP_CHECK_INTERVAL.get().unsigned_abs().into())
}

/// The maximum size of the file of a GeoIP database.
pub(crate) fn geoip_max_bytes() -> u64 {
    GEOIP_MAX_BYTES.get().unsigned_abs().into()
}

/// Calls `use_it` with the language of the names of cities and countries.
pub(crate) fn with_locale<T>(use_it: impl FnOnce(&str) -> T) -> T {
    with_text(&LOCALE, |locale| use_it(locale.to_str().unwrap_or("en")))
}

fn with_text<T>(parameter: &Text, use_it: impl FnOnce(&CStr) -> T) -> T {
    // SAFETY: null, or a C string that PostgreSQL keeps until the parameter is changed. Only a
    // statement changes it, and the callers run none in `use_it`.
    unsafe {
        let text = *parameter.as_ptr();
        if text.is_null() {
            use_it(c"")
        } else {
            use_it(CStr::from_ptr(text))
        }
    }
}

/// The channel on which caches are notified of changed sessions.
#[pg_extern(create_or_replace, schema = "qsessions", stable, parallel_safe)]
pub(crate) fn invalidation_channel() -> String {
    INVALIDATION_CHANNEL.get().map_or_else(
        || DEFAULT_CHANNEL.to_owned(),
        |channel| channel.to_string_lossy().into_owned(),
    )
}

/// The share of the server's NOTIFY queue beyond which notifications wait.
pub(crate) fn notify_queue_limit() -> f64 {
    NOTIFY_QUEUE_LIMIT.get()
}

/// `qsessions.default_ttl` as an interval.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_default_ttl",
    stable,
    parallel_safe
)]
pub(crate) fn default_ttl() -> Interval {
    thread_local!(static PARSED: ParsedInterval = const { ParsedInterval::new() });
    PARSED.with(|parsed| parsed.get(&DEFAULT_TTL))
}

/// `qsessions.touch_interval` as an interval.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_touch_interval",
    stable,
    parallel_safe
)]
fn touch_interval() -> Interval {
    thread_local!(static PARSED: ParsedInterval = const { ParsedInterval::new() });
    PARSED.with(|parsed| parsed.get(&TOUCH_INTERVAL))
}

/// `qsessions.user_agent_max_length`, in characters.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_user_agent_max_length",
    stable,
    parallel_safe
)]
pub(crate) fn user_agent_max_length() -> i32 {
    USER_AGENT_MAX_LENGTH.get()
}

/// `qsessions.max_data_bytes`.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_max_data_bytes",
    stable,
    parallel_safe
)]
fn max_data_bytes() -> i32 {
    MAX_DATA_BYTES.get()
}

/// `qsessions.purge_pause`.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_purge_pause",
    stable,
    parallel_safe
)]
fn purge_pause() -> f64 {
    PURGE_PAUSE.get()
}

/// The bytes of session data, as jsonb before compression.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_data_size",
    immutable,
    parallel_safe
)]
fn data_size(data: RawJsonb) -> i64 {
    data.size() as i64
}

/// Whether session data is within `qsessions.max_data_bytes`.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_data_fits",
    stable,
    parallel_safe
)]
pub(crate) fn data_fits(data: RawJsonb) -> bool {
    data.size() <= MAX_DATA_BYTES.get() as usize
}

/// The last value of a parameter and the interval that it was parsed to: parameters change less
/// often than sessions are resumed.
struct ParsedInterval(RefCell<Option<(CString, Interval)>>);

impl ParsedInterval {
    const fn new() -> Self {
        Self(RefCell::new(None))
    }

    fn get(&self, parameter: &Text) -> Interval {
        // SAFETY: a C string of PostgreSQL's. It is never null: the check hooks refuse that.
        let text = unsafe { CStr::from_ptr(*parameter.as_ptr()) };
        if let Some((known, interval)) = &*self.0.borrow()
            && known.as_c_str() == text
        {
            return *interval;
        }
        let interval = parse_interval(text);
        *self.0.borrow_mut() = Some((text.to_owned(), interval));
        interval
    }
}
