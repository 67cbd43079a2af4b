//! The parameters `qsessions.*`, and the SQL functions by which session code reads them.
//!
//! SQL reads them through functions rather than `current_setting`: a call of one loads this library, which
//! defines the parameters, in a backend where nothing has done so yet.

use crate::values::RawJsonb;
use pgrx::datum::Interval;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::prelude::*;
use pgrx::{PgTryBuilder, pg_sys};
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_void};
use std::time::Duration;

type Text = GucSetting<Option<CString>>;

static DEFAULT_TTL: Text = Text::new(Some(c"14 days"));
static TOUCH_INTERVAL: Text = Text::new(Some(c"60 s"));
static USER_AGENT_MAX_LENGTH: GucSetting<i32> = GucSetting::<i32>::new(512);
static MAX_DATA_BYTES: GucSetting<i32> = GucSetting::<i32>::new(1024 * 1024);
static GEOIP_PATH: Text = Text::new(Some(c""));
static GEOIP_CHECK_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(5000);
static GEOIP_MAX_BYTES: GucSetting<i32> = GucSetting::<i32>::new(512 * 1024 * 1024);
static LOCALE: Text = Text::new(Some(c"en"));
static INVALIDATION_CHANNEL: Text = Text::new(Some(c"qsessions"));
static NOTIFY_QUEUE_LIMIT: GucSetting<f64> = GucSetting::<f64>::new(0.9);

/// The channel where the setting says no other.
pub(crate) const DEFAULT_CHANNEL: &str = "qsessions";

/// A jsonb can't be larger than 256 MB, whatever the setting says.
const LARGEST_DATA_BYTES: i32 = 256 * 1024 * 1024;

/// A thousand years: what is added to now, or taken from it, must stay a timestamp.
const LONGEST_INTERVAL_MICROS: i128 = 1000 * 366 * 24 * 3600 * 1_000_000;

/// Makes the parameters known to PostgreSQL.
pub(crate) fn define() {
    // SAFETY: the hooks below are guarded against panics and keep to PostgreSQL's contract for hooks.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            c"qsessions.default_ttl",
            c"How long a session lives that is created without ttl or idle_timeout.",
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
            c"How much later than the last recorded visit the next one is recorded.",
            c"An interval of zero or longer; zero records every visit.",
            &TOUCH_INTERVAL,
            GucContext::Userset,
            GucFlags::default(),
            Some(check_interval_or_zero),
            None,
            None,
        );
        GucRegistry::define_string_guc_with_hooks(
            c"qsessions.invalidation_channel",
            c"The channel on which changes of sessions are announced.",
            c"A name of 1 to 63 bytes.",
            &INVALIDATION_CHANNEL,
            // One for the whole server: who announces and who listens must not differ.
            GucContext::Sighup,
            GucFlags::default(),
            Some(check_channel),
            None,
            None,
        );
    }
    GucRegistry::define_int_guc(
        c"qsessions.user_agent_max_length",
        c"How many characters of a User-Agent are kept.",
        c"What is longer is cut.",
        &USER_AGENT_MAX_LENGTH,
        1,
        1024 * 1024,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"qsessions.max_data_bytes",
        c"The largest data of a session, as jsonb before compression.",
        c"More is an error; nothing is cut.",
        &MAX_DATA_BYTES,
        2,
        LARGEST_DATA_BYTES,
        GucContext::Userset,
        GucFlags::UNIT_BYTE,
    );
    GucRegistry::define_float_guc(
        c"qsessions.notify_queue_limit",
        c"The share of the server's NOTIFY queue beyond which changes of sessions are not announced until it has room again.",
        c"Where the queue is full, PostgreSQL fails each transaction that would NOTIFY.",
        &NOTIFY_QUEUE_LIMIT,
        0.0,
        1.0,
        GucContext::Sighup,
        GucFlags::default(),
    );
    define_geoip();
    reserve_prefix();
}

