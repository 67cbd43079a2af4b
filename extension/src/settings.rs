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

type Text = GucSetting<Option<CString>>;

static DEFAULT_TTL: Text = Text::new(Some(c"14 days"));
static TOUCH_INTERVAL: Text = Text::new(Some(c"60 s"));
static USER_AGENT_MAX_LENGTH: GucSetting<i32> = GucSetting::<i32>::new(512);
static MAX_DATA_BYTES: GucSetting<i32> = GucSetting::<i32>::new(1024 * 1024);
static GEOIP_PATH: Text = Text::new(Some(c""));
static LOCALE: Text = Text::new(Some(c"en"));
static INVALIDATION_CHANNEL: Text = Text::new(Some(c"qsessions"));

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
            GucContext::Suset,
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
    GucRegistry::define_string_guc(
        c"qsessions.geoip_path",
        c"A directory with .mmdb files, or one such file.",
        c"Empty: places are not looked up.",
        &GEOIP_PATH,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"qsessions.locale",
        c"The language of place names.",
        c"Where a database doesn't have it, English.",
        &LOCALE,
        GucContext::Userset,
        GucFlags::default(),
    );
    reserve_prefix();
}

#[cfg(feature = "pg14")]
fn reserve_prefix() {}

#[cfg(not(feature = "pg14"))]
fn reserve_prefix() {
    // SAFETY: the prefix is a C string that lives for ever.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"qsessions".as_ptr()) };
}

/// The path of the GeoIP databases, or nothing where it is not set.
pub(crate) fn geoip_path() -> Option<String> {
    GEOIP_PATH
        .get()
        .map(|path| path.to_string_lossy().into_owned())
        .filter(|path| !path.is_empty())
}

/// The language of place names.
pub(crate) fn locale() -> String {
    LOCALE.get().map_or_else(
        || "en".to_owned(),
        |locale| locale.to_string_lossy().into_owned(),
    )
}

/// The channel on which changes of sessions are announced.
#[pg_extern(schema = "qsessions", stable, parallel_safe)]
pub(crate) fn invalidation_channel() -> String {
    INVALIDATION_CHANNEL.get().map_or_else(
        || "qsessions".to_owned(),
        |channel| channel.to_string_lossy().into_owned(),
    )
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
