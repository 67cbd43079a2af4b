//! What the cache counts, with the feature `metrics`, for the recorder that the application has
//! installed.

pub(crate) struct Counters {
    pub(crate) hits: Counter,
    pub(crate) negative_hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) bypassed: Counter,
    pub(crate) fills_dropped: Counter,
    pub(crate) invalidations: Counter,
    pub(crate) visits_written: Counter,
    pub(crate) visits_refused: Counter,
    pub(crate) visit_errors: Counter,
    pub(crate) staleness: Histogram,
}

#[cfg(feature = "metrics")]
pub(crate) use metrics::{Counter, Histogram};

#[cfg(feature = "metrics")]
impl Counters {
    /// Asks the recorder once: asking it for each load would cost as much as the load.
    pub(crate) fn new(store: &str) -> Self {
        let counter = |name: &'static str, description: &'static str| {
            metrics::describe_counter!(name, description);
            metrics::counter!(name, "store" => store.to_owned())
        };
        metrics::describe_histogram!(
            "qsessions_cache_staleness_seconds",
            metrics::Unit::Seconds,
            "Time from sending a probe or requesting a heartbeat to hearing it"
        );
        Self {
            hits: counter(
                "qsessions_cache_hits_total",
                "Loads answered with a cached session",
            ),
            negative_hits: counter(
                "qsessions_cache_negative_hits_total",
                "Loads of keys that are known to have no session",
            ),
            misses: counter(
                "qsessions_cache_misses_total",
                "Loads that the cache had no answer to",
            ),
            bypassed: counter(
                "qsessions_cache_bypassed_total",
                "Loads for which the cache was not up to date enough",
            ),
            fills_dropped: counter(
                "qsessions_cache_fills_dropped_total",
                "Sessions read but not kept: changed meanwhile, too large, from another server, or by a former key",
            ),
            invalidations: counter(
                "qsessions_cache_invalidations_total",
                "Ids heard, and calls to drop everything",
            ),
            visits_written: counter(
                "qsessions_cache_visits_written_total",
                "Sessions whose visits were written in the background",
            ),
            visits_refused: counter(
                "qsessions_cache_visits_refused_total",
                "Visits that the database has refused",
            ),
            visit_errors: counter(
                "qsessions_cache_visit_errors_total",
                "Failed attempts to write visits in the background",
            ),
            staleness: metrics::histogram!(
                "qsessions_cache_staleness_seconds",
                "store" => store.to_owned()
            ),
        }
    }
}

#[cfg(not(feature = "metrics"))]
mod nothing {
    use std::time::Duration;

    #[derive(Clone)]
    pub(crate) struct Counter;

    impl Counter {
        #[cfg(test)]
        pub(crate) fn noop() -> Self {
            Self
        }

        pub(crate) fn increment(&self, _: u64) {}
    }

    pub(crate) struct Histogram;

    impl Histogram {
        pub(crate) fn record(&self, _: Duration) {}
    }
}

#[cfg(not(feature = "metrics"))]
pub(crate) use nothing::{Counter, Histogram};

#[cfg(not(feature = "metrics"))]
impl Counters {
    pub(crate) fn new(_: &str) -> Self {
        Self {
            hits: Counter,
            negative_hits: Counter,
            misses: Counter,
            bypassed: Counter,
            fills_dropped: Counter,
            invalidations: Counter,
            visits_written: Counter,
            visits_refused: Counter,
            visit_errors: Counter,
            staleness: Histogram,
        }
    }
}