fn define_geoip() {
    GucRegistry::define_string_guc(
        c"qsessions.geoip_path",
        c"A directory with .mmdb files, or one such file.",
        c"If it is empty, locations are not looked up.",
        &GEOIP_PATH,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"qsessions.geoip_check_interval",
        c"How often the background worker looks whether the files at qsessions.geoip_path have changed.",
        c"Without the worker, how often a connection looks whether geoip_reload() was called in another one.",
        &GEOIP_CHECK_INTERVAL,
        10,
        24 * 3600 * 1000,
        // One for the whole server: the worker has no database or role whose settings could apply.
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"qsessions.geoip_max_bytes",
        c"The largest file that is imported as a GeoIP database.",
        c"Each file is copied to the data directory, so this limits the room that the copies take there.",
        &GEOIP_MAX_BYTES,
        1,
        i32::MAX,
        GucContext::Suset,
        GucFlags::UNIT_BYTE,
    );
    GucRegistry::define_string_guc(
        c"qsessions.locale",
        c"The language of the names of locations.",
        c"Where a database does not have it, names are English.",
        &LOCALE,
        GucContext::Userset,
        GucFlags::default(),
    );
}

#[cfg(feature = "pg14")]
fn reserve_prefix() {}

#[cfg(not(feature = "pg14"))]
fn reserve_prefix() {
    // SAFETY: the prefix is a C string that lives for ever.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"qsessions".as_ptr()) };
}

/// Calls `use_it` with the path of the GeoIP databases, which is empty where it is not set. Nothing
/// is copied: look-ups by the hundred thousand ask for it.
pub(crate) fn with_geoip_path<T>(use_it: impl FnOnce(&CStr) -> T) -> T {
    with_text(&GEOIP_PATH, use_it)
}

/// How often to look whether GeoIP databases have changed.
pub(crate) fn geoip_check_interval() -> Duration {
    Duration::from_millis(GEOIP_CHECK_INTERVAL.get().unsigned_abs().into())
}

/// The largest file that is imported as a GeoIP database.
pub(crate) fn geoip_max_bytes() -> u64 {
    GEOIP_MAX_BYTES.get().unsigned_abs().into()
}

/// Calls `use_it` with the language of the names of locations.
pub(crate) fn with_locale<T>(use_it: impl FnOnce(&str) -> T) -> T {
    with_text(&LOCALE, |locale| use_it(locale.to_str().unwrap_or("en")))
}

fn with_text<T>(setting: &Text, use_it: impl FnOnce(&CStr) -> T) -> T {
    // SAFETY: null, or a C string of PostgreSQL's, which stays until the setting is changed. That takes a statement, and
    // the callers run none while they use it.
    unsafe {
        let text = *setting.as_ptr();
        if text.is_null() {
            use_it(c"")
        } else {
            use_it(CStr::from_ptr(text))
        }
    }
}

/// The channel on which changes of sessions are announced.
#[pg_extern(schema = "qsessions", stable, parallel_safe)]
pub(crate) fn invalidation_channel() -> String {
    INVALIDATION_CHANNEL.get().map_or_else(
        || DEFAULT_CHANNEL.to_owned(),
        |channel| channel.to_string_lossy().into_owned(),
    )
}

/// The share of the server's NOTIFY queue beyond which nothing is announced.
pub(crate) fn notify_queue_limit() -> f64 {
    NOTIFY_QUEUE_LIMIT.get()
}

/// `qsessions.default_ttl` as an interval.
#[pg_extern(schema = "qsessions", stable, parallel_safe)]
fn default_ttl() -> Interval {
    thread_local!(static PARSED: ParsedInterval = const { ParsedInterval::new() });
    PARSED.with(|parsed| parsed.get(&DEFAULT_TTL))
}

/// `qsessions.touch_interval` as an interval.
#[pg_extern(schema = "qsessions", stable, parallel_safe)]
fn touch_interval() -> Interval {
    thread_local!(static PARSED: ParsedInterval = const { ParsedInterval::new() });
    PARSED.with(|parsed| parsed.get(&TOUCH_INTERVAL))
}

