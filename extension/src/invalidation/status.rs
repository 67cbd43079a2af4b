//! `qsessions.invalidation_status`, for administrators.

use super::notify::queue;
use super::ring::{self, NoSlot, Slot};
use crate::gucs;
use pgrx::prelude::*;
use pgrx::{pg_sys, spi};

/// The triggers on the session table that add changes.
const TRIGGERS: &str = "
SELECT pg_catalog.quote_ident(t.tgname), t.tgenabled::pg_catalog.text, t.tgtype::pg_catalog.int4
FROM pg_catalog.pg_class AS c
     LEFT JOIN (pg_catalog.pg_trigger AS t
                JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid
                    AND p.prosrc OPERATOR(pg_catalog.=) 'qsessions_announce')
         ON t.tgrelid OPERATOR(pg_catalog.=) c.oid
WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass('qsessions.session')
ORDER BY t.tgname";

/// How caches are notified of changes in this database, and what is wrong with it.
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
        name!(notifier_pid, Option<i32>),
        name!(problem, Option<String>),
    ),
> {
    let channel = gucs::invalidation_channel();
    let mut problems = trigger_problems().unwrap_or_else(|failed| error!("{failed}"));
    // SAFETY: reads the state of the server. On a standby, NOTIFY is not possible.
    if !unsafe { pg_sys::RecoveryInProgress() } && queue::is_full() {
        let limit = gucs::notify_queue_limit();
        problems.push(format!(
            "more than {limit} of the server's NOTIFY queue is in use, so notifications of changes are delayed: \
             end the transaction of the connection that has executed LISTEN (see pg_stat_activity), \
             and set idle_in_transaction_session_timeout"
        ));
    }
    let row = if ring::exists() {
        let status = ring::status();
        problems.extend(ring_problem(&status));
        let (slot, backlog) = status.unwrap_or_default();
        (
            "ring",
            channel,
            Some(ring::SIZE as i32),
            Some(backlog as i64),
            Some(slot.announced as i64),
            Some(slot.overflows as i64),
            (slot.process != 0).then_some(slot.process),
            join(&problems),
        )
    } else {
        let problem = join(&problems);
        ("notify", channel, None, None, None, None, None, problem)
    };
    TableIterator::once(row)
}

fn join(problems: &[String]) -> Option<String> {
    (!problems.is_empty()).then(|| problems.join("; "))
}

fn ring_problem(status: &Result<(Slot, u64), NoSlot>) -> Option<String> {
    let reason = match status {
        Ok((slot, _)) if slot.lacks_worker() => {
            "no background worker was free when one was last needed, so transactions do the NOTIFY themselves, \
             one at a time: raise max_worker_processes"
        }
        Err(NoSlot::AllTaken) => {
            "too many databases of this server have sessions, so transactions of this one do the NOTIFY themselves, \
             one at a time"
        }
        _ => return None,
    };
    Some(reason.to_owned())
}

/// Why changes of the session table, if there is one, are not added.
fn trigger_problems() -> spi::Result<Vec<String>> {
    const ALWAYS: &str = "A";
    const DISABLED: &str = "D";
    let mut has_table = false;
    let mut triggers = Vec::new();
    Spi::connect(|client| {
        for row in client.select(TRIGGERS, None, &[])? {
            has_table = true;
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
    if !has_table {
        return Ok(problems);
    }
    for (name, enabled, _) in triggers.iter().filter(|(_, enabled, _)| enabled != ALWAYS) {
        let consequence = if enabled == DISABLED {
            "is disabled, so caches are not notified of changes"
        } else {
            "is not ENABLE ALWAYS, so caches are not notified of some changes, such as those by logical replication"
        };
        problems.push(format!(
            "trigger {name} on qsessions.session {consequence}: \
             ALTER TABLE qsessions.session ENABLE ALWAYS TRIGGER {name}"
        ));
    }
    for (event, name_of_event, per) in [
        (pg_sys::TRIGGER_TYPE_UPDATE, "UPDATE", "ROW"),
        (pg_sys::TRIGGER_TYPE_DELETE, "DELETE", "ROW"),
        (pg_sys::TRIGGER_TYPE_TRUNCATE, "TRUNCATE", "STATEMENT"),
    ] {
        if !triggers.iter().any(|(_, _, events)| events & event != 0) {
            let name = format!("session_announce_{}", name_of_event.to_lowercase());
            problems.push(format!(
                "there is no trigger on qsessions.session for {name_of_event}: \
                 CREATE TRIGGER {name} AFTER {name_of_event} ON qsessions.session \
                 FOR EACH {per} EXECUTE FUNCTION qsessions._announce(), \
                 then ALTER TABLE qsessions.session ENABLE ALWAYS TRIGGER {name}"
            ));
        }
    }
    Ok(problems)
}
