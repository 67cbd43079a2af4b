//! Calls that may fail, and what is known about them afterwards.

use std::time::Duration;

use fastrand::Rng;
use qsessions::{Error, Session};

use crate::history::{Deed, Effect, Event, Found, KeyHash, Log, Nanos, Outcome, now};

/// How a call of a store has ended.
#[derive(Debug)]
pub(super) enum Attempt<T> {
    Done(T),
    /// The server refused the call, so nothing was changed.
    Refused(Error),
    /// The connection failed, or the caller cancelled the call.
    Unknown,
}

/// Waits as long as a request would, and sometimes much less.
pub(super) async fn patiently<T>(rng: &mut Rng, future: impl IntoFuture<Output = T>) -> Option<T> {
    let patience = match rng.u32(0..12) {
        0 => Duration::from_micros(rng.u64(100..20_000)),
        _ => Duration::from_millis(rng.u64(1_500..5_000)),
    };
    tokio::time::timeout(patience, future).await.ok()
}

/// Performs a call.
pub(super) async fn attempt<T>(
    rng: &mut Rng,
    call: impl IntoFuture<Output = Result<T, Error>>,
) -> Attempt<T> {
    match patiently(rng, call).await {
        Some(Ok(value)) => Attempt::Done(value),
        Some(Err(error)) if is_refusal(&error) => Attempt::Refused(error),
        Some(Err(_)) | None => Attempt::Unknown,
    }
}

/// Whether this error says that the statement was rolled back.
pub(super) fn is_refusal(error: &Error) -> bool {
    match error {
        Error::SessionNotFound
        | Error::VersionConflict
        | Error::InvalidKey
        | Error::DataTooLarge { .. }
        | Error::KeyExists
        | Error::InvalidArgument { .. } => true,
        Error::Database(error) => is_refused_by_server(error),
        _ => false,
    }
}

pub(super) fn is_refused_by_server(error: &tokio_postgres::Error) -> bool {
    error
        .code()
        .is_some_and(|code| code.code().starts_with("23"))
}

/// A call in progress.
pub(super) struct Call<'a> {
    process: usize,
    log: &'a Log,
    operation: &'static str,
    start: Nanos,
}

impl<'a> Call<'a> {
    pub(super) fn begin(process: usize, log: &'a Log, operation: &'static str) -> Self {
        Self {
            process,
            log,
            operation,
            start: now(),
        }
    }

    pub(super) fn loaded(self, key: KeyHash, session: Option<&Session>) {
        let end = now();
        let found = session.map(|session| Found {
            id: session.id,
            version: session.version,
            token: session.data["token"].as_u64().unwrap_or_default(),
        });
        self.write(end, Deed::Load { key, found });
    }

    pub(super) fn failed(self) {
        self.write(now(), Deed::Failure);
    }

    pub(super) fn changed(
        self,
        outcome: Outcome,
        end: Nanos,
        known: Option<Nanos>,
        effects: Vec<Effect>,
    ) {
        let deed = Deed::Change {
            outcome,
            known,
            effects,
        };
        self.write(end, deed);
    }

    /// Records a refused call. Nothing was changed, and only the error is known.
    pub(super) fn refused(self, effects: Vec<Effect>) {
        self.changed(Outcome::Done, now(), None, effects);
    }

    fn write(self, end: Nanos, deed: Deed) {
        self.log.write(&Event {
            process: self.process,
            operation: self.operation.to_owned(),
            start: self.start,
            end,
            deed,
        });
    }
}