/// `qsessions.user_agent_max_length`, in characters.
#[pg_extern(schema = "qsessions", stable, parallel_safe)]
fn user_agent_max_length() -> i32 {
    USER_AGENT_MAX_LENGTH.get()
}

/// `qsessions.max_data_bytes`.
#[pg_extern(schema = "qsessions", stable, parallel_safe)]
fn max_data_bytes() -> i32 {
    MAX_DATA_BYTES.get()
}

/// The bytes of session data, as jsonb before compression.
#[pg_extern(schema = "qsessions", immutable, parallel_safe)]
fn data_size(data: RawJsonb) -> i64 {
    data.size() as i64
}

/// Whether session data is within `qsessions.max_data_bytes`.
#[pg_extern(schema = "qsessions", stable, parallel_safe)]
fn data_fits(data: RawJsonb) -> bool {
    data.size() <= MAX_DATA_BYTES.get() as usize
}

/// The last value of an interval setting and what it was parsed to: sessions are resumed more often than settings
/// change.
struct ParsedInterval(RefCell<Option<(CString, Interval)>>);

impl ParsedInterval {
    const fn new() -> Self {
        Self(RefCell::new(None))
    }

    fn get(&self, setting: &Text) -> Interval {
        // SAFETY: PostgreSQL keeps a C string behind the setting's pointer, for it never is null here.
        let text = unsafe { CStr::from_ptr(*setting.as_ptr()) };
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

/// Raises PostgreSQL's own error where the text is no interval.
fn parse_interval(text: &CStr) -> Interval {
    // SAFETY: interval_in takes a cstring, a type OID that it ignores, and a typmod.
    let interval = unsafe {
        pgrx::direct_function_call::<Interval>(
            pg_sys::interval_in,
            &[
                Some(pg_sys::Datum::from(text.as_ptr())),
                Some(pg_sys::Datum::from(pg_sys::InvalidOid)),
                Some(pg_sys::Datum::from(-1_i32)),
            ],
        )
    };
    interval.expect("interval_in never returns null")
}

#[pg_guard]
unsafe extern "C-unwind" fn check_positive_interval(
    new_value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: PostgreSQL passes a pointer to the new value.
    unsafe {
        check_interval(
            *new_value,
            1,
            c"It must be an interval longer than zero, such as '14 days', and of at most 1000 years.",
        )
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn check_interval_or_zero(
    new_value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: PostgreSQL passes a pointer to the new value.
    unsafe {
        check_interval(
            *new_value,
            0,
            c"It must be an interval of zero or longer, such as '60 s', and of at most 1000 years.",
        )
    }
}

/// # Safety
///
/// `text` is null or a C string.
unsafe fn check_interval(text: *const c_char, least_micros: i128, detail: &'static CStr) -> bool {
    let valid = !text.is_null() && {
        // SAFETY: see the function's contract.
        let text = unsafe { CStr::from_ptr(text) }.to_owned();
        let allowed = least_micros..=LONGEST_INTERVAL_MICROS;
        PgTryBuilder::new(move || allowed.contains(&parse_interval(&text).as_micros()))
            .catch_others(|_| false)
            .execute()
    };
    if !valid {
        reject(detail);
    }
    valid
}

#[pg_guard]
unsafe extern "C-unwind" fn check_channel(
    new_value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: PostgreSQL passes a pointer to the new value, which is null or a C string.
    let length = unsafe {
        if (*new_value).is_null() {
            0
        } else {
            CStr::from_ptr(*new_value).count_bytes()
        }
    };
    let valid = (1..pg_sys::NAMEDATALEN as usize).contains(&length);
    if !valid {
        reject(c"It must be a name of 1 to 63 bytes.");
    }
    valid
}

fn reject(detail: &'static CStr) {
    // SAFETY: PostgreSQL reads the string, copied to its own memory, right after the hook; one thread.
    unsafe { pg_sys::GUC_check_errdetail_string = pg_sys::pstrdup(detail.as_ptr()) };
}
