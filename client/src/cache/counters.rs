//! What the cache counts, for whatever recorder of the crate `metrics` the application has.

use metrics::{Counter, Histogram, counter, describe_counter, describe_histogram, histogram};

pub(super) struct Counters {
    pub(super) hits: Counter,
    pub(super) negative_hits: Counter,
    pub(super) misses: Counter,
    pub(super) bypassed: Counter,
    pub(super) fills_dropped: Counter,
    pub(super) invalidations: Counter,
    pub(super) staleness: Histogram,
}

impl Counters {
    /// Asks the recorder once: a look-up for each load would cost as much as the load.
    pub(super) fn new() -> Self {
        describe_counter!(
            "qsessions_cache_hits_total",
            "Loads answered with a cached session"
        );
        describe_counter!(
            "qsessions_cache_negative_hits_total",
            "Loads of keys that were known to have no session"
        );
        describe_counter!(
            "qsessions_cache_misses_total",
            "Loads that the cache had no answer to"
        );
        describe_counter!(
            "qsessions_cache_bypassed_total",
            "Loads for which the cache was not up to date enough"
        );
        describe_counter!(
            "qsessions_cache_fills_dropped_total",
            "Sessions read but not kept: changed meanwhile, too large, or from another server"
        );
        describe_counter!(
            "qsessions_cache_invalidations_total",
            "Ids heard, and times that everything was to be dropped"
        );
        describe_histogram!(
            "qsessions_cache_staleness_seconds",
            metrics::Unit::Seconds,
            "How long probes take from being sent to being heard"
        );
        Self {
            hits: counter!("qsessions_cache_hits_total"),
            negative_hits: counter!("qsessions_cache_negative_hits_total"),
            misses: counter!("qsessions_cache_misses_total"),
            bypassed: counter!("qsessions_cache_bypassed_total"),
            fills_dropped: counter!("qsessions_cache_fills_dropped_total"),
            invalidations: counter!("qsessions_cache_invalidations_total"),
            staleness: histogram!("qsessions_cache_staleness_seconds"),
        }
    }
}
