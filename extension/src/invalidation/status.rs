//! What there is to see of invalidation, for whoever operates it.

use super::{notify, ring};
use crate::gucs;
use pgrx::prelude::*;
use pgrx::{pg_sys, spi};

/// The triggers on the session table by which changes are announced.
const TRIGGERS: &str = "
SELECT pg_catalog.quote_ident(t.tgname), t.tgenabled::pg_catalog.text, t.tgtype::pg_catalog.int4
FROM pg_catalog.pg_class AS c
     LEFT JOIN (pg_catalog.pg_trigger AS t
                JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid
                    AND p.prosrc OPERATOR(pg_catalog.=) 'qsessions_announce')
         ON t.tgrelid OPERATOR(pg_catalog.=) c.oid
WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass('qsessions.session')
ORDER BY t.tgname";

/// How changes of this database are announced, and how that goes.
#[allow(
    clippy::type_complexity,
    reason = "the columns of a table function are a tuple"
)]
#[pg_extern(create_or_replace, schema = "qsessions", volatile, parallel_restricted)]
fn invalidation_status() -> TableIterator<
    'static,
    (
        name!(mode, &'static str),
        name!(channel, String),
        name!(ring_size, Option<i32>),
        name!(backlog, Option<i64>),
        name!(announced, Option<i64>),
        name!(overflows, Option<i64>),
        name!(announcer_pid, Option<i32>),
        name!(problem, Option<String>),
    ),
> {
    let channel = gucs::invalidation_channel();
    let mut problems = trigger_problems().unwrap_or_else(|failed| error!("{failed}"));
    // SAFETY: asks for the state of the server. On a standby nothing is announced.
    if !unsafe { pg_sys::RecoveryInProgress() } && notify::is_queue_full() {
        let limit = gucs::notify_queue_limit();
        problems.push(format!(
            "more than {limit} of the server's NOTIFY queue is in use, so changes wait to be announced: end the transaction \
             of the connection that has executed LISTEN (see pg_stat_activity), and set idle_in_transaction_session_timeout"
        ));
    }
    let row = if ring::exists() {
        let looked = ring::look();
        problems.extend(ring_problem(&looked));
        let (reader, backlog) = looked.unwrap_or_default();
        (
            "ring",
            channel,
            Some(ring::SIZE as i32),
            Some(backlog as i64),
            Some(reader.announced as i64),
            Some(reader.overflows as i64),
            (reader.process != 0).then_some(reader.process),
            in_words(&problems),
        )
    } else {
        let problem = in_words(&problems);
        ("notify", channel, None, None, None, None, None, problem)
    };
    TableIterator::once(row)
}

fn in_words(problems: &[String]) -> Option<String> {
    (!problems.is_empty()).then(|| problems.join("; "))
}

fn ring_problem(looked: &Result<(ring::Reader, u64), bool>) -> Option<String> {
    let reason = match looked {
        Ok((reader, _)) if reader.was_refused() => {
            "no background worker was free when one was last needed, so transactions announce by themselves, one at \
             a time: raise max_worker_processes"
        }
        Err(true) => {
            "too many databases of this server have sessions, so transactions of this one announce by themselves, \
             one at a time"
        }
        _ => return None,
    };
    Some(reason.to_owned())
}

/// What keeps changes of the session table, if there is one, from being noted.
fn trigger_problems() -> spi::Result<Vec<String>> {
    const ALWAYS: &str = "A";
    const DISABLED: &str = "D";
    let mut is_there = false;
    let mut triggers = Vec::new();
    Spi::connect(|client| {
        for row in client.select(TRIGGERS, None, &[])? {
            is_there = true;
            if let (Some(name), Some(enabled), Some(events)) = (
                row.get::<String>(1)?,
                row.get::<String>(2)?,
                row.get::<i32>(3)?,
            ) {
                triggers.push((name, enabled, events as u32));
            }
        }
        Ok::<(), spi::Error>(())
    })?;
    let mut problems = Vec::new();
    if !is_there {
        return Ok(problems);
    }
    for (name, enabled, _) in triggers.iter().filter(|(_, enabled, _)| enabled != ALWAYS) {
        let consequence = if enabled == DISABLED {
            "is disabled, so changes are not announced"
        } else {
            "is not ENABLE ALWAYS, so some changes are not announced, such as those by logical replication"
        };
        problems.push(format!(
            "trigger {name} on qsessions.session {consequence}: \
             ALTER TABLE qsessions.session ENABLE ALWAYS TRIGGER {name}"
        ));
    }
    for (event, in_words, per) in [
        (pg_sys::TRIGGER_TYPE_UPDATE, "UPDATE", "ROW"),
        (pg_sys::TRIGGER_TYPE_DELETE, "DELETE", "ROW"),
        (pg_sys::TRIGGER_TYPE_TRUNCATE, "TRUNCATE", "STATEMENT"),
    ] {
        if !triggers.iter().any(|(_, _, events)| events & event != 0) {
            let name = format!("session_announce_{}", in_words.to_lowercase());
            problems.push(format!(
                "no trigger on qsessions.session announces {in_words}: \
                 CREATE TRIGGER {name} AFTER {in_words} ON qsessions.session \
                 FOR EACH {per} EXECUTE FUNCTION qsessions._announce(), \
                 then ALTER TABLE qsessions.session ENABLE ALWAYS TRIGGER {name}"
            ));
        }
    }
    Ok(problems)
}
