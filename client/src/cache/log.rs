//! What the cache logs, with the feature `tracing`.

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
