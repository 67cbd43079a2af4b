//! The SQL functions for User-Agents.

mod recent;

use crate::gucs;
use crate::values::{RawJsonb, RawText};
use pgrx::heap_tuple::PgHeapTuple;
use pgrx::iter::TableIterator;
use pgrx::prelude::*;
use pgrx::{AllocatedByRust, PgTupleDesc, pg_sys};
use qsessions_user_agent::{ClientHints, UserAgent};

/// A larger value is not read: hints are far smaller, also among all the headers of a request.
const MAX_HINTS_SIZE: usize = 64 * 1024;

/// Of each part of a device key, in characters.
const MAX_KEY_PART: usize = 120;

/// The part of a User-Agent that sessions keep.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_kept_user_agent",
    stable,
    parallel_safe
)]
fn kept_user_agent(user_agent: RawText) -> RawText {
    user_agent.left(gucs::user_agent_max_length())
}

/// The parts of a User-Agent.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    immutable,
    parallel_safe,
    cost = 50
)]
fn parse_user_agent(
    user_agent: &str,
    fcinfo: pg_sys::FunctionCallInfo,
) -> pgrx::composite_type!('static, "qsessions.user_agent_info") {
    row(&qsessions_user_agent::parse(user_agent), fcinfo)
}

/// The parts of a User-Agent and of its client hints.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "parse_user_agent",
    immutable,
    parallel_safe,
    cost = 50
)]
fn parse_user_agent_with_hints(
    user_agent: Option<&str>,
    client_hints: Option<RawJsonb>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Option<pgrx::composite_type!('static, "qsessions.user_agent_info")> {
    let user_agent = user_agent?;
    Some(with_hints(client_hints, |hints| {
        row(
            &qsessions_user_agent::parse_with_hints(user_agent, hints),
            fcinfo,
        )
    }))
}

fn row(
    parsed: &UserAgent<'_>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> PgHeapTuple<'static, AllocatedByRust> {
    // The result type by its OID: a look-up by name would depend on the search_path of the caller,
    // and would cost more than the parse.
    //
    // SAFETY: PostgreSQL passes the description of the function with every call.
    let row_type = unsafe { pg_sys::get_func_rettype((*(*fcinfo).flinfo).fn_oid) };
    let Some(descriptor) = PgTupleDesc::for_composite_type_by_oid(row_type) else {
        error!("result type of parse_user_agent is not a row type");
    };
    let datums = [
        parsed.browser.as_deref().into_datum(),
        parsed.browser_version.as_deref().into_datum(),
        parsed.os.as_deref().into_datum(),
        parsed.os_version.as_deref().into_datum(),
        parsed.device.as_deref().into_datum(),
        parsed.vendor.as_deref().into_datum(),
        parsed.category.as_str().into_datum(),
        parsed.is_bot.into_datum(),
    ];
    // SAFETY: the datums are of the types of user_agent_info, in its order: seven texts, a boolean.
    match unsafe { PgHeapTuple::from_datums(descriptor, datums) } {
        Ok(row) => row,
        Err(mismatch) => error!("could not form user_agent_info: {mismatch}"),
    }
}

/// Device, operating system and browser in one line.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    immutable,
    parallel_safe,
    cost = 50
)]
fn device(user_agent: &str) -> String {
    qsessions_user_agent::device_line(user_agent)
}

/// The line for a User-Agent and its client hints.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "device",
    immutable,
    parallel_safe,
    cost = 50
)]
fn device_with_hints(user_agent: Option<&str>, client_hints: Option<RawJsonb>) -> Option<String> {
    let user_agent = user_agent?;
    Some(with_hints(client_hints, |hints| {
        qsessions_user_agent::device_line_with_hints(user_agent, hints)
    }))
}

/// The client hints that sessions keep, or null if there are none.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_kept_client_hints",
    immutable,
    parallel_safe
)]
fn kept_client_hints(client_hints: RawJsonb) -> Option<RawJsonb> {
    with_hints(Some(client_hints), |hints| {
        let mut json = String::with_capacity(1024);
        for (name, value) in hints.iter() {
            json.push(if json.is_empty() { '{' } else { ',' });
            push_json(&mut json, name);
            json.push(':');
            push_json(&mut json, value);
        }
        if json.is_empty() {
            return None;
        }
        json.push('}');
        Some(RawJsonb::from_json_text(&json))
    })
}

/// A text without control characters as JSON.
fn push_json(json: &mut String, text: &str) {
    json.push('"');
    for letter in text.chars() {
        if matches!(letter, '"' | '\\') {
            json.push('\\');
        }
        json.push(letter);
    }
    json.push('"');
}

fn with_hints<R>(client_hints: Option<RawJsonb>, work: impl FnOnce(&ClientHints<'_>) -> R) -> R {
    match client_hints {
        Some(jsonb) if jsonb.size() <= MAX_HINTS_SIZE => jsonb.with_texts(|texts| {
            let mut hints = ClientHints::default();
            texts.for_each(|(name, value)| hints.add(name, value));
            work(&hints)
        }),
        _ => work(&ClientHints::default()),
    }
}

/// What two logins from one device have in common: browser, system and model, without versions. Null
/// without a User-Agent.
///
/// Of a program that the rules do not know, it has the User-Agent without digits, so that a
/// hostile client cannot hide behind an unknown one. Every key has two bars, and no place has. Parts
/// are cut, because a key that does not fit into an index would keep the user from logging in.
#[pg_extern(
    create_or_replace,
    schema = "qsessions",
    name = "_device_key",
    immutable,
    parallel_safe,
    cost = 50
)]
fn device_key(user_agent: Option<&str>, client_hints: Option<RawJsonb>) -> Option<String> {
    let user_agent = user_agent.filter(|user_agent| !user_agent.trim().is_empty())?;
    let make = || with_hints(client_hints, |hints| make_device_key(user_agent, hints));
    Some(match client_hints {
        None => recent::device_key(user_agent, &[], make),
        Some(jsonb) if jsonb.size() <= MAX_HINTS_SIZE => {
            jsonb.with_bytes(|bytes| recent::device_key(user_agent, bytes, make))
        }
        Some(_) => make(),
    })
}

fn make_device_key(user_agent: &str, hints: &ClientHints<'_>) -> String {
    let parsed = qsessions_user_agent::parse_with_hints(user_agent, hints);
    let parts = [&parsed.browser, &parsed.os, &parsed.device];
    if parts.iter().all(|part| part.is_none()) {
        let unversioned = user_agent.chars().filter(|one| !one.is_ascii_digit());
        let unversioned: String = unversioned.take(MAX_KEY_PART).collect();
        return format!("? | ? | {unversioned}");
    }
    parts
        .map(|part| {
            let part = part.as_deref().unwrap_or("?");
            part.chars().take(MAX_KEY_PART).collect::<String>()
        })
        .join(" | ")
}

/// The version of the rules, and their numbers. Not immutable, because an upgrade changes them.
#[pg_extern(create_or_replace, schema = "qsessions", stable, parallel_safe)]
fn user_agent_rules() -> TableIterator<
    'static,
    (
        name!(version, &'static str),
        name!(browsers, i32),
        name!(bots, i32),
        name!(tools, i32),
        name!(systems, i32),
        name!(devices, i32),
        name!(models, i32),
    ),
> {
    let counts = qsessions_user_agent::rule_counts();
    let count = |rules: usize| i32::try_from(rules).unwrap_or(i32::MAX);
    TableIterator::once((
        counts.version,
        count(counts.browsers),
        count(counts.bots),
        count(counts.tools),
        count(counts.systems),
        count(counts.devices),
        count(counts.models),
    ))
}
