//! What the cache logs, with the feature `tracing`.

use uuid::Uuid;

use crate::error::Error;

pub(crate) fn serving() {
    #[cfg(feature = "tracing")]
    tracing::info!("sessions are cached");
}

pub(crate) fn stopped(error: &str) {
    #[cfg(feature = "tracing")]
    tracing::warn!(
        error,
        "sessions are not cached: the cache does not hear of changes"
    );
    #[cfg(not(feature = "tracing"))]
    let _ = error;
}

pub(crate) fn visits_wait(error: &str) {
    #[cfg(feature = "tracing")]
    tracing::warn!(
        error,
        "visits cannot be written: those that are pending are tried again, and requests write their own"
    );
    #[cfg(not(feature = "tracing"))]
    let _ = error;
}

pub(crate) fn visits_written() {
    #[cfg(feature = "tracing")]
    tracing::info!("visits are written again");
}

/// The message of the server may quote the visitor, and is left out.
pub(crate) fn visit_refused(session: Uuid, error: &Error) {
    #[cfg(feature = "tracing")]
    tracing::warn!(%session, %error, "the database has refused a visit, which is not recorded");
    #[cfg(not(feature = "tracing"))]
    let _ = (session, error);
}
